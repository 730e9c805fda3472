"""Pixels drawn class by class, each class with its own exact number."""

from typing import Any

from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, class_totals, refuse_unknown_options, smallest, unlabelled_like


def per_class(mask: Indices, budget: Budget, **options: Any) -> Indices:
    """Keep exactly ``n`` pixels of each class, or the rounded ``fraction`` of each; at least one, at most all.

    The same number for each class shifts the share of classes: a budget unlike that of ``pixels``.
    """
    refuse_unknown_options(options, "per_class")
    out = unlabelled_like(mask)
    chosen = smallest(mask, budget.pixels(class_totals(mask)), budget)
    out.reshape(-1)[chosen] = mask.reshape(-1)[chosen]
    return out
