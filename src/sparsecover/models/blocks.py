"""The few layers of which the U-Nets are made."""

import math
from typing import Literal

from torch import nn

from sparsecover.errors import ModelError, nearest

Norm = Literal["batch", "group", "instance"]
Downsample = Literal["maxpool", "strided"]
Upsample = Literal["transpose", "bilinear", "nearest"]

_NORM_GROUPS = 8


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """A normalisation of ``channels`` maps: ``batch``, or without the batch's other images ``group``, ``instance``."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(_NORM_GROUPS, channels), channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    raise ModelError(f"Unknown norm {kind!r}. {nearest(str(kind), ('batch', 'group', 'instance'))}")


class ConvNormReLU(nn.Sequential):
    """A 3 x 3 convolution (its offset is the normalisation's), a normalisation and ReLU.

    Weights start as for ReLU (He et al. 2015, eq. 10).
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, stride: int = 1) -> None:
        convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        super().__init__(convolution, normalisation(norm, out_channels), nn.ReLU(inplace=True))


class ConvBlock(nn.Sequential):
    """Two convolutions at one resolution, then dropout of whole maps: neighbours are too alike to drop singly."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = [
            ConvNormReLU(in_channels, out_channels, norm),
            ConvNormReLU(out_channels, out_channels, norm),
        ]
        if dropout:
            layers.append(nn.Dropout2d(dropout))
        super().__init__(*layers)


def downsampling(kind: Downsample, channels: int, norm: Norm) -> nn.Module:
    """Half the height and width, the same channels."""
    if kind == "maxpool":
        return nn.MaxPool2d(2)
    if kind == "strided":
        return ConvNormReLU(channels, channels, norm, stride=2)
    raise ModelError(f"Unknown downsample {kind!r}. {nearest(str(kind), ('maxpool', 'strided'))}")


def upsampling(kind: Upsample, in_channels: int, out_channels: int) -> nn.Module:
    """Twice the height and width, ``out_channels`` maps."""
    if kind == "transpose":
        return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
    if kind not in ("bilinear", "nearest"):
        raise ModelError(f"Unknown upsample {kind!r}. {nearest(str(kind), ('transpose', 'bilinear', 'nearest'))}")
    # A 1 x 1 convolution and interpolation commute; before it, the convolution costs a quarter.
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size=1), nn.Upsample(scale_factor=2, mode=kind))
