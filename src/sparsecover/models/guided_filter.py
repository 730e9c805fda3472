"""Maps smoothed along the edges of an image: the guided filter (He, Sun & Tang 2013, "Guided image filtering")."""

import torch
from torch import Tensor
from torch.nn import functional as F


def guided_filter(guide: Tensor, values: Tensor, radius: int, epsilon: float) -> Tensor:
    """Values that are, around each pixel, the best linear function of the guide's three channels (eq. 14 to 16).

    Where the guide is even they are averaged over windows of 2 ``radius`` + 1 pixels, twice; its edges stay.

    Args:
        guide: float32 [N, 3, H, W].
        values: float32 [N, K, H, W].
        radius: of the windows, in pixels; those at the border are cut off there.
        epsilon: variance of the guide, within a window, from which on it counts as an edge.

    Returns:
        float32 [N, K, H, W]; where ``values`` sum to 1 over K, so does the result. A little below the least and above
        the largest of them is possible beside edges.
    """
    middle, mean = _average(guide, radius), _average(values, radius)
    inverse = _inverse(guide, middle, radius, epsilon)
    together = [_average(guide[:, i, None] * values, radius) - middle[:, i, None] * mean for i in range(3)]
    offset, along = mean, torch.zeros_like(values)
    for i, (x, y, z) in enumerate(inverse):
        slope = x[:, None] * together[0] + y[:, None] * together[1] + z[:, None] * together[2]
        offset = offset - slope * middle[:, i, None]
        along = along + _average(slope, radius) * guide[:, i, None]
    return _average(offset, radius) + along


def _average(values: Tensor, radius: int) -> Tensor:
    """Means over windows, first of columns, then of rows."""
    tall = F.avg_pool2d(values, (2 * radius + 1, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(tall, (1, 2 * radius + 1), 1, (0, radius), count_include_pad=False)


def _inverse(guide: Tensor, middle: Tensor, radius: int, epsilon: float) -> list[list[Tensor]]:
    """The inverse of the guide's 3 x 3 covariance in each window, with ``epsilon`` on its diagonal: 9 x [N, H, W]."""
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    squares = _average(torch.stack([guide[:, i] * guide[:, j] for i, j in pairs], dim=1), radius)
    a, b, c, d, e, f = (squares[:, n] - middle[:, i] * middle[:, j] for n, (i, j) in enumerate(pairs))
    a, d, f = a + epsilon, d + epsilon, f + epsilon
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * first + b * second + c * third
    rows = [[first, second, third], [second, a * f - c * c, b * c - a * e], [third, b * c - a * e, a * d - b * b]]
    return [[entry / det for entry in row] for row in rows]
