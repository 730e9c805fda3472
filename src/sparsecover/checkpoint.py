"""One portable file: weights and everything that prediction needs, in safetensors with a JSON header.

Opening one never runs code from it: tensors are raw bytes, the header is JSON of bounded size, and the network is
built by name from our own table. The file is a plain safetensors file that other tools can open as well.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sparsecover.atomic import replacing
from sparsecover.classes import ClassScheme
from sparsecover.errors import CheckpointError, ModelError, SparseCoverError
from sparsecover.models import create_model, without_weights
from sparsecover.normalize import Normalizer

VERSION = 1
"""Raised when a file written now cannot be read by the previous release."""

Header = dict[str, Any]

UPGRADES: dict[int, Callable[[Header], Header]] = {}
"""By format: what makes of a header of that format one of the next. A format without an entry is refused."""

_KEY = "sparsecover"  # our entry in the safetensors metadata
_HEADER_LIMIT = 32 * 1024**2  # bytes; a random forest or a large network needs some 100 kB
_LARGEST_PATCH_PX = 2**16
_FIELDS = ("format", "config", "classes", "bands", "normalizer", "model", "patch_size_px", "versions")


@dataclass(frozen=True)
class ModelSpec:
    """What ``create_model`` needs to build the network again."""

    name: str
    in_channels: int
    num_classes: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The network with fresh weights."""
        return create_model(self.name, self.in_channels, self.num_classes, **self.options)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with its classes, bands, normaliser and record.

    Attributes:
        config: the resolved configuration as plain values.
        scheme: classes by index; logit k is ``scheme.classes[k]``.
        bands: names of the input bands in their order.
        normalizer: fitted on the training scenes; prediction uses these statistics and no others.
        model_spec: how to build the network.
        patch_size_px: side of the training windows, the natural size of prediction windows.
        state: the network's tensors by name.
        resolution_m: pixel size of the training scenes in metres; None without georeferencing.
        metrics: what was measured on validation labels, as plain values.
        versions: of sparsecover and the libraries it was trained with.
        digests: SHA-256 of what it was trained on (labels, windows, configuration).
    """

    config: Mapping[str, Any]
    scheme: ClassScheme
    bands: tuple[str, ...]
    normalizer: Normalizer
    model_spec: ModelSpec
    patch_size_px: int
    state: Mapping[str, Tensor]
    resolution_m: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> ClassScheme:
        """The classes by index, the same as ``scheme``."""
        return self.scheme

    @property
    def resize(self) -> float | tuple[int, int] | None:
        """What the training's files were resized to: a share of their sides or [height, width]; None: as they are."""
        data = self.config.get("data")
        resize = data.get("resize") if isinstance(data, Mapping) else None
        if isinstance(resize, list | tuple):
            height, width = resize
            return int(height), int(width)
        return None if resize is None else float(resize)

    def model(self) -> nn.Module:
        """The network in eval mode: normalised [N, C, H, W] float32 to logits [N, K, H, W].

        Raises:
            CheckpointError: the tensors are not those of the named architecture.
        """
        try:
            with torch.random.fork_rng(devices=[]):  # fresh weights are drawn and thrown away
                # Built without memory first: the header must not make us allocate more than the file holds.
                with without_weights():
                    expected = _shapes(self.model_spec.build().state_dict())
                _compare(expected, _shapes(self.state))
                network = self.model_spec.build()
            network.load_state_dict(dict(self.state), strict=True)
        except (ModelError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"The checkpoint's network {self.model_spec.name!r} cannot be built: {error}"
            ) from error
        return network.eval()

    def _header(self) -> Header:
        spec = self.model_spec
        return {
            "format": VERSION,
            "config": self.config,
            "classes": self.scheme.as_dicts(),
            "bands": list(self.bands),
            "normalizer": self.normalizer.as_dict(),
            "model": {
                "name": spec.name,
                "in_channels": spec.in_channels,
                "num_classes": spec.num_classes,
                "options": dict(spec.options),
            },
            "patch_size_px": self.patch_size_px,
            "resolution_m": self.resolution_m,
            "metrics": self.metrics,
            "versions": dict(self.versions),
            "digests": dict(self.digests),
        }

    @classmethod
    def _from_header(cls, header: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        model = header["model"]
        spec = ModelSpec(
            str(model["name"]), int(model["in_channels"]), int(model["num_classes"]), dict(model["options"])
        )
        if spec.options.get("encoder_weights") is not None:  # a file or an address, of the sender's choice
            raise ValueError("encoder weights are named, though the tensors hold them")
        scheme = ClassScheme.from_dicts(header["classes"])
        bands = tuple(map(str, header["bands"]))
        normalizer = Normalizer.from_dict(header["normalizer"])
        patch_size_px = int(header["patch_size_px"])
        if not (len(scheme) == spec.num_classes and len(bands) == spec.in_channels == len(normalizer.offset)):
            raise ValueError("classes, bands, normaliser and network do not fit together")
        if not 1 <= patch_size_px <= _LARGEST_PATCH_PX:
            raise ValueError(f"patch_size_px is {patch_size_px}")
        resolution = header.get("resolution_m")
        if not isinstance(header["config"], Mapping):
            raise ValueError("config is no mapping")
        made = cls(
            config=header["config"],
            scheme=scheme,
            bands=bands,
            normalizer=normalizer,
            model_spec=spec,
            patch_size_px=patch_size_px,
            state=state,
            resolution_m=None if resolution is None else float(resolution),
            metrics=header.get("metrics", {}),
            versions=header["versions"],
            digests=header.get("digests", {}),
        )
        sides = np.atleast_1d(1.0 if made.resize is None else made.resize)
        if not ((sides > 0) & (sides < _LARGEST_PATCH_PX)).all():
            raise ValueError(f"data.resize is {made.resize}")
        return made


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file appears under its name only when it is whole and on the disk.

    Raises:
        OutputError: it could not be written (a full disk, a missing folder); a previous file is left as it was.
        CheckpointError: something in the header is not plain JSON.
    """
    # safetensors takes contiguous tensors only, and channels_last weights are not.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.state.items()}
    header = checkpoint._header()
    try:
        header["digest"] = _digest(header, tensors)
        text = _canonical(header)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint's header must hold plain JSON values without NaN: {error}.") from error
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, {_KEY: text}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, checking that it is ours, whole and unchanged.

    Raises:
        CheckpointError: missing, truncated, changed after writing, of another program, or of a release whose format
            this one does not read.
    """
    path = Path(path)
    header = _read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Copy it again, or train again.") from error
    claimed = header.pop("digest", None)
    try:
        unchanged = claimed == _digest(header, tensors)
        checkpoint = Checkpoint._from_header(_upgraded(header), tensors) if unchanged else None
    except (KeyError, TypeError, ValueError, OverflowError, SparseCoverError) as error:
        raise CheckpointError(f"{path} has a header that makes no sense: {error!r}.") from error
    if checkpoint is None:
        raise CheckpointError(f"{path} was changed after it was written (its digest differs). Copy it again.")
    return checkpoint


def load_model(path: str | Path) -> nn.Module:
    """The network of a checkpoint in eval mode: normalised [N, C, H, W] float32 to logits [N, K, H, W]."""
    return load_checkpoint(path).model()


def _read_header(path: Path) -> Header:
    """Our JSON header, with its size and version checked before anything else is believed."""
    if not path.is_file():
        there = sorted(other.name for other in path.parent.glob("*.safetensors"))
        beside = f"; in {path.parent} there is {', '.join(there[:5])}" if there else ""
        raise CheckpointError(
            f"The checkpoint {path} does not exist{beside}. Expected a .safetensors file written by a training."
        )
    foreign = f"{path} is not a checkpoint of sparsecover. Expected a .safetensors file written by a training."
    with path.open("rb") as file:
        size = path.stat().st_size
        length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else 0
        if not 2 <= length <= _HEADER_LIMIT:
            raise CheckpointError(foreign)
        if length > size - 8:
            raise CheckpointError(f"{path} is cut off: {size} bytes are fewer than its header. Copy it again.")
        text = file.read(length)
    try:
        header = json.loads(json.loads(text)["__metadata__"][_KEY])
        version = int(header["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise CheckpointError(foreign) from None
    oldest = min((VERSION, *UPGRADES))
    if not oldest <= version <= VERSION:
        versions = header.get("versions")
        release = str(versions.get("sparsecover", "") if isinstance(versions, dict) else "")[:40] or "another release"
        raise CheckpointError(
            f"{path} has the format {version}; this release reads {oldest} to {VERSION}. It was written by sparsecover "
            f"{release}: predict with that one, or train again with this."
        )
    missing = [name for name in _FIELDS if name not in header] if version == VERSION else []
    if missing:
        raise CheckpointError(f"{path} has an incomplete header, without {', '.join(missing)}.")
    return dict(header)


def _upgraded(header: Header) -> Header:
    """The header in the present format."""
    for version in range(int(header["format"]), VERSION):
        header = UPGRADES[version](header)
    return header


def _canonical(header: Mapping[str, Any]) -> str:
    return json.dumps(header, separators=(",", ":"), allow_nan=False)


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header (without its digest) and all tensors by name."""
    digest = hashlib.sha256(_canonical(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # Through bytes: NumPy has no bfloat16. A 0-dimensional tensor has no last axis to view, hence reshape.
        digest.update(np.ascontiguousarray(tensor.reshape(-1).view(torch.uint8).numpy()).data)
    return digest.hexdigest()


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _compare(expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tensors whose names or shapes are not the architecture's."""
    wrong = [n for n in sorted({*expected, *given}) if expected.get(n) != given.get(n)]
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{len(wrong)} tensors do not fit, first {name!r}: the architecture has {expected.get(name, 'none')}, the "
            f"file {given.get(name, 'none')}. Was a model registered under the same name with another shape?"
        )
