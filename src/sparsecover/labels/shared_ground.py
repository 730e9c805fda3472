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
from sparsecover.raster.gdal import environment


def apart_on_ground(folds: Sequence[Fold], num_classes: int, buffer_px: int) -> list[Fold]:
    """Take from each scene's training labels what other scenes hold out on the same ground.

    Args:
        folds: the sides of one split, one a scene.
        buffer_px: training labels at most this many rows and columns from held-out ground are left out, too.

    Returns:
        The folds with fewer training labels. Where a class would lose all of them nothing is taken, and the folds are
        marked optimistic.
    """
    masks = _held_elsewhere(folds)
    if all(mask is None for mask in masks):
        return list(folds)
    trains = [
        fold.train if mask is None else fold.train.keep(~near(mask, buffer_px))
        for fold, mask in zip(folds, masks, strict=True)
    ]
    before = sum(fold.train.counts(num_classes) for fold in folds)
    after = sum(train.counts(num_classes) for train in trains)
    if np.any((after == 0) & (before > 0)):
        note = "Scenes overlap, and what trains in one is held out in another: the accuracy is optimistic."
        return [fold._replace(notes=[*fold.notes, note], optimistic=True) for fold in folds]
    note = f"Scenes overlap: {int(np.sum(before - after))} training labels on ground held out in another were left out."
    return [fold._replace(train=t, notes=[*fold.notes, note]) for fold, t in zip(folds, trains, strict=True)]


def _held_elsewhere(folds: Sequence[Fold]) -> list[Mask | None]:
    """For each scene where others hold out labels, bool [H, W] on its grid; None where they share no ground."""
    grids, held = [fold.train.grid for fold in folds], [fold.held_out for fold in folds]
    masks: list[Mask | None] = []
    for number, sharing in enumerate(sharing_ground(grids, [labels.grid for labels in held])):
        others = [held[other] for other in sharing if other != number]
        found = [ground_of(labels.values != UNLABELLED, labels.grid, grids[number]) for labels in others]
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
