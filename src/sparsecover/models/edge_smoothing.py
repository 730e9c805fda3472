"""Logits smoothed along an image's edges, the more widely the fewer places were labelled."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsecover.classes import UNLABELLED
from sparsecover.models.guided_filter import guided_filter

_PLACE_PX = 16  # labels nearer to each other than this tell about as much as one
_RADIUS_PX = 40  # for one labelled place; 16 times as many halve it
_WIDEST_PX = 12
_LEAST_PROBABILITY = 1e-4

EDGE_VARIANCE = 1e-3
"""Variance within a window from which on a guide of variance 1 has an edge."""


def count_places(labels: Tensor) -> int:
    """Squares of 16 pixels a side with a label in them: a polygon of a hundred pixels tells less than a hundred clicks.

    Args:
        labels: int [N, h, w], 255 where unlabelled.
    """
    labelled = (labels != UNLABELLED).float()[:, None]
    return int(F.max_pool2d(labelled, _PLACE_PX, ceil_mode=True).sum())


def filter_radius(places: int) -> int:
    """Radius of the filter that pays for so many labelled places; docs/technical-report.md has the trials."""
    return min(round(_RADIUS_PX / math.sqrt(math.sqrt(max(places, 1)))), _WIDEST_PX)


class EdgeVariance:
    """The variance from which on a guide has an edge: a share of what it has in all, gathered image by image."""

    def __init__(self) -> None:
        self._pixels = 0
        self._sums = torch.zeros(2, 1, dtype=torch.float64)  # of values and squares; [2, C] from the first image on

    def add(self, guide: Tensor, known: Tensor) -> None:
        """Count the pixels of a guide [N, C, H, W] where ``known`` [N, 1, H, W] is true."""
        values = guide.movedim(1, -1)[known[:, 0]].double()
        self._pixels += len(values)
        self._sums = self._sums + torch.stack([values.sum(0), values.square().sum(0)]).cpu()

    @property
    def value(self) -> float:
        """That variance, the mean over channels; that of a guide of variance 1 where nothing varied."""
        mean, square = self._sums / max(self._pixels, 1)
        variance = float((square - mean.square()).mean())
        return EDGE_VARIANCE * (variance if 0 < variance < math.inf else 1.0)


def smooth_logits(logits: Tensor, guide: Tensor, known: Tensor, radius: int, edge_variance: float) -> Tensor:
    """Logarithms of the probabilities after the guided filter.

    Args:
        logits: [N, K, H, W].
        guide: the image, float32 [N, C, H, W], of one channel or three that differ.
        known: bool [N, 1, H, W], where the image holds data; what lies elsewhere counts for nothing, and where there
            is nothing else within reach the probabilities stay as they are.
        radius: of the filter, in pixels.
        edge_variance: variance of the guide, within a window, from which on it counts as an edge.

    Returns:
        [N, K, H, W] in the precision of ``logits``; no probability is below 1e-4.
    """
    shares = logits.float().softmax(1)
    smooth = guided_filter(guide, shares, known, radius, edge_variance)
    # The filter keeps sums, so they are 0 where it saw no data; values that no one normalised may overflow in it.
    total = smooth.sum(1, keepdim=True)
    kept = torch.where((total > 0.5) & total.isfinite(), smooth, shares)
    return kept.clamp_min(_LEAST_PROBABILITY).log().to(logits.dtype)
