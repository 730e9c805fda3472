"""Logits smoothed along an image's edges, the more widely the fewer labels taught them."""

import math

import torch
from torch import Tensor

from sparsecover.models.guided_filter import guided_filter

_RADIUS_PX = 40  # for one labelled pixel; 16 times as many halve it
_WIDEST_PX = 12
_EDGE_SHARE = 1e-3  # of the guide's variance
_LEAST_PROBABILITY = 1e-4


def filter_radius(labelled: int) -> int:
    """Radius of the filter that pays for so many labelled pixels; docs/technical-report.md has the trials."""
    return min(round(_RADIUS_PX / math.sqrt(math.sqrt(max(labelled, 1)))), _WIDEST_PX)


class EdgeVariance:
    """The variance from which on a guide has an edge: a share of what it has in all, gathered image by image."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)  # of pixels, values and squares

    def add(self, guide: Tensor, known: Tensor) -> None:
        """Count the pixels of a guide [N, C, H, W] where ``known`` [N, 1, H, W] is true."""
        values = guide.double()[known.expand_as(guide)]
        self._sums += torch.stack([values.new_tensor(values.numel()), values.sum(), values.square().sum()]).cpu()

    @property
    def value(self) -> float:
        """That variance; that of a guide of variance 1 where nothing varied."""
        count, total, square = (self._sums / self._sums[0].clamp_min(1)).tolist()
        variance = square - total**2
        return _EDGE_SHARE * (variance if count and variance > 0 and math.isfinite(variance) else 1.0)


def smooth_logits(logits: Tensor, guide: Tensor, known: Tensor, radius: int, edge_variance: float) -> Tensor:
    """Logarithms of the probabilities after the guided filter.

    Args:
        logits: [N, K, H, W].
        guide: the image, float32 [N, C, H, W], of one channel or three that differ.
        known: bool [N, 1, H, W], where the image holds data; elsewhere logits stay as they are, but for a constant.
        radius: of the filter, in pixels.
        edge_variance: variance of the guide, within a window, from which on it counts as an edge.

    Returns:
        [N, K, H, W] in the precision of ``logits``.
    """
    shares = logits.float().softmax(1)
    smooth = guided_filter(guide, shares, known, radius, edge_variance)
    usable = known & smooth.isfinite().all(1, keepdim=True)  # sums of values that no one normalised overflow
    return torch.where(usable, smooth, shares).clamp_min(_LEAST_PROBABILITY).log().to(logits.dtype)
