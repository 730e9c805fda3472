"""Which patches are cut out of scenes, and on which side each is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import shapely

from sparsecover.classes import ClassScheme
from sparsecover.datasets import Pair
from sparsecover.errors import DataError
from sparsecover.grid import Grid, Window
from sparsecover.labels import assign_groups, pixel_weights, place_features, read_features

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class ExtractOptions:
    """Which patches are cut and how they are divided.

    Attributes:
        size_px: side of a patch.
        stride_px: step of the regular grid; default: the size.
        ratios: parts of training, validation and test patches.
        split: ``random`` patch by patch, ``block`` by squares of ``block_px`` (default: four patches wide, less where
            that makes too few to divide by the ratios), ``scene``.
        seed: chooses the sides.
        max_nodata: largest share of pixels without data.
        min_labelled: smallest share of labelled pixels.
    """

    size_px: int = 256
    stride_px: int | None = None
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split: Literal["random", "block", "scene"] = "random"
    seed: int = 0
    block_px: int | None = None
    max_nodata: float = 0.5
    min_labelled: float = 0.0

    def __post_init__(self) -> None:
        if self.size_px < 1 or (self.stride_px is not None and self.stride_px < 1):
            raise DataError(f"Patch size and stride must be at least 1; given {self.size_px} and {self.stride_px}.")
        if abs(sum(self.ratios) - 1) > 1e-6 or min(self.ratios) < 0:
            raise DataError(f"The ratios {list(self.ratios)} must not be negative and must sum to 1.")
        if not (0 <= self.max_nodata <= 1 and 0 <= self.min_labelled <= 1):
            raise DataError("The largest share of nodata and the smallest of labels lie between 0 and 1.")


@dataclass(frozen=True)
class PlannedPatch:
    """A patch that fits the limits; ``counts`` are its labelled pixels by class."""

    pair: int
    window: Window
    counts: tuple[int, ...]
    nodata: float


def regular_windows(grid: Grid, size_px: int, stride_px: int) -> list[Window]:
    """Windows row by row until all is covered, so that the last ones may reach outside; none on a smaller grid."""
    if grid.height < size_px or grid.width < size_px:
        return []
    rows, cols = (range(0, length - size_px + stride_px, stride_px) for length in (grid.height, grid.width))
    return [Window(row, col, size_px, size_px) for row in rows for col in cols]


def cell_windows(path: Path, grid: Grid, size_px: int) -> list[Window]:
    """A window around the centre of each polygon of a vector file, snapped to pixels; they may reach outside."""
    placed = place_features(read_features(path), grid, path)
    cells = placed.geometries[shapely.get_dimensions(placed.geometries) == 2]
    if not len(cells):
        raise DataError(f"The grid {path} holds no polygons.")
    centres = shapely.get_coordinates(shapely.centroid(cells))
    corners = np.rint(centres - size_px / 2).astype(int)
    return [Window(row, col, size_px, size_px) for col, row in corners.tolist()]


def plan_pair(
    number: int, pair: Pair, scheme: ClassScheme, options: ExtractOptions, cells: Path | None, skipped: Counter[str]
) -> list[PlannedPatch]:
    """The windows of one pair that are whole, hold enough data and enough labels."""
    grid, size = pair.scene.grid, options.size_px
    if cells is None:
        windows = regular_windows(grid, size, options.stride_px or size)
    else:
        windows = cell_windows(cells, grid, size)
    planned = []
    for window in dict.fromkeys(windows):
        if window.intersect(grid.window) != window:
            skipped["cut by the edge of the scene"] += 1
            continue
        valid = pair.scene.read(window)[1]
        labels = pair.labels.read(window)[valid]
        counts = np.bincount(labels, minlength=256)[: len(scheme)]
        nodata = 1 - float(valid.mean())
        if nodata > options.max_nodata:
            skipped["too much nodata"] += 1
        elif counts.sum() < options.min_labelled * window.size:
            skipped["too few labels"] += 1
        else:
            planned.append(PlannedPatch(number, window, tuple(counts.tolist()), nodata))
    return planned


def assign_sides(
    planned: Sequence[PlannedPatch], options: ExtractOptions, skipped: Counter[str], notes: list[str]
) -> list[int]:
    """The side of each patch; -1 for those left out because they overlap a patch of another side."""
    if options.split == "random":
        order = np.random.default_rng(options.seed).permutation(len(planned))
        ends = np.rint(np.cumsum(options.ratios) * len(planned))
        side = np.empty(len(planned), np.intp)
        side[order] = np.searchsorted(ends, np.arange(len(planned)), side="right")
    else:
        side = _sides_of_groups(planned, options)
    overlapping = _overlapping(planned, side)
    if overlapping.any() and options.split == "random":
        notes.append(
            f"{overlapping.sum()} patches overlap patches of another side, so scores on those will be too good. "
            "Divide by block or scene, or set the stride to the patch size."
        )
    elif overlapping.any():
        side[overlapping] = -1
        skipped["overlap a patch of another side"] += int(overlapping.sum())
    for number, name in enumerate(SIDES):
        if options.ratios[number] > 0 and not (side == number).any():
            raise DataError(
                f"The split leaves no {name} patch of {len(planned)}. Change the ratios or the kind of split."
            )
    return [int(s) for s in side]


def _sides_of_groups(planned: Sequence[PlannedPatch], options: ExtractOptions) -> npt.NDArray[np.intp]:
    """Whole scenes or blocks of patches to one side."""
    keys = [(p.pair,) for p in planned] if options.split == "scene" else _blocks(planned, options)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    # Patches without labels count as a class of their own, so that they are divided, too.
    counts = np.zeros((len(numbers), len(planned[0].counts) + 1), np.int64)
    for patch, key in zip(planned, keys, strict=True):
        counts[numbers[key]] += (*patch.counts, 1)
    side = assign_groups(pixel_weights(counts), options.ratios, options.seed)
    return side[[numbers[key] for key in keys]]


def _blocks(planned: Sequence[PlannedPatch], options: ExtractOptions) -> list[tuple[int, ...]]:
    """The block in which the centre of each patch lies; the smallest share gets at least one of them where it can."""
    needed = 1 / min(ratio for ratio in options.ratios if ratio > 0)
    half = options.size_px // 2
    keys: list[tuple[int, ...]] = []
    for side in [options.block_px] if options.block_px else [n * options.size_px for n in (4, 3, 2, 1)]:
        keys = [(p.pair, (p.window.row + half) // side, (p.window.col + half) // side) for p in planned]
        if len(set(keys)) >= needed:
            break
    return keys


def _overlapping(planned: Sequence[PlannedPatch], side: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which patches overlap one of a later side; those are left out before the later ones."""
    boxes = np.array(
        [shapely.box(p.window.col, p.window.row, p.window.col_stop, p.window.row_stop) for p in planned], object
    )
    scene = np.array([p.pair for p in planned])
    # A little less on each side: patches that only touch do not overlap.
    boxes = shapely.buffer(boxes, -0.25, join_style="mitre")
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    clash = (scene[first] == scene[second]) & (side[first] < side[second])
    overlapping = np.zeros(len(planned), bool)
    overlapping[first[clash]] = True
    return overlapping
