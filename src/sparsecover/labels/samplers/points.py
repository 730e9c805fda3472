"""Clicked points: scattered, and away from the borders between classes, where people do not click."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

from sparsecover.classes import UNLABELLED
from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, Positions, class_totals, smallest, unlabelled_like
from sparsecover.labels.samplers.options import Distance

_CANDIDATES = 50  # per point wanted; if these are too close together, so are all


def points(mask: Indices, budget: Budget, *, min_distance_px: Distance = 16, border_px: Distance = 2) -> Indices:
    """Keep exactly ``n`` single pixels of each class, or the rounded ``fraction`` of its pixels; at most all.

    Args:
        min_distance_px: points of a class are at least this many rows or columns apart.
        border_px: no other class within this many rows and columns.

    Where a class is too small for that, both are halved until there are enough points.
    """
    out = unlabelled_like(mask)
    wanted = budget.pixels(class_totals(mask))
    for k, chosen in enumerate(scattered(mask, wanted, budget, min_distance_px, border_px)):
        out.reshape(-1)[chosen] = k
    return out


def scattered(
    mask: Indices, wanted: npt.NDArray[np.int64], budget: Budget, min_distance_px: int, border_px: int
) -> list[Positions]:
    """Flat positions of ``wanted[k]`` scattered inner pixels of each class k; ``wanted`` is at most what there is.

    In a tile of a larger scene they keep away from its edges too, and so from borders and points beyond.
    """
    chosen: list[list[int]] = [[] for _ in wanted]
    distance, border = min_distance_px, border_px
    while (short := wanted > [len(c) for c in chosen]).any():
        inner = _inner(mask, border)
        if budget.share is not None:
            inner = _without_edges(inner, max(border, distance // 2))
        number = np.minimum(_CANDIDATES * wanted if distance else wanted * 2, class_totals(inner, len(wanted)))
        candidates = smallest(inner, np.where(short, number, 0), budget)
        labels = mask.reshape(-1)[candidates]
        for k in np.flatnonzero(short):
            _add_apart(chosen[k], candidates[labels == k], int(wanted[k]), max(distance, 1), mask.shape[1])
        distance, border = distance // 2, border // 2
    return [np.array(c, np.intp) for c in chosen]


def _inner(mask: Indices, border_px: int) -> Indices:
    """The mask without pixels that have another class within ``border_px`` rows and columns."""
    if border_px == 0:
        return mask
    size = 2 * border_px + 1
    same = maximum_filter(mask, size, mode="nearest") == minimum_filter(mask, size, mode="nearest")
    return np.where(same, mask, np.uint8(UNLABELLED))


def _without_edges(mask: Indices, margin_px: int) -> Indices:
    out = unlabelled_like(mask)
    middle = tuple(slice(margin_px, max(margin_px, length - margin_px)) for length in mask.shape)
    out[middle] = mask[middle]
    return out


def _add_apart(chosen: list[int], candidates: Positions, wanted: int, distance: int, width: int) -> None:
    """Add candidates in turn that are ``distance`` away from all chosen so far: cells of that side hold one each."""
    taken = {(p // width // distance, p % width // distance): (p // width, p % width) for p in chosen}
    for position in candidates.tolist():
        if len(chosen) >= wanted:
            return
        row, col = divmod(position, width)
        cell = row // distance, col // distance
        around = (taken.get((cell[0] + i, cell[1] + j)) for i in (-1, 0, 1) for j in (-1, 0, 1))
        if all(other is None or max(abs(other[0] - row), abs(other[1] - col)) >= distance for other in around):
            taken[cell] = row, col
            chosen.append(position)
