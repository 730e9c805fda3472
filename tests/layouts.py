"""Small datasets in the published layouts of the public ones, with made-up pixels.

python tests/layouts.py FOLDER    # writes landcoverai/, deepglobe/, oxford-pet/, patches/, folder/ and table/ into it
"""

import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from PIL import Image

DEEPGLOBE_COLORS = {
    "urban_land": (0, 255, 255), "agriculture_land": (255, 255, 0), "rangeland": (255, 0, 255),
    "forest_land": (0, 255, 0), "water": (0, 0, 255), "barren_land": (255, 255, 255), "unknown": (0, 0, 0),
}  # fmt: skip


def image(path: Path, height: int = 8, width: int = 10, mode: str = "RGB", seed: int = 0) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = {"RGB": 3, "L": 1, "CMYK": 4}[mode]
    values = np.random.default_rng(seed).integers(1, 255, (height, width, bands)).astype(np.uint8)
    Image.frombytes(mode, (width, height), values.tobytes()).save(path)
    return path


def mask(path: Path, values: object) -> Path:
    """A mask as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return path


def codes(*rows: int, height: int = 8, width: int = 10) -> np.ndarray:
    """A mask whose rows are filled with these codes in turn."""
    return np.array(rows, np.uint8)[np.arange(height) * len(rows) // height][:, None].repeat(width, 1)


def raster(path: Path, values: object, left: float = 500_000.0, **options: object) -> Path:
    """A georeferenced GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = np.atleast_3d(np.asarray(values).T).T
    profile = {"driver": "GTiff", "dtype": bands.dtype, "count": len(bands), "crs": "EPSG:32633"}
    profile |= {"height": bands.shape[1], "width": bands.shape[2], "transform": Affine(10, 0, left, 0, -10, 5_800_000)}
    with rasterio.open(path, "w", **profile, **options) as target:
        target.write(bands)
    return path


def landcoverai(root: Path) -> Path:
    """Two orthophotos of 1100 x 1300 pixels: 3 x 3 windows of 512 px are counted, 2 x 2 are whole and listed."""
    for i, name in enumerate(("N-33", "M-34")):
        raster(root / "images" / f"{name}.tif", np.full((3, 1100, 1300), 9, np.uint8))
        raster(root / "masks" / f"{name}.tif", codes(0, 1, 2, 3, 4, i, height=1100, width=1300))
    (root / "train.txt").write_text("N-33_0\nN-33_4\nM-34_1\n")
    (root / "val.txt").write_text("N-33_1\n")
    (root / "test.txt").write_text("M-34_3\n")
    return root


def deepglobe(root: Path, count: int = 20) -> Path:
    """Training pairs with colours as found in the wild, one validation image without a mask, the class table."""
    for i in range(count):
        image(root / "train" / f"{100 + i}_sat.jpg")
        colors = np.zeros((8, 10, 3), np.uint8)
        colors[:2], colors[2:6] = (3, 251, 0), (1, 0, 129)
        mask(root / "train" / f"{100 + i}_mask.png", colors)
    image(root / "valid" / "900_sat.jpg")
    rows = [f"{name},{r},{g},{b}" for name, (r, g, b) in DEEPGLOBE_COLORS.items()]
    (root / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]) + "\n")
    return root


def deepglobe_metadata(root: Path) -> None:
    """The table of splits for three training pairs, as the archive has it."""
    rows = [f"{i},{side},{side}/{i}_sat.jpg,train/{i}_mask.png" for i, side in
            ((100, "train"), (101, "valid"), (102, "test"), (900, "valid"))]  # fmt: skip
    (root / "metadata.csv").write_text("\n".join(["image_id,split,sat_image_path,mask_path", *rows]) + "\n")


def oxford_pet(root: Path) -> Path:
    """Photographs, trimaps and lists; cats begin with a capital; a stray resource fork, as in the archive."""
    names = ("Abyssinian_1", "Bengal_12", "beagle_2", "pug_10")
    for i, name in enumerate(names):
        image(root / "images" / f"{name}.jpg", seed=i)
        mask(root / "annotations" / "trimaps" / f"{name}.png", codes(1, 2, 2, 3))
    (root / "annotations" / "trimaps" / "._pug_10.png").write_bytes(b"resource fork")
    head = "#Image CLASS-ID SPECIES BREED ID\n"
    (root / "annotations" / "list.txt").write_text(head + "".join(f"{name} 1 1 1\n" for name in names))
    (root / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\nBengal_12 6 1 2\nbeagle_2 5 2 1\n")
    (root / "annotations" / "test.txt").write_text("pug_10 7 2 3\n")
    return root


def patches(root: Path) -> Path:
    """Patch/{train,validation,test}/{images,labels}."""
    for side, count in (("train", 3), ("validation", 1), ("test", 2)):
        for i in range(count):
            image(root / "Patch" / side / "images" / f"{side}{i}.png", 32, 32, seed=i)
            mask(root / "Patch" / side / "labels" / f"{side}{i}.tif", codes(0, 1, height=32, width=32))
    return root


def folder(root: Path) -> Path:
    """images/ and masks/ with other endings and sizes; label codes 3 and 7."""
    for i in range(4):
        image(root / "images" / f"tile{i}.jpg", 32 + i, 40, seed=i)
        mask(root / "masks" / f"tile{i}.png", codes(3, 7, height=32 + i, width=40))
    return root


def table(root: Path) -> Path:
    """scenes.csv over the files of ``folder``, with sides and dates."""
    folder(root)
    rows = [f"images/tile{i}.jpg,masks/tile{i}.png,{'test' if i == 3 else 'train'},2021-0{i + 1}" for i in range(4)]
    (root / "scenes.csv").write_text("\n".join(["scene,labels,split,date", *rows]) + "\n")
    return root / "scenes.csv"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for make in (landcoverai, deepglobe, oxford_pet, patches, folder):
        print(make(target / make.__name__.replace("oxford_pet", "oxford-pet")))
    print(table(target / "table"))
