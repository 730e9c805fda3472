"""Patches on disk, divided by folders: {train,validation,test}/{images,labels}."""

from pathlib import Path

from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import LABEL_ENDINGS, Entry, Listing, existing, files_in
from sparsecover.datasets.layouts.folder import LABEL_FOLDERS, list_folder
from sparsecover.datasets.layouts.pairing import pair_files
from sparsecover.errors import DataError

_SIDES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
_SIDES |= {"test": "test", "testing": "test"}


def list_patches(config: DataConfig) -> Listing:
    """Pairs of all sides below ``data.root`` or its folder Patch; without sides, as the dataset ``folder`` does."""
    root = existing(config.root, "The dataset 'patches'")
    inner = [folder for folder in root.iterdir() if folder.is_dir() and folder.name.lower() in ("patch", "patches")]
    if len(inner) == 1:
        root = inner[0]
    sides = {f: _SIDES[f.name.lower()] for f in sorted(root.iterdir()) if f.is_dir() and f.name.lower() in _SIDES}
    if not sides:
        return list_folder(config.model_copy(update={"root": root}))
    listing = Listing([])
    for folder, side in sides.items():
        paired = pair_files(files_in(_images(folder)), files_in(_labels(folder), LABEL_ENDINGS), config.pair_by)
        listing.entries.extend(Entry(f"{side}/{name}", (image,), label, side) for name, image, label in paired.pairs)
        listing.problems.extend(paired.problems)
        listing.notes.extend(paired.notes)
    return listing


def _images(folder: Path) -> Path:
    return existing(folder / "images", "The dataset 'patches'")


def _labels(folder: Path) -> Path:
    found = [folder / name for name in LABEL_FOLDERS if (folder / name).is_dir()]
    if not found:
        raise DataError(f"{folder} has none of the folders {', '.join(LABEL_FOLDERS)}.")
    return found[0]
