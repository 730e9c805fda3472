"""Ground that scenes have in common: what one of them holds out, none may train on."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.enums import Resampling
from rasterio.warp import reproject

from sparsecover.classes import UNLABELLED
from sparsecover.grid import Grid
from sparsecover.labels.arrays import Mask, count_values
from sparsecover.labels.holdout import Fold, near
from sparsecover.labels.label_raster import LabelRaster
from sparsecover.raster.gdal import environment


def apart_on_ground(folds: Sequence[Fold], num_classes: int, buffer_px: int) -> list[Fold]:
    """Take from each scene's training labels what other scenes hold out on the same ground.

    Args:
        folds: the sides of one split, one a scene.
        buffer_px: as of ``without_ground``.

    Returns:
        The folds with fewer training labels; marked optimistic where a class would lose all of them, and keeps them.
    """
    grids, held = [fold.train.grid for fold in folds], [fold.held_out for fold in folds]
    shared = sharing_ground(grids, [labels.grid for labels in held])
    others = [[other for other in sharing if other != number] for number, sharing in enumerate(shared)]
    masks = held_elsewhere(grids, held, others)
    trains, possible, note = without_ground([fold.train for fold in folds], masks, num_classes, buffer_px)
    notes = [note] if note else []
    return [
        Fold(train, fold.held_out, [*fold.notes, *notes], fold.optimistic or not possible)
        for fold, train in zip(folds, trains, strict=True)
    ]


def without_ground(
    trains: Sequence[LabelRaster], masks: Sequence[Mask | None], num_classes: int, buffer_px: int
) -> tuple[list[LabelRaster], bool, str | None]:
    """Training labels without those on held-out ground, but for classes that have no others.

    Args:
        trains: the labels of each scene.
        masks: ground held out in other scenes, bool [H, W] on each grid, None where there is none.
        buffer_px: training labels at most this many rows and columns from held-out ground are left out, too.

    Returns:
        The labels; whether all could be kept apart; and a note where anything was taken or left there.
    """
    near_held = [None if mask is None else near(mask, buffer_px) for mask in masks]
    before = sum(labels.counts(num_classes) for labels in trains)
    taken = [_counts_in(labels, mask, num_classes) for labels, mask in zip(trains, near_held, strict=True)]
    lost = sum(taken)
    if not np.any(lost):
        return list(trains), True, None
    only_there = np.flatnonzero((before == lost) & (before > 0))
    left = [
        labels if mask is None or not counts.any() else labels.keep(~mask | np.isin(labels.values, only_there))
        for labels, mask, counts in zip(trains, near_held, taken, strict=True)
    ]
    gone = int(np.sum(np.delete(lost, only_there)))
    note = f"Scenes overlap: {gone} training labels on ground held out in another were left out."
    if len(only_there):
        note = f"{note[:-1]}; {_named(only_there, trains)} trains there all the same: the accuracy is optimistic."
    return left, not len(only_there), note


def _counts_in(labels: LabelRaster, mask: Mask | None, num_classes: int) -> npt.NDArray[np.int64]:
    if mask is None:
        return np.zeros(num_classes, np.int64)
    return count_values(labels.values[mask], num_classes)


def _named(classes: Iterable[int], labels: Sequence[LabelRaster]) -> str:
    scheme = next((raster.scheme for raster in labels if raster.scheme), None)
    return ", ".join(scheme.names[k] if scheme else f"class {k}" for k in classes)


def held_elsewhere(
    grids: Sequence[Grid], held: Sequence[LabelRaster], shared: Sequence[Sequence[int]]
) -> list[Mask | None]:
    """For each grid where other scenes hold out labels, bool [H, W]; None where they share no ground.

    Args:
        grids: of the scenes that train.
        held: labels held out.
        shared: for each grid the numbers of those of other scenes on its ground.
    """
    masks: list[Mask | None] = []
    for grid, numbers in zip(grids, shared, strict=True):
        found = [ground_of(held[n].values != UNLABELLED, held[n].grid, grid) for n in numbers]
        masks.append(np.logical_or.reduce(found) if found else None)
    return masks


def sharing_ground(grids: Sequence[Grid], others: Sequence[Grid]) -> list[list[int]]:
    """For each grid the numbers of those others that overlap it; quick for thousands, in any coordinate systems."""
    placed = [number for number, other in enumerate(others) if other.is_georeferenced]
    trees: dict[str | None, shapely.STRtree] = {}
    shared: list[list[int]] = []
    for grid in grids:
        if not grid.is_georeferenced:
            shared.append([])
            continue
        if grid.crs not in trees:
            trees[grid.crs] = shapely.STRtree([_box(others[number], grid.crs) for number in placed])
        near_ones = [placed[i] for i in trees[grid.crs].query(shapely.box(*grid.bounds))]
        shared.append(sorted(number for number in near_ones if grid.overlaps(others[number])))
    return shared


def _box(grid: Grid, crs: str | None) -> shapely.Geometry:
    """The box around a grid in a coordinate system; empty where it has none there."""
    bounds = grid.bounds if grid.crs == crs else grid.bounds_in(crs)
    return shapely.box(*bounds) if np.isfinite(bounds).all() else shapely.Point()


def ground_of(mask: Mask, source: Grid, grid: Grid) -> Mask:
    """Pixels of a grid, bool [H, W], on which pixels of a mask, bool [h, w] on another grid, lie with any part."""
    out = np.zeros((grid.height, grid.width), np.uint8)
    with environment():
        reproject(
            mask.astype(np.uint8), out, src_transform=source.transform, src_crs=source.crs,
            dst_transform=grid.transform, dst_crs=grid.crs, resampling=Resampling.max,
        )  # fmt: skip
    return out.astype(bool)
