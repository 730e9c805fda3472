"""The networks of segmentation-models-pytorch (extra ``smp``), for any number of bands and any size."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecover.errors import ModelError, nearest
from sparsecover.models.network import AnySize
from sparsecover.models.pretrained import load_encoder
from sparsecover.models.smp_encoders import Make, check_encoder, encoder_state
from sparsecover.models.torchvision_pairing import import_beside_torchvision

# Parameters of the library's classes that are set here, or that would change what the network returns.
_SET_HERE = ("in_channels", "classes", "encoder_name", "encoder_weights", "activation", "aux_params", "kwargs")

_ARGUMENTS = ("architecture", "in_channels", "num_classes", "options")  # of create_smp, that are no options of a user

_DEEPEST_PX = {"PAN": 8}  # PAN halves its deepest maps three times more; all others take a map of one pixel

_WINDOWS = (7, 8)  # sides, in pixels of the deepest map, of the attention windows of encoders such as MaxViT

# What the library and timm raise for encoders and options that do not go together.
_FOREIGN_ERRORS = (ValueError, KeyError, NotImplementedError, TypeError, AttributeError, RuntimeError, AssertionError)


def create_smp(
    architecture: str,
    in_channels: int,
    num_classes: int,
    *,
    encoder: str = "resnet34",
    encoder_weights: str | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    binary_head: bool = False,
    allow_restricted_licence: bool = False,
    **options: Any,
) -> AnySize:
    """Make a network of segmentation-models-pytorch.

    Args:
        architecture: name of its class, such as ``"DeepLabV3Plus"``.
        in_channels: bands C.
        num_classes: classes K.
        encoder: one of its encoders, or ``tu-`` and the name of one in timm.
        encoder_weights: name of weights to download (``"imagenet"``), path of a local file, or None.
        encoder_options: further arguments of an encoder in timm.
        binary_head: one logit z, returned as (0, z); needs K = 2.
        allow_restricted_licence: accept an encoder whose licence restricts its use.
        **options: the architecture's own, such as ``decoder_channels``.

    Raises:
        ModelError: unknown encoder, weights or option; an encoder that the architecture cannot take; a restrictive
            licence; weights that cannot be had.
        MissingPartError: segmentation-models-pytorch is not installed.
    """
    library = import_beside_torchvision("segmentation_models_pytorch", extra="smp")
    architecture_class = getattr(library, architecture)
    _check_options(architecture, architecture_class, options)
    check_encoder(library, encoder, encoder_weights, allow_restricted_licence=allow_restricted_licence)
    deepest_px = _DEEPEST_PX.get(architecture, 1)
    classes = 1 if binary_head else num_classes
    plain = functools.partial(architecture_class, encoder, classes=classes, **options, **(encoder_options or {}))
    try:
        with torch.inference_mode(False), torch.enable_grad():
            make, network, windows = _made(plain, in_channels, deepest_px)
    except _FOREIGN_ERRORS as error:
        raise ModelError(
            f"{architecture} cannot be made with the encoder {encoder!r}: {str(error).rstrip('. ')}. Choose another "
            "encoder, such as 'resnet34', another architecture, or other options."
        ) from error
    if encoder_weights is not None:
        state = encoder_state(library, make, encoder, encoder_weights)
        load_encoder(network.get_submodule("encoder"), state, repr(encoder_weights))
    stride = _stride(network)
    return AnySize(
        network,
        in_channels,
        num_classes,
        stride=stride * windows,
        minimum_px=stride * deepest_px,
        binary_head=binary_head,
        encoder="encoder",
    )


def _made(make: Make, in_channels: int, deepest_px: int) -> tuple[Make, nn.Module, int]:
    """A network without weights that has computed a small image, what makes more like it, and its windows' side."""
    # Some encoders of timm insist on the size of their pretraining unless told, others on whole windows of attention.
    lenient = functools.partial(make, strict_img_size=False)
    refusals: list[Exception] = []
    ways: list[tuple[Make, int]] = [(make, 1), (lenient, 1), *((make, side) for side in _WINDOWS)]
    for way, windows in ways:
        try:
            network = way(in_channels=in_channels, encoder_weights=None)
            return way, _tried(network, in_channels, deepest_px, windows), windows
        except (AssertionError, RuntimeError, TypeError) as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _tried(network: nn.Module, in_channels: int, deepest_px: int, windows: int) -> nn.Module:
    network.to(torch.get_default_device())  # the library adapts the first layer on the CPU, wherever the rest is made
    side = _stride(network) * -(-deepest_px // windows) * windows
    # Twice as wide where windows matter: an encoder for images of one size alone is no encoder for any.
    drop_unused(network, torch.zeros(1, in_channels, side, side if windows == 1 else 2 * side))
    return network


def _stride(network: nn.Module) -> int:
    encoder: Any = network.get_submodule("encoder")
    return int(encoder.output_stride)


def drop_unused(network: nn.Module, images: Tensor) -> None:
    """Remove layers that the logits of ``images`` do not depend on, such as an encoder's below the depth in use."""
    training = network.training
    network.eval()(images.to(next(network.parameters()).device)).sum().backward()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            parameters = list(child.parameters())
            if parameters and all(p.grad is None for p in parameters):
                setattr(module, name, nn.Identity())
    network.zero_grad(set_to_none=True)
    network.train(training)


def _check_options(architecture: str, architecture_class: type, options: Mapping[str, Any]) -> None:
    own = set(inspect.signature(architecture_class).parameters) - set(_SET_HERE)
    known = [*own, *(set(inspect.signature(create_smp).parameters) - set(_ARGUMENTS))]
    for option in options:
        if option not in own:
            raise ModelError(f"Unknown option {option!r} of {architecture}. {nearest(option, known)}")
