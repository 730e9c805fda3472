"""Pixels drawn uniformly: each keeps its label with the same probability, whatever its class."""

import numpy as np

from sparsecover.errors import LabelError
from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, hashed_strips, unlabelled_like


def pixels(mask: Indices, budget: Budget) -> Indices:
    """Keep a ``fraction`` of the labelled pixels.

    Stateless: a pixel's fate depends on seed, scene, row and column alone, so any window shows the same labels, and a
    larger fraction holds all labels of a smaller one.
    """
    if budget.fraction is None:
        raise LabelError("The sampler 'pixels' takes a fraction; for a number of pixels per class use 'per_class'.")
    out = unlabelled_like(mask)
    limit = round(budget.fraction * 2**32)  # 2**32 itself is above all hashes
    for part, labels, hashes in hashed_strips(mask, budget):
        np.copyto(out[part], labels, where=hashes < limit)
    return out
