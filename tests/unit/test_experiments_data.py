"""A study's data is told by the bytes of every file that it is read from."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from sparsecover.config import Config
from sparsecover.experiments.data_digest import DataDigests

PROFILE = {"width": 4, "height": 4, "count": 1, "dtype": "uint8", "transform": Affine(2, 0, 9, 0, -2, 9)}


def test_data_digests_follow_the_bytes(tmp_path: Path) -> None:
    config = Config().with_changes({"data.root": str(tmp_path)})
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"one")
    memory = tmp_path / "data.json"
    first = DataDigests(memory)
    digest = first.of(config)
    first.remember()
    assert DataDigests(memory).of(config) == digest
    (tmp_path / "labels" / "a.png").write_bytes(b"other")
    assert DataDigests(memory).of(config) != digest


def test_names_in_a_configuration_are_no_files_and_its_class_table_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"one")
    (tmp_path / "classes.csv").write_text("code,name\n0,water\n1,land\n")
    monkeypatch.chdir(tmp_path)
    config = Config.from_dict(
        {"data": {"root": str(tmp_path)}, "classes": ["water", "land"], "model": {"name": "unet"}}
    )
    of_table = config.with_changes({"classes": str(tmp_path / "classes.csv")})
    memory = tmp_path / "data.json"
    digest, with_table = DataDigests(memory).of(config), DataDigests(memory).of(of_table)
    for name in ("water", "unet", "auto"):
        Path(name).write_text("notes")
    assert DataDigests(memory).of(config) == digest
    (tmp_path / "classes.csv").write_text("code,name\n0,water\n1,bare land\n")
    assert DataDigests(memory).of(of_table) != with_table


def test_data_digests_follow_cloud_masks_and_what_virtual_rasters_show(tmp_path: Path) -> None:
    for folder in ("images", "labels", "clouds"):
        (tmp_path / folder).mkdir()
    for name in ("clouds/a.tif", "labels/a.tif", "source.tif"):
        with rasterio.open(tmp_path / name, "w", driver="GTiff", **PROFILE) as file:
            file.write(np.zeros((1, 4, 4), np.uint8))
    rasterio.shutil.copy(tmp_path / "source.tif", tmp_path / "images" / "a.vrt", driver="VRT")
    changes = {"data.root": str(tmp_path), "data.images": "images/*.vrt", "data.labels": "labels/*.tif"}
    config = Config().with_changes(changes | {"data.mask": "clouds/*.tif"})
    seen = {DataDigests(tmp_path / "data.json").of(config)}
    for name in ("clouds/a.tif", "source.tif"):
        with rasterio.open(tmp_path / name, "r+") as file:
            file.write(np.ones((1, 4, 4), np.uint8))
        seen.add(DataDigests(tmp_path / "data.json").of(config))
    assert len(seen) == 3


@pytest.fixture
def headed(tmp_path: Path) -> tuple[Path, Config]:
    """A scene in ENVI's format, of a header and pixels, and its labels."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    scene = tmp_path / "images" / "a.img"
    with rasterio.open(scene, "w", driver="ENVI", **PROFILE | {"count": 3}) as file:
        file.write(np.arange(48, dtype=np.uint8).reshape(3, 4, 4))
    with rasterio.open(tmp_path / "labels" / "a.tif", "w", driver="GTiff", **PROFILE) as file:
        file.write(np.zeros((1, 4, 4), np.uint8))
    where = {"data.root": str(tmp_path), "data.images": "images/*.img", "data.labels": "labels/*.tif"}
    return scene, Config().with_changes(where)


def stored(scene: Path) -> np.ndarray:
    with rasterio.open(scene) as file:
        return file.read()


def test_data_digests_follow_headers(headed: tuple[Path, Config]) -> None:
    scene, config = headed
    memory = scene.parent / "data.json"
    digest, before = DataDigests(memory).of(config), stored(scene)
    header = scene.with_suffix(".hdr")
    header.write_text(header.read_text().replace("bsq", "bip"))
    assert not np.array_equal(stored(scene), before)
    assert DataDigests(memory).of(config) != digest


def test_data_digests_follow_masks_beside_a_raster_but_not_what_a_viewer_leaves(headed: tuple[Path, Config]) -> None:
    scene, config = headed
    labels, memory = scene.parents[1] / "labels" / "a.tif", scene.parent / "data.json"
    digest = DataDigests(memory).of(config)
    beside = Path(f"{labels}.aux.xml")
    beside.write_text("<PAMDataset><Metadata><MDI key='looked at'>1</MDI></Metadata></PAMDataset>")
    assert DataDigests(memory).of(config) == digest
    beside.write_text("<PAMDataset><PAMRasterBand band='1'><NoDataValue>0</NoDataValue></PAMRasterBand></PAMDataset>")
    assert DataDigests(memory).of(config) != digest
    beside.unlink()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(labels, "r+") as file:
        file.write_mask(np.eye(4) > 0)
    assert Path(f"{labels}.msk").is_file()
    assert DataDigests(memory).of(config) != digest
