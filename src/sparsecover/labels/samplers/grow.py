"""Shapes grown around scattered starts until the budget of each class is used up to the pixel."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, Positions, class_totals, unlabelled_like
from sparsecover.labels.samplers.points import scattered

Shape = Callable[[Indices, int, int, np.random.Generator], Positions]
"""(mask, row, col, generator) to flat positions of the start's class in the order in which they are drawn."""


def grow(mask: Indices, budget: Budget, shape: Shape, typical_px: int, apart_px: int) -> Indices:
    """Draw ``n`` shapes for each class, or as many as give the rounded ``fraction`` of its pixels exactly.

    Args:
        typical_px: pixels of a shape, from which the number of starts is guessed.
        apart_px: starts of a class are at least this many rows or columns apart where there is room.
    """
    out = unlabelled_like(mask)
    counts = class_totals(mask)
    if budget.fraction is None:
        unlimited = np.iinfo(np.int64).max
        left = np.full(len(counts), unlimited)
        for starts in scattered(mask, budget.pixels(counts), budget, apart_px, 2):
            _draw(mask, out, starts, left, shape, budget)
        return out
    left = budget.pixels(counts)
    while left.any():
        free = np.where(out == UNLABELLED, mask, np.uint8(UNLABELLED))
        number = np.minimum(-(-left // typical_px), class_totals(free, len(counts)))
        for starts in scattered(free, number, budget, apart_px, 2):
            _draw(mask, out, starts, left, shape, budget)
    return out


def _draw(
    mask: Indices, out: Indices, starts: Positions, left: npt.NDArray[np.int64], shape: Shape, budget: Budget
) -> None:
    """Draw a shape at each start as long as its class has budget left; the last one is cut short."""
    flat = out.reshape(-1)
    for start in starts.tolist():
        row, col = divmod(start, mask.shape[1])
        k = mask[row, col]
        generator = np.random.default_rng([budget.key, budget.origin[0] + row, budget.origin[1] + col])
        drawn = shape(mask, row, col, generator)
        new = drawn[flat[drawn] == UNLABELLED][: left[k]]
        flat[new] = k
        left[k] -= len(new)
