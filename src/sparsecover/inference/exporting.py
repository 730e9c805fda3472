"""A network as ONNX: for QGIS' Deepness as it is, and for our own ONNX Runtime."""

import importlib
import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparsecover.atomic import replacing
from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.errors import MissingPartError, ModelError, OutputError
from sparsecover.grid import Window
from sparsecover.inference.onnx_graph import split_concatenations
from sparsecover.inference.reading import read_mirrored
from sparsecover.models.forest import RandomForest
from sparsecover.normalize import Normalizer
from sparsecover.raster import Scene

_OPSET = 17
_TOLERANCE = 1e-4  # of a probability
_OVERLAP_PERCENT = 25
_CHECKED_WINDOWS = 4
_DEEPNESS_DIVISOR = 255.0  # it divides every pixel by this before it standardises

Batch = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ExportReport:
    """What was written and how well it agrees.

    Attributes:
        path: the file.
        largest_difference: of a probability between ONNX Runtime and torch, over all checked windows.
        windows: how many were checked.
    """

    path: Path
    largest_difference: float
    windows: int


class _Probabilities(nn.Module):
    """The graph: the normaliser's limits, the network, softmax. Scaling is the caller's, as Deepness wants it."""

    def __init__(self, network: nn.Module, clip: float | None) -> None:
        super().__init__()
        self.network, self.clip = network, clip
        self.shape: tuple[int, ...] = ()  # of the last output

    def forward(self, batch: Tensor) -> Tensor:
        clipped = batch if self.clip is None else batch.clamp(-self.clip, self.clip)
        logits: Tensor = self.network(clipped)
        # Softmax in its parts: that of ONNX Runtime turns channels into the last axis and back, at five times the cost.
        shares = torch.exp(logits - logits.amax(dim=1, keepdim=True))
        self.shape = tuple(int(length) for length in shares.shape)
        return shares / shares.sum(dim=1, keepdim=True)


def export(
    checkpoint: Checkpoint | Path | str,
    out: Path | str,
    *,
    tile_px: int | None = None,
    scene: Scene | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a checkpoint as ONNX that QGIS' Deepness runs as it is, checked against torch.

    Input ``[batch, C, S, S]`` scaled as Deepness does ((pixel / 255 - mean) / std), output ``[batch, K, S, S]``
    probabilities; the batch is dynamic, S is fixed.

    Args:
        checkpoint: the network, or the path of one.
        out: target, FILE.onnx.
        tile_px: side S of the windows; default: the training's.
        scene: windows of it are checked too, beside random ones.
        overwrite: replace an existing file.

    Raises:
        OutputError: the file exists, or cannot be written.
        MissingPartError: onnx or onnxruntime is not installed.
        ModelError: the network cannot be expressed in ONNX, or the results differ from torch's.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already; give another name or ask for it to be overwritten (--overwrite).")
    if not out.parent.is_dir():
        raise OutputError(f"The folder {out.parent} for {out.name} does not exist. Create it first.")
    checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    size = tile_px or checkpoint.patch_size_px
    graph = to_onnx(checkpoint.model(), len(checkpoint.bands), size, checkpoint.normalizer.clip)
    graph = _with_metadata(graph, deepness_metadata(checkpoint, size))
    batches = [_random_batch(len(checkpoint.bands), size), *_scene_batches(scene, checkpoint.normalizer, size)]
    difference = _largest_difference(checkpoint, graph, batches)
    check_difference(difference, "Nothing was written.")
    with replacing(out) as temporary:
        temporary.write_bytes(graph)
    return ExportReport(out, difference, sum(len(batch) for batch in batches))


def to_onnx(network: nn.Module, bands: int, size_px: int, clip: float | None = None) -> bytes:
    """The network with softmax as an ONNX graph: normalised [N, C, S, S] to probabilities [N, K, S, S].

    Raises:
        MissingPartError: onnx is not installed.
        ModelError: the network cannot be expressed in ONNX.
    """
    onnx = _import("onnx")
    if isinstance(network, RandomForest):  # how far a pixel walks down a tree is not in a traced graph
        raise ModelError(
            "A random forest cannot be written as ONNX. Map with it by `sparsecover predict --runtime torch`, or "
            "train a network to export: `sparsecover map --model unet`."
        )
    # torch's own errors of the exporter are RuntimeErrors
    failures = (RuntimeError, TypeError, ValueError, onnx.checker.ValidationError)
    try:
        model = _traced(_Probabilities(network, clip).eval(), torch.zeros(1, bands, size_px, size_px))
        split_concatenations(model)
        onnx.checker.check_model(model)
    except failures as error:
        raise ModelError(f"This network cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    serialised: bytes = model.SerializeToString()
    return serialised


def check_difference(difference: float, advice: str) -> None:
    """Refuse a graph whose probabilities lie further than 1e-4 from torch's, or are no numbers.

    Raises:
        ModelError: they do; ``advice`` ends the message.
    """
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"ONNX Runtime and torch differ by {difference:.2g} in a probability; at most {_TOLERANCE:g} is accepted. "
            f"{advice}"
        )


def _traced(network: _Probabilities, example: Tensor) -> Any:
    """A network as ``onnx.ModelProto``, for batches of any number of windows like the example."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        # Tracing warns of shapes that become constants, which is what a fixed tile size means. The exporter by
        # tracing needs no further package, unlike its successor.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), file, dynamo=False, opset_version=_OPSET, input_names=["input"],
            output_names=["output"], dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip
        model = _import("onnx").load(file)
    # Padding and cropping hide the output's size from the exporter; readers such as Deepness need it.
    for dimension, value in zip(model.graph.output[0].type.tensor_type.shape.dim[1:], network.shape[1:], strict=True):
        dimension.dim_value = value
    return model


def deepness_metadata(checkpoint: Checkpoint, size_px: int) -> dict[str, Any]:
    """The plugin's keys with plain values."""
    normalizer = checkpoint.normalizer
    metadata: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(i): name for i, name in enumerate(checkpoint.scheme.names)},
        "tile_size": size_px,
        "tiles_size": size_px,
        "tiles_overlap": _OVERLAP_PERCENT,
        "standardization_mean": [offset / _DEEPNESS_DIVISOR for offset in normalizer.offset],
        "standardization_std": [scale / _DEEPNESS_DIVISOR for scale in normalizer.scale],
        "seg_thresh": 0,
        "seg_small_segment": 0,
    }
    if checkpoint.resolution_m is not None:
        metadata["resolution"] = checkpoint.resolution_m * 100  # cm per pixel
    return metadata


def start_session(graph: bytes, threads: int) -> Any:
    """An ONNX Runtime session on the CPU.

    Raises:
        MissingPartError: onnxruntime is not installed.
    """
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPartError(
            f"{name} is not installed, and ONNX needs it. Install it with: pip install 'sparsecover[onnx]'"
        ) from error


def _with_metadata(graph: bytes, metadata: Mapping[str, Any]) -> bytes:
    onnx = _import("onnx")
    model = onnx.load_from_string(graph)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    serialised: bytes = model.SerializeToString()
    return serialised


def _random_batch(bands: int, size: int) -> Batch:
    """Two windows: the batch must be dynamic. Their values reach beyond the limits, and one is half nodata."""
    batch = np.random.default_rng(0).normal(0, 2, (2, bands, size, size)).astype(np.float32)
    batch[1, :, :, : size // 2] = 0
    return batch


def _scene_batches(scene: Scene | None, normalizer: Normalizer, size: int) -> Iterable[Batch]:
    """Windows along the scene's diagonal, each normalised, as batches of one."""
    if scene is None:
        return
    for i in range(_CHECKED_WINDOWS):
        row, col = (max(0, side - size) * i // (_CHECKED_WINDOWS - 1) for side in (scene.grid.height, scene.grid.width))
        yield normalizer(*read_mirrored(scene, Window(row, col, size, size)))[None]


def _largest_difference(checkpoint: Checkpoint, graph: bytes, batches: Iterable[Batch]) -> float:
    session = start_session(graph, torch.get_num_threads())
    network = _Probabilities(checkpoint.model(), checkpoint.normalizer.clip).eval()
    largest = 0.0
    for batch in batches:
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch)).numpy()
        given = session.run(None, {"input": batch})[0]
        largest = max(largest, float(np.abs(given - expected).max()))
    return largest
