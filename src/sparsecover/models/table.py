"""The models in numbers: parameters, operations and stride."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparsecover.errors import MissingPartError
from sparsecover.models.network import SegmentationNetwork
from sparsecover.models.registry import create_model, list_models

_SIDE_PX = 512


@dataclass(frozen=True)
class ModelRow:
    """One model with its default options.

    Attributes:
        name: as for :func:`create_model`.
        parameters: number of trained numbers; None where unknown.
        gflop_per_megapixel: 10^9 operations (a multiplication and an addition are two) for a million pixels; None where
            unknown.
        stride: pixels of the image under one pixel of the deepest map; None where unknown.
        note: why numbers are missing, else empty.
    """

    name: str
    parameters: int | None
    gflop_per_megapixel: float | None
    stride: int | None
    note: str = ""


def model_table(names: Iterable[str] | None = None, in_channels: int = 3, num_classes: int = 6) -> list[ModelRow]:
    """Measure models with their default options, without computing anything or loading weights.

    Args:
        names: models, default all.
        in_channels: bands.
        num_classes: classes.

    Returns:
        One row for each name, in the order given. A model whose optional part is not installed says so in ``note``.
    """
    return [_row(name, in_channels, num_classes) for name in (list_models() if names is None else names)]


def _row(name: str, in_channels: int, num_classes: int) -> ModelRow:
    try:
        with torch.device("meta"):
            network = create_model(name, in_channels, num_classes).eval()
    except MissingPartError as error:
        return ModelRow(name, None, None, None, str(error))
    if not isinstance(network, SegmentationNetwork):
        return ModelRow(name, None, None, None, "not a neural network")
    parameters = sum(p.numel() for p in network.parameters())
    return ModelRow(name, parameters, _gflop_per_megapixel(network, in_channels), network.stride)


def _gflop_per_megapixel(network: nn.Module, in_channels: int) -> float:
    image = torch.empty(1, in_channels, _SIDE_PX, _SIDE_PX, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops()) / 1e9 / (_SIDE_PX**2 / 1e6)
