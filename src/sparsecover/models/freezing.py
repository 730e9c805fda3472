"""Freezing an encoder for the first epochs, and unfreezing it at once or stage by stage from the deep end."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparsecover.errors import ModelError
from sparsecover.models.network import SegmentationNetwork


def encoder_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Parameters of the network's encoder, which may have their own learning rate; empty where it has none."""
    encoder = network.encoder_module() if isinstance(network, SegmentationNetwork) else None
    return [] if encoder is None else list(encoder.parameters())


class EncoderFreezer:
    """Freezes and unfreezes the encoder of a network by stages.

    While a stage is frozen its parameters have no gradient and its BatchNorm layers stay in eval mode, also after
    ``network.train()``.

    Args:
        network: a network with an encoder.

    Attributes:
        stages: parameters by stage, shallow to deep.

    Raises:
        ModelError: the network has no encoder.

    Example:
        >>> from sparsecover.models import UNet
        >>> freezer = EncoderFreezer(UNet(base_channels=4, depth=3))
        >>> freezer.freeze()
        >>> freezer.unfreeze(1)
        >>> [stage[0].requires_grad for stage in freezer.stages]
        [False, False, True]
    """

    def __init__(self, network: nn.Module) -> None:
        encoder = network.encoder_module() if isinstance(network, SegmentationNetwork) else None
        if not isinstance(network, SegmentationNetwork) or encoder is None:
            raise ModelError(
                f"{type(network).__name__} has no encoder to freeze. Set model.freeze_encoder_epochs to 0, or wrap the "
                "network in sparsecover.models.AnySize and name its encoder."
            )
        self.network = network
        children = _stages_by_child(encoder)
        # The usual ResNet-like encoder has a child for each stage; others are one long list of layers.
        self.stages = children if 4 <= len(children) <= 8 else _stages_by_resolution(network, encoder)

    def freeze(self) -> None:
        """Freeze the whole encoder."""
        self.unfreeze(0)

    def unfreeze(self, deepest: int | None = None) -> None:
        """Let the ``deepest`` stages train, and freeze the others; None lets all train."""
        frozen = 0 if deepest is None else max(0, len(self.stages) - deepest)
        for index, stage in enumerate(self.stages):
            for parameter in stage:
                parameter.requires_grad_(index >= frozen)
        self.network.train(self.network.training)


def _stages_by_child(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters by the encoder's children; a lone layer, such as a normalisation, is counted with the child before."""
    children = list(encoder.children())
    while len(children) == 1:
        children = list(children[0].children())
    stages: list[list[nn.Parameter]] = []
    for child in children:
        if not stages or list(child.children()):
            stages.append([])
        stages[-1].extend(child.parameters())
    return [stage for stage in stages if stage]


def _stages_by_resolution(network: SegmentationNetwork, encoder: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters by the size of the maps they make, watched while one small image goes through."""
    # Four pixels at the deepest level: maps of one pixel are not levels, but channel attention.
    size = 4 * max(network.stride, network.minimum_px)
    image = torch.zeros(1, network.in_channels, size, size).to(next(network.parameters()))
    level: dict[nn.Parameter, int] = {}
    deepest = 0

    def note(module: nn.Module, _: object, output: object) -> None:
        nonlocal deepest
        deepest = max(deepest, _halvings(output, size))
        for parameter in module.parameters(recurse=False):
            level.setdefault(parameter, deepest)

    hooks = [module.register_forward_hook(note) for module in encoder.modules()]
    with torch.no_grad(), _eval_mode(network):
        network(image)
    for hook in hooks:
        hook.remove()
    parameters = list(encoder.parameters())
    levels = sorted({level.get(p, deepest) for p in parameters})
    return [[p for p in parameters if level.get(p, deepest) == each] for each in levels]


def _halvings(output: object, size: int) -> int:
    """How often the sides of a map [N, C, h, w] or [N, h, w, C] were halved; 0 for anything else."""
    if isinstance(output, Tensor) and output.ndim == 4:
        for height, width in (output.shape[2:], output.shape[1:3]):
            if height == width and height >= 4 and size % height == 0:
                return (size // height).bit_length() - 1
    return 0


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
