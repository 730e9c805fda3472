"""Pretrained encoders: where their weights come from, and how three bands become N."""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sparsecover.errors import ModelError

log = logging.getLogger(__name__)

State = Mapping[str, Tensor]


def is_file_name(weights: str) -> bool:
    """True where ``encoder_weights`` means a local file, not the name of weights to download."""
    return Path(weights).suffix in (".safetensors", ".pth", ".pt", ".bin") or "/" in weights


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read tensors from a ``.safetensors`` file or a torch file; neither can run code.

    The file may be a whole network's, such as a checkpoint: its encoder's tensors get the encoder's names.

    Raises:
        ModelError: no such file, or not a file of weights.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"The encoder weights {path} do not exist. Give an existing file, a name, or null for none.")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # both readers raise many kinds for a broken file
        raise ModelError(f"{path} is not a file of weights: {error}") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"{path} is not a file of weights: expected tensors by name.")
    return {re.sub(r"^(network\.)?(encoder|backbone)\.", "", str(name)): tensor for name, tensor in loaded.items()}


def download(fetch: Callable[[], State], name: str, encoder: str, address: str) -> State:
    """Call ``fetch``; where the network is not there, say where the file is and how to use it.

    Raises:
        ModelError: the download failed.
    """
    try:
        return fetch()
    except Exception as error:  # hub clients raise their own kinds, which change from release to release
        raise ModelError(
            f"The weights {name!r} of the encoder {encoder!r} could not be downloaded: {error} "
            f"({type(error).__name__}). Without a connection, fetch {address} elsewhere and give its path as "
            "encoder_weights, or encoder_weights=null to start without."
        ) from error


def load_encoder_file(encoder: nn.Module, path: str) -> None:
    """Load a local file into an encoder that has no weights to download, in place.

    Raises:
        ModelError: not a file of weights of this very encoder.
    """
    if not is_file_name(path):
        raise ModelError(
            f"There are no weights {path!r} for this encoder. Give a local file, such as a checkpoint with the same "
            "encoder, or choose a network with pretrained encoders, such as smp-unet."
        )
    load_encoder(encoder, read_weights(path), repr(path))


def load_encoder(encoder: nn.Module, state: State, source: str) -> None:
    """Load weights made for three bands into an encoder of any number of bands, in place.

    Tensors that the encoder does not have, such as a classifier's, are left out.

    Args:
        encoder: the module to fill.
        state: tensors by the encoder's own names.
        source: what the messages call the weights.

    Raises:
        ModelError: tensors are missing or of another shape.
    """
    own = encoder.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise ModelError(
            f"The weights {source} do not fit the encoder: {len(missing)} of {len(own)} tensors are missing, such as "
            f"{missing[0]!r}. Give weights of this very encoder."
        )
    fitted = {name: _fitted(name, state[name], tensor, source) for name, tensor in own.items() if name in state}
    encoder.load_state_dict(fitted, strict=False)
    log.info("The encoder starts from the weights %s: %d tensors.", source, len(fitted))


def _fitted(name: str, given: Tensor, own: Tensor, source: str) -> Tensor:
    if given.shape == own.shape:
        return given
    if given.ndim == 4 and given.shape[1] == 3 and given.shape[2:] == own.shape[2:] and len(given) == len(own):
        return adapt_first_layer(given, own.shape[1], name)
    raise ModelError(
        f"The tensor {name!r} of the weights {source} is {list(given.shape)}, but the encoder's is {list(own.shape)}. "
        "Give weights of this very encoder."
    )


def adapt_first_layer(filters: Tensor, in_channels: int, name: str = "first layer") -> Tensor:
    """Turn filters for red, green and blue [F, 3, h, w] into filters for N bands [F, N, h, w].

    From three bands on, the first three keep the filters, and the others start at 0: on the first three bands, the
    encoder computes what it has learned, until training makes use of the others. Below, each band gets the sum of the
    filters divided by N: a grey image gives what it gave.
    """
    if in_channels < 3:
        log.info("Encoder's %s: each of the %d bands gets the sum of the RGB filters / %d.", name, *2 * [in_channels])
        return (filters.sum(dim=1, keepdim=True) / in_channels).repeat(1, in_channels, 1, 1)
    new = in_channels - 3
    log.info("Encoder's %s: bands 1 to 3 keep the RGB filters, the other %d of %d start at 0.", name, new, in_channels)
    others = filters.new_zeros(len(filters), new, *filters.shape[2:])
    return torch.cat([filters, others], dim=1)
