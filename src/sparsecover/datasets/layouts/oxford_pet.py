"""Oxford-IIIT Pet (Parkhi et al. 2012): photographs and trimaps of 1 pet, 2 background, 3 border."""

from pathlib import Path

from sparsecover.classes import ClassScheme
from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import Entry, Listing, existing, files_in
from sparsecover.datasets.layouts.pairing import pair_files

SCHEME = ClassScheme.from_codes({1: "pet", 2: "background"})

_BORDER = 3
_LISTS = {"trainval.txt": "train", "test.txt": "test"}


def list_oxford_pet(config: DataConfig) -> Listing:
    """images/ with annotations/trimaps/ (or trimaps/); trainval.txt and test.txt tell the split where they are there.

    The border is unlabelled unless ``classes`` names the code 3. Some published photographs are grey: they are read as
    RGB and named in the notes.
    """
    root = existing(config.root, "The dataset 'oxford-pet'")
    annotations = root / "annotations" if (root / "annotations").is_dir() else root
    trimaps = existing(annotations / "trimaps", "The dataset 'oxford-pet'")
    paired = pair_files(files_in(existing(root / "images", "The dataset 'oxford-pet'")), files_in(trimaps, (".png",)))
    sides: dict[str, str] = {}
    for name, side in _LISTS.items():
        if (annotations / name).is_file():
            sides |= dict.fromkeys(_names(annotations / name), side)
    entries = [Entry(name, (image,), trimap, sides.get(name)) for name, image, trimap in paired.pairs]
    return Listing(entries, paired.problems, paired.notes, SCHEME, (_BORDER,), grey_as_rgb=True)


def _names(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
