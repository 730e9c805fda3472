"""LandCover.ai v1 (Boguszewski et al. 2021): 41 orthophotos with masks, and a published split by 512 pixel windows."""

from collections import defaultdict
from pathlib import Path

from sparsecover.classes import ClassScheme
from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import Entry, Listing, existing, files_in
from sparsecover.datasets.layouts.pairing import pair_files
from sparsecover.errors import DataError
from sparsecover.grid import Grid, Window, tiles
from sparsecover.labels import MaskFile

SCHEME = ClassScheme.from_names(["background", "building", "woodland", "water", "road"])

_WINDOW_PX = 512
_LISTS = {"train.txt": "train", "val.txt": "validation", "test.txt": "test"}


def list_landcoverai(config: DataConfig) -> Listing:
    """images/ and masks/ with train.txt, val.txt and test.txt of window names NAME_k.

    Each orthophoto gives a pair for each side on which it has windows. ``split.by: files`` is the published split,
    which puts neighbouring windows of the same orthophotos on different sides; ``split.by: scene`` does not.
    """
    root = existing(config.root, "The dataset 'landcoverai'")
    paired = pair_files(
        files_in(existing(root / "images", "LandCover.ai")), files_in(existing(root / "masks", "LandCover.ai"))
    )
    lists = {side: root / name for name, side in _LISTS.items() if (root / name).is_file()}
    windows = {side: _read_list(path) for side, path in lists.items()}
    entries, problems = [], list(paired.problems)
    names = {name for name, _, _ in paired.pairs}
    for side, listed in windows.items():
        problems += [
            f"{lists[side].name} lists windows of {name}, which is not there" for name in listed.keys() - names
        ]
    for name, image, mask in paired.pairs:
        sides = {side: listed[name] for side, listed in windows.items() if name in listed}
        if not sides:
            entries.append(Entry(name, (image,), mask))
        else:
            grid = MaskFile.open(mask).grid
            for side, numbers in sides.items():
                entries.append(Entry(name, (image,), mask, side, windows=_windows(grid, numbers, mask)))
    return Listing(entries, problems, scheme=SCHEME)


def _read_list(path: Path) -> dict[str, list[int]]:
    """Window numbers by orthophoto."""
    listed: defaultdict[str, list[int]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").split():
        name, _, number = line.rpartition("_")
        if not name or not number.isdecimal():
            raise DataError(f"{path}: {line!r} is not of the form NAME_k.")
        listed[name].append(int(number))
    return listed


def _windows(grid: Grid, numbers: list[int], mask: Path) -> tuple[Window, ...]:
    """Windows by their number; cut ones at the edges are counted too, but never listed."""
    every = list(tiles(grid.window, _WINDOW_PX, _WINDOW_PX))
    outside = [number for number in numbers if number >= len(every)]
    if outside:
        raise DataError(f"{mask} has {len(every)} windows of {_WINDOW_PX} px; the lists name number {outside[0]}.")
    return tuple(every[number] for number in sorted(numbers))
