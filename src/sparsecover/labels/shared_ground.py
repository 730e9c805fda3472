"""Ground that scenes have in common: what one of them holds out, none may train on."""

from collections.abc import Sequence

import numpy as np
import shapely
from rasterio.enums import Resampling
from rasterio.warp import reproject

from sparsecover.classes import UNLABELLED
from sparsecover.grid import Grid
from sparsecover.labels.arrays import Mask
from sparsecover.labels.holdout import Fold, near
from sparsecover.labels.label_raster import LabelRaster
from sparsecover.raster.gdal import environment


def apart_on_ground(folds: Sequence[Fold], num_classes: int, buffer_px: int) -> list[Fold]:
    """Take from each scene's training labels what other scenes hold out on the same ground.

    Args:
        folds: the sides of one split, one a scene.
        buffer_px: as of ``without_ground``.

    Returns:
        The folds with fewer training labels. Where a class would lose all of them nothing is taken, and the folds are
        marked optimistic.
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
    """Training labels without those on held-out ground, unless a class would lose all of them.

    Args:
        trains: the labels of each scene.
        masks: ground held out in other scenes, bool [H, W] on each grid, None where there is none.
        buffer_px: training labels at most this many rows and columns from held-out ground are left out, too.

    Returns:
        The labels, whether they could be kept apart, and a note where there was anything to do.
    """
    if all(mask is None for mask in masks):
        return list(trains), True, None
    left = [
        labels if mask is None else labels.keep(~near(mask, buffer_px))
        for labels, mask in zip(trains, masks, strict=True)
    ]
    before = sum(labels.counts(num_classes) for labels in trains)
    after = sum(labels.counts(num_classes) for labels in left)
    if np.any((after == 0) & (before > 0)):
        note = "Scenes overlap, and what trains in one is held out in another: the accuracy is optimistic."
        return list(trains), False, note
    lost = int(np.sum(before - after))
    return left, True, f"Scenes overlap: {lost} training labels on ground held out in another were left out."


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
    """For each grid the numbers of those others that overlap it; quick for thousands in one coordinate system."""
    by_crs: dict[str | None, list[int]] = {}
    for number, other in enumerate(others):
        if other.is_georeferenced:
            by_crs.setdefault(other.crs, []).append(number)
    trees = {crs: shapely.STRtree([shapely.box(*others[n].bounds) for n in found]) for crs, found in by_crs.items()}
    shared = []
    for grid in grids:
        near_ones: list[int] = []
        for crs, found in by_crs.items():
            near_ones += [found[i] for i in trees[crs].query(shapely.box(*grid.bounds))] if crs == grid.crs else found
        shared.append(sorted(number for number in near_ones if grid.overlaps(others[number])))
    return shared


def ground_of(mask: Mask, source: Grid, grid: Grid) -> Mask:
    """Pixels of a grid, bool [H, W], on which pixels of a mask, bool [h, w] on another grid, lie with any part."""
    out = np.zeros((grid.height, grid.width), np.uint8)
    with environment():
        reproject(
            mask.astype(np.uint8), out, src_transform=source.transform, src_crs=source.crs,
            dst_transform=grid.transform, dst_crs=grid.crs, resampling=Resampling.max,
        )  # fmt: skip
    return out.astype(bool)
