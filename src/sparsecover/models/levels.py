"""What U-Net and U-Net++ share: resolution levels, their widths and the encoder that goes down them."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from sparsecover.errors import ModelError
from sparsecover.models.blocks import ConvBlock, Downsample, Norm, downsampling


def encoder(
    in_channels: int, widths: Sequence[int], rates: Sequence[float], downsample: Downsample, norm: Norm
) -> nn.ModuleList:
    """One stage a level: a block at full resolution, then downsamplings each with a block."""
    stages = nn.ModuleList([ConvBlock(in_channels, widths[0], norm, rates[0])])
    for above, width, rate in zip(widths, widths[1:], rates[1:], strict=False):
        stages.append(nn.Sequential(downsampling(downsample, above, norm), ConvBlock(above, width, norm, rate)))
    return stages


def stride_of(depth: int) -> int:
    """Pixels of the image under one pixel of the deepest of ``depth`` levels."""
    if not 1 <= depth <= 8:
        raise ModelError(f"depth is {depth}; expected 1 to 8 resolution levels (5 levels halve the image 4 times).")
    return int(2 ** (depth - 1))


def minimum_px(norm: Norm, stride: int) -> int:
    """Smallest padded size; ``instance`` needs two pixels at the deepest level, since one alone has no spread."""
    return 2 * stride if norm == "instance" else stride


def widths_of(base_channels: int, depth: int) -> list[int]:
    """Maps at each level."""
    if base_channels < 1:
        raise ModelError(f"base_channels is {base_channels}; expected a whole number from 1, for example 64.")
    return [base_channels * 2**level for level in range(depth)]


Dropout = float | Sequence[float] | Literal["growing"]


def rates_of(dropout: Dropout, depth: int) -> list[float]:
    """Dropout at each level; ``growing`` is 0.1, 0.1, 0.2, 0.2, 0.3, ..."""
    if isinstance(dropout, str):
        if dropout != "growing":
            raise ModelError(f"dropout is {dropout!r}; expected shares in [0, 1), or 'growing'.")
        return [0.1 * (1 + level // 2) for level in range(depth)]
    rates = [float(dropout)] * depth if isinstance(dropout, float | int) else list(dropout)
    if len(rates) != depth or not all(0 <= rate < 1 for rate in rates):
        raise ModelError(f"dropout is {dropout}; expected one share in [0, 1), or {depth} of them, one a level.")
    return rates
