"""A network for inference on a CPU: BatchNorm folded into convolutions, wide ones with fewer multiplications."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparsecover.models.network import SegmentationNetwork
from sparsecover.models.winograd import use_winograd

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def prepare_for_cpu(network: nn.Module) -> nn.Module:
    """A copy for inference on a CPU: see :func:`fold_batchnorm` and :mod:`sparsecover.models.winograd`.

    Args:
        network: any network, on the CPU; it is not changed.

    Returns:
        A network in eval mode of the same outputs up to rounding (1e-4 of the largest logit), that cannot be trained
        further. It holds its wide filters in two forms: a U-Net with 64 base channels takes 420 MB instead of 124.
    """
    prepared = fold_batchnorm(network)
    use_winograd(prepared)
    for parameter in prepared.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return prepared


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """A copy in eval mode with BatchNorm folded into the convolutions before it.

    ``y = g (w x - m) / s + b`` is a convolution with weights ``g w / s`` and offset ``b - g m / s``. Pairs are found by
    watching an image go through, which works for any network; the result is compared, and a network for which it
    differs by more than rounding is returned unfolded.

    Args:
        network: any network; one that is not a :class:`SegmentationNetwork` is only copied.

    Returns:
        A network of the same outputs, up to rounding, that cannot be trained further.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    if not isinstance(network, SegmentationNetwork):
        return network
    folded = copy.deepcopy(network)
    image = _image(network)
    with torch.no_grad():
        for convolution, norm in dict.fromkeys(_pairs(folded, image)):  # a module may be passed twice
            _fold(folded, convolution, norm)
        before, after = network(image), folded(image)
    return network if (after - before).abs().max() > 1e-4 * before.abs().max().clamp_min(1.0) else folded


def _image(network: SegmentationNetwork) -> Tensor:
    side = 2 * max(network.stride, network.minimum_px)
    image = torch.rand(1, network.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    return image.to(next(network.parameters()))


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions, each with the BatchNorm that reads its output."""
    names = {module: name for name, module in network.named_modules()}
    made: dict[int, nn.Module] = {}
    pairs: list[tuple[str, str]] = []
    outputs: list[Tensor] = []  # kept alive: an id is only unique while its object lives

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)
        if isinstance(module, _CONVOLUTIONS):
            made[id(output)] = module
        elif type(module) is nn.BatchNorm2d and id(inputs[0]) in made:
            pairs.append((names[made[id(inputs[0])]], names[module]))

    watched = [module for module in network.modules() if isinstance(module, (*_CONVOLUTIONS, nn.BatchNorm2d))]
    hooks = [module.register_forward_hook(note) for module in watched]
    network(image)
    for hook in hooks:
        hook.remove()
    return pairs


def _fold(network: nn.Module, convolution: str, norm: str) -> None:
    before, after = network.get_submodule(convolution), network.get_submodule(norm)
    assert isinstance(before, _CONVOLUTIONS)
    assert isinstance(after, nn.BatchNorm2d)
    _replace(network, convolution, fuse_conv_bn_eval(before, after, transpose=isinstance(before, nn.ConvTranspose2d)))
    _replace(network, norm, nn.Identity())


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
