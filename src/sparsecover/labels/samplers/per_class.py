"""Pixels drawn class by class, each class with its own exact number."""

from collections.abc import Iterator

import numpy as np

from sparsecover.classes import UNLABELLED
from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, Strips, find_cut, hashed_strips, unlabelled_like


def per_class(mask: Indices, budget: Budget) -> Indices:
    """Keep exactly ``n`` pixels of each class, or the rounded ``fraction`` of each; at least one, at most all.

    The same number for each class shifts the share of classes: a budget unlike that of ``pixels``.
    """
    ((_, values),) = per_class_by_strips(lambda: [(0, mask)], budget)
    return values


def per_class_by_strips(strips: Strips, budget: Budget) -> Iterator[tuple[int, Indices]]:
    """``per_class`` of a raster of any size: the same labels, however high the strips are. Three passes."""
    cut = find_cut(strips, budget.pixels, budget)
    for row, mask in strips():
        out = unlabelled_like(mask)
        for part, labels, hashes in hashed_strips(mask, budget.at(row, 0)):
            out[part] = np.where(cut.keep(labels, hashes), labels, np.uint8(UNLABELLED))
        yield row, out
