"""The encoders of segmentation-models-pytorch and timm: their names, licences and pretrained weights."""

import difflib
from collections.abc import Callable, Sequence
from types import ModuleType

from torch import nn

from sparsecover.errors import ModelError, nearest
from sparsecover.models.licences import check_licence
from sparsecover.models.pretrained import State, download, is_file_name, read_weights
from sparsecover.models.torchvision_pairing import import_beside_torchvision

Make = Callable[..., nn.Module]


def check_encoder(library: ModuleType, encoder: str, weights: str | None, *, allow_restricted_licence: bool) -> None:
    """Raise ModelError for an encoder that is unknown or whose licence is restrictive."""
    stated = None
    if encoder.startswith("tu-"):
        timm = import_beside_torchvision("timm", extra="smp")
        if not timm.is_model(encoder[3:].split(".")[0]):
            raise ModelError(f"Unknown encoder {encoder!r}. {_near(encoder[3:], timm.list_models(), 'tu-')}")
        stated = getattr(timm.get_pretrained_cfg(encoder[3:], allow_unregistered=True), "license", None)
    elif encoder not in library.encoders.encoders:
        raise ModelError(f"Unknown encoder {encoder!r}. {nearest(encoder, [*library.encoders.encoders, 'tu-*'])}")
    check_licence(encoder, weights, stated, allowed=allow_restricted_licence)


def _near(name: str, choices: Sequence[str], prefix: str) -> str:
    close = [prefix + c for c in difflib.get_close_matches(name, choices, n=5)]
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else "timm.list_models() lists them."


def encoder_state(library: ModuleType, make: Make, encoder: str, weights: str) -> State:
    """Pretrained tensors of an encoder for three bands, by its own names.

    Args:
        library: segmentation-models-pytorch.
        make: makes the network around the encoder, given ``in_channels`` and ``encoder_weights``.
        encoder: its name.
        weights: name of weights to download, or a local file.

    Raises:
        ModelError: unknown weights, a file that is none, a failed download.
    """
    if encoder.startswith("tu-"):
        return _timm_weights(make, encoder, weights)
    if is_file_name(weights):
        return read_weights(weights)
    settings = library.encoders.encoders[encoder]["pretrained_settings"]
    if weights not in settings:
        raise ModelError(f"Unknown weights {weights!r} of the encoder {encoder!r}. {nearest(weights, settings)}")
    hub = settings[weights]
    address = f"https://huggingface.co/{hub['repo_id']}/resolve/{hub.get('revision', 'main')}/model.safetensors"
    return download(lambda: _state(make(in_channels=3, encoder_weights=weights)), weights, encoder, address)


def _timm_weights(make: Make, encoder: str, weights: str) -> State:
    timm = import_beside_torchvision("timm", extra="smp")
    if is_file_name(weights):
        state = read_weights(weights)
        if any(name.startswith("model.") for name in state):  # as the encoder names them; timm's own files need timm
            return state
        overlay = {"file": weights}
        return _state(make(in_channels=3, encoder_weights=True, pretrained_cfg_overlay=overlay))
    if weights != "imagenet" or not timm.models.is_model_pretrained(encoder[3:]):
        raise ModelError(
            f"There are no weights {weights!r} of the encoder {encoder!r}. Give encoder_weights='imagenet', with the "
            "tag of the weights in the encoder's name where you need others ('tu-resnet18.a1_in1k'), or a local file."
        )
    settings = timm.get_pretrained_cfg(encoder[3:])
    address = f"https://huggingface.co/{settings.hf_hub_id}/resolve/main/model.safetensors"
    return download(lambda: _state(make(in_channels=3, encoder_weights=True)), weights, encoder, address)


def _state(network: nn.Module) -> State:
    return network.get_submodule("encoder").state_dict()
