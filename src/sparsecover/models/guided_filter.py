"""Maps smoothed along the edges of an image: the guided filter (He, Sun & Tang 2013, "Guided image filtering")."""

import torch
from torch import Tensor
from torch.nn import functional as F


def guided_filter(guide: Tensor, values: Tensor, known: Tensor, radius: int, epsilon: float) -> Tensor:
    """Values that are, around each pixel, the best linear function of the guide's channels (eq. 14 to 16).

    Where the guide is even they are averaged over windows of 2 ``radius`` + 1 pixels, twice; its edges stay.

    Args:
        guide: float32 [N, C, H, W], of one channel or three that differ.
        values: float32 [N, K, H, W].
        known: bool [N, 1, H, W]; other pixels count for nothing, and what they get means nothing.
        radius: of the windows, in pixels; those at the border are cut off there.
        epsilon: variance of the guide, within a window, from which on it counts as an edge.

    Returns:
        float32 [N, K, H, W]; where ``values`` sum to 1 over K, so does the result. A little below the least and above
        the largest of them is possible beside edges.
    """
    weight = known.to(values.dtype)
    total = _average(weight, radius).clamp_min(1e-6)

    def average(each: Tensor) -> Tensor:
        return _average(each * weight, radius) / total

    middle, mean = average(guide), average(values)
    channels = guide.shape[1]
    pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
    squares = average(torch.stack([guide[:, i] * guide[:, j] for i, j in pairs], dim=1))
    covariance = [squares[:, n] - middle[:, i] * middle[:, j] + epsilon * (i == j) for n, (i, j) in enumerate(pairs)]
    inverse = _inverse(*covariance) if channels == 3 else [[1 / covariance[0]]]
    together = [average(guide[:, i, None] * values) - middle[:, i, None] * mean for i in range(channels)]
    offset, along = mean, torch.zeros_like(values)
    for i, row in enumerate(inverse):
        slope = row[0][:, None] * together[0]
        for entry, shared in zip(row[1:], together[1:], strict=True):
            slope = slope + entry[:, None] * shared
        offset = offset - slope * middle[:, i, None]
        along = along + average(slope) * guide[:, i, None]
    return average(offset) + along


def _average(values: Tensor, radius: int) -> Tensor:
    """Means over windows, first of columns, then of rows."""
    tall = F.avg_pool2d(values, (2 * radius + 1, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(tall, (1, 2 * radius + 1), 1, (0, radius), count_include_pad=False)


def _inverse(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> list[list[Tensor]]:
    """The inverse of the symmetric matrices ((a, b, c), (b, d, e), (c, e, f)), in double: channels may be alike."""
    precision = a.dtype
    a, b, c, d, e, f = (each.double() for each in (a, b, c, d, e, f))
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * first + b * second + c * third
    rows = [[first, second, third], [second, a * f - c * c, b * c - a * e], [third, b * c - a * e, a * d - b * b]]
    return [[(entry / det).to(precision) for entry in row] for row in rows]
