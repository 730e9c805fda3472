"""Multi-scale features of every pixel for the forest: brightness, edges, ridges, texture and its direction.

The scales come from one cascade: each Gaussian is made of the one before, sampled ever more sparsely (the "à trous"
scheme of Holschneider et al. 1989). What is blurred with sigma 8 has no detail finer than its own sigma / 2, so the
next step needs only every fourth pixel, and every scale costs about the same. Unlike a pyramid nothing is decimated:
a window with a margin of ``halo_px`` gives the pixels inside it the values that the whole image gives them, to the bit.
That holds at the image's borders too, where the window's margin is mirrored: what is odd under a reflection (the
product of the two slopes) is continued with the other sign, and sums run from the centre outwards, the same both ways.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
MAX_GROUPS = 8  # neighbouring bands of a hyperspectral image are averaged into at most this many before filtering

_TRUNCATE = 3.0  # kernels end at this many sigma
_QUANTITIES = 5  # brightness, its square, and the three products of its gradient
_PER_SCALE = 7


class PixelFeatures(nn.Module):
    """The bands as they are: features of a forest on single pixels.

    >>> PixelFeatures(4)(torch.zeros(1, 4, 2, 3)).shape
    torch.Size([1, 4, 2, 3])
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.halo_px = 0

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to itself."""
        return images


class MultiScaleFeatures(nn.Module):
    """The bands and seven features at each scale of each band: [N, C, H, W] to [N, ``out_channels``, H, W].

    At each sigma: Gaussian brightness, gradient magnitude, the two eigenvalues of the Hessian, the roots of the two
    eigenvalues of the structure tensor, and the local standard deviation; all in the image's own units (derivatives
    are multiplied by sigma). Beyond the border the image is mirrored, without repeating the border itself.

    Args:
        in_channels: bands C; above ``MAX_GROUPS`` groups of neighbouring bands are averaged for all but the bands
            themselves.
        sigmas: scales in pixels, ascending, from 0.5.

    >>> MultiScaleFeatures(3)(torch.zeros(1, 3, 5, 7)).shape
    torch.Size([1, 129, 5, 7])
    """

    def __init__(self, in_channels: int, sigmas: Sequence[float] = SIGMAS) -> None:
        super().__init__()
        self.sigmas = tuple(sigmas)
        self.groups = min(in_channels, MAX_GROUPS)
        self.out_channels = in_channels + self.groups * _PER_SCALE * len(self.sigmas)
        self.halo_px = _halo_px(self.sigmas)

    def forward(self, images: Tensor) -> Tensor:
        """Features of every pixel, in float32 or the images' wider type."""
        grouped = images
        if self.groups < images.shape[1]:
            grouped = torch.stack([part.mean(1) for part in images.tensor_split(self.groups, dim=1)], dim=1)
        features = [images]
        blurred = _quantities(grouped)
        for before, sigma in pairwise((0.0, *self.sigmas)):
            blurred = _blur(blurred, before, sigma)
            features.append(_at_scale(blurred, sigma))
        return torch.cat(features, dim=1)


def _quantities(images: Tensor) -> Tensor:
    """What is blurred, one after the other along the channels: x, x², and x_h², x_w², x_h x_w."""
    down, right = _slope(images, 1, -2), _slope(images, 1, -1)
    return torch.cat([images, images.square(), down.square(), right.square(), down * right], dim=1)


def _at_scale(blurred: Tensor, sigma: float) -> Tensor:
    """The seven features [N, 7 G, H, W] of quantities blurred with ``sigma``."""
    mean, square, down2, right2, cross = blurred.chunk(_QUANTITIES, dim=1)
    step = _step(sigma)
    scale = sigma / step
    down, right = _slope(mean, step, -2), _slope(mean, step, -1)
    edge = _length(down, right) * scale
    curved = _eigenvalues(_curvature(mean, step, -2), _curvature(mean, step, -1), _slope(down, step, -1))
    ridge = [value * scale**2 for value in curved]
    texture = [value.clamp_min(0).sqrt() for value in _eigenvalues(down2, right2, cross)]
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    return torch.cat([mean, edge, *ridge, *texture, deviation], dim=1)


def _eigenvalues(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, the larger first, of the symmetric matrices [[a, c], [c, b]]."""
    middle, spread = (a + b) / 2, _length((a - b) / 2, c)
    return middle + spread, middle - spread


def _length(a: Tensor, b: Tensor) -> Tensor:
    """Of vectors; torch.hypot, which guards against overflow, has no counterpart in ONNX."""
    return (a.square() + b.square()).sqrt()


def _slope(images: Tensor, step: int, axis: int) -> Tensor:
    """Half the difference of the neighbours ``step`` pixels ahead and behind: the derivative times ``step``."""
    length = images.shape[axis]
    padded = _mirror(images, step, axis)
    return (padded.narrow(axis, 2 * step, length) - padded.narrow(axis, 0, length)) / 2


def _curvature(images: Tensor, step: int, axis: int) -> Tensor:
    """The second derivative times ``step`` squared."""
    length = images.shape[axis]
    padded = _mirror(images, step, axis)
    return padded.narrow(axis, 2 * step, length) + padded.narrow(axis, 0, length) - 2 * images


def _blur(images: Tensor, before: float, sigma: float) -> Tensor:
    """Blur what was blurred with sigma ``before`` until it is as if blurred with ``sigma``."""
    weights, spacing = _kernel(before, sigma)
    for axis in (-2, -1):
        images = _weighted_sum(images, weights, spacing, axis)
    return images


def _weighted_sum(images: Tensor, weights: Sequence[float], spacing: int, axis: int) -> Tensor:
    """Convolve an axis with weights ``spacing`` px apart; on CPUs shifted sums are 8 times faster than ``conv2d``."""
    length, middle = images.shape[axis], len(weights) // 2
    reach = middle * spacing
    padded = _mirror(images, reach, axis, odd=images.shape[1] // _QUANTITIES)
    total = images * weights[middle]
    for offset in range(spacing, reach + 1, spacing):
        both = padded.narrow(axis, reach - offset, length) + padded.narrow(axis, reach + offset, length)
        total.add_(both, alpha=weights[middle + offset // spacing])
    return total


def _kernel(before: float, sigma: float) -> tuple[list[float], int]:
    """The Gaussian between two scales (variances add up): its weights, summing to 1, and their spacing in pixels."""
    between = math.sqrt(sigma**2 - before**2)
    spacing = max(1, int(before / 2))
    reach = max(1, math.ceil(_TRUNCATE * between / spacing))
    offsets = [i * spacing for i in range(-reach, reach + 1)]
    width = between
    for _ in range(20):  # sampling and cutting change the variance, so the width is adjusted until it is right
        weights = [math.exp(-0.5 * (x / width) ** 2) for x in offsets]
        total = sum(weights)
        variance = sum(w * x**2 for w, x in zip(weights, offsets, strict=True)) / total
        width *= between / math.sqrt(variance)
    return [w / total for w in weights], spacing


def _mirror(images: Tensor, reach: int, axis: int, odd: int = 0) -> Tensor:
    """Continue an axis by ``reach`` pixels on both sides, mirrored at the border pixels as often as it takes.

    The last ``odd`` channels change their sign with each reflection.
    """
    length = images.shape[axis]
    position = torch.arange(-reach, length + reach, device=images.device) % max(1, 2 * (length - 1))
    padded = images.index_select(axis, torch.minimum(position, (2 * (length - 1) - position).abs()))
    if odd:
        sign = 1 - 2 * (position >= length).to(images.dtype)
        sign = sign[:, None] if axis == -2 else sign
        even, changing = torch.split(padded, [images.shape[1] - odd, odd], dim=1)
        padded = torch.cat([even, changing * sign], dim=1)  # in place, ONNX would lose it
    return padded


def _step(sigma: float) -> int:
    """Pixels to the neighbours of which derivatives are differences: what is blurred with sigma is smooth on them."""
    return max(1, round(sigma / 2))


def _halo_px(sigmas: Sequence[float]) -> int:
    """How far a feature looks along an axis: through all kernels one after the other, then to its neighbours."""
    kernels = [_kernel(before, sigma) for before, sigma in pairwise((0.0, *sigmas))]
    return sum(len(weights) // 2 * spacing for weights, spacing in kernels) + _step(sigmas[-1])
