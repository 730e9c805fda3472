"""DeepGlobe land cover (Demir et al. 2018): ID_sat.jpg and colour masks ID_mask.png."""

import csv
import hashlib
from pathlib import Path

from sparsecover.classes import ClassScheme
from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import Entry, Listing, existing
from sparsecover.datasets.layouts.pairing import natural
from sparsecover.errors import DataError

_COLORS = {
    "urban_land": (0, 255, 255),
    "agriculture_land": (255, 255, 0),
    "rangeland": (255, 0, 255),
    "forest_land": (0, 255, 0),
    "water": (0, 0, 255),
    "barren_land": (255, 255, 255),
}
_UNKNOWN = 0x000000
_VALIDATION_TENTHS = 1

SCHEME = ClassScheme.from_dicts([{"code": i, "name": n, "color": list(c)} for i, (n, c) in enumerate(_COLORS.items())])


def list_deepglobe(config: DataConfig) -> Listing:
    """Pairs below ``data.root``, flat or in folders; metadata.csv tells the split where it is there.

    The published validation and test images have no masks and are left out; without a validation side a tenth of the
    training pairs, chosen by a hash of their number, becomes one. Black (unknown) is unlabelled; colour channels are
    cut at 128, since masks in circulation hold values other than 0 and 255.
    """
    root = existing(config.root, "The dataset 'deepglobe'")
    images = {path.name.removesuffix("_sat.jpg"): path for path in sorted(root.rglob("*_sat.jpg"))}
    masks = {path.name.removesuffix("_mask.png"): path for path in sorted(root.rglob("*_mask.png"))}
    if not images:
        raise DataError(f"There are no files ID_sat.jpg below {root}.")
    sides = _metadata(root) or {name: path.parent.name for name, path in images.items()}
    sides = {name: _SIDES.get(side, "train") for name, side in sides.items()}
    both = sorted(images.keys() & masks.keys(), key=natural)
    bare = [name for name in images.keys() - masks.keys() if sides.get(name, "train") == "train"]
    problems = [f"{images[name]} has no mask" for name in sorted(bare)]
    problems += [f"{masks[name]} has no image" for name in sorted(masks.keys() - images.keys())]
    notes = []
    if left := len(images) - len(both) - len(bare):
        notes.append(f"{left} validation and test images have no published mask and were left out.")
    if not any(sides.get(name) == "validation" for name in both):
        sides |= {name: "validation" for name in both if sides.get(name, "train") == "train" and _in_tenth(name)}
        notes.append("There is no validation side with masks: a tenth of the training pairs was taken.")
    entries = [Entry(name, (images[name],), masks[name], sides.get(name, "train")) for name in both]
    return Listing(entries, problems, notes, SCHEME, (_UNKNOWN,), by_color=True, snap=True)


_SIDES = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}


def _metadata(root: Path) -> dict[str, str]:
    """The split column of metadata.csv by image number; empty without the file."""
    path = root / "metadata.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"image_id", "split"} <= rows[0].keys():
        raise DataError(f"{path} lacks the columns image_id and split.")
    return {row["image_id"]: row["split"] for row in rows}


def _in_tenth(name: str) -> bool:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()[0] * 10 < 256 * _VALIDATION_TENTHS
