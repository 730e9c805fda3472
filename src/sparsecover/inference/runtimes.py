"""What computes class probabilities of a batch of windows: torch, or ONNX Runtime where it is the faster one."""

import copy
import importlib.util
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from torch import Tensor, nn

from sparsecover.errors import ConfigError, ModelError
from sparsecover.inference.lanes import Lanes, lane_count

Runtime = Callable[[Tensor], Tensor]
"""Normalised windows [N, C, h, w] float32 to probabilities [N, K, h, w] float32, on the same device."""

_WORTH_TIMING_PX = 8_000_000  # smaller jobs are over in seconds
_WORTH_PROBING_S = 30.0  # shorter ones end before ONNX Runtime has made up for its start
_PASSES = 2


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: unknown, or not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"The device {name!r} cannot be used here ({reason}). Choose auto or cpu.") from error
    return device


class TorchRuntime:
    """A network in eval mode with its softmax: BatchNorm folded and fewer multiplications on a CPU, channels_last.

    Args:
        network: normalised [N, C, h, w] to logits [N, K, h, w]; it is copied, not changed.
        device: where to compute.
        compiled: compile the network on its first batch (half a minute, for long jobs).
    """

    def __init__(self, network: nn.Module, device: torch.device, compiled: bool = False) -> None:
        from sparsecover.models import prepare_for_cpu

        prepared = prepare_for_cpu(network) if device.type == "cpu" else copy.deepcopy(network).eval()
        prepared = prepared.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._forward: Callable[[Tensor], Tensor] = torch.compile(prepared) if compiled else prepared

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> Tensor:
        """Probabilities of a normalised batch."""
        logits = self._forward(batch.contiguous(memory_format=torch.channels_last))
        # Channel planes are what softmax and blending walk over quickly.
        return torch.softmax(logits.float().contiguous(), dim=1)


class OnnxRuntime:
    """The same network in ONNX Runtime on the CPU, for windows of one size.

    Args:
        network: normalised [N, C, h, w] to logits [N, K, h, w].
        bands: C.
        size_px: h and w.
        lanes: threads that will call it at once.

    Raises:
        MissingPartError: onnx or onnxruntime is not installed.
        ModelError: the network cannot be expressed in ONNX, or gives other results there.
    """

    def __init__(self, network: nn.Module, bands: int, size_px: int, lanes: int = 1) -> None:
        from sparsecover.inference.exporting import start_session, to_onnx

        # Each caller takes part in the work, beside the threads of a session, which all callers share.
        threads = max(1, torch.get_num_threads() - lanes + 1)
        self._session = start_session(to_onnx(network, bands, size_px), threads)
        self._check(network, torch.randn(1, bands, size_px, size_px, generator=torch.Generator().manual_seed(0)))

    @torch.no_grad()
    def _check(self, network: nn.Module, window: Tensor) -> None:
        """Refuse a graph that computes something else, as one does that was traced where the path depends on values."""
        from sparsecover.inference.exporting import check_difference

        difference = float((self(window) - torch.softmax(network(window).float(), dim=1)).abs().max())
        check_difference(difference, "Take --runtime torch.")

    def __call__(self, batch: Tensor) -> Tensor:
        """Probabilities of a normalised batch."""
        probabilities = self._session.run(None, {"input": np.ascontiguousarray(batch.numpy())})[0]
        return torch.from_numpy(probabilities)


def make_runtime(
    name: str, network: nn.Module, device: torch.device, bands: int, size_px: int, compiled: bool, lanes: int = 1
) -> Runtime:
    """The runtime ``torch`` or ``onnx`` for a network of so many bands, windows of so many pixels and so many lanes.

    Raises:
        ConfigError: ONNX Runtime asked for on another device than the CPU.
    """
    if name == "torch":
        return TorchRuntime(network, device, compiled)
    if device.type != "cpu":
        raise ConfigError(
            f"ONNX Runtime computes on the CPU here, not on {device}. Take --runtime torch or --device cpu."
        )
    return OnnxRuntime(network, bands, size_px, lanes)


def quicker_runtime(network: nn.Module, device: torch.device, bands: int, size_px: int, windows: int) -> str:
    """``torch`` or ``onnx``, whichever computes windows sooner here; ``torch`` where the job is short."""
    possible = device.type == "cpu" and all(importlib.util.find_spec(part) for part in ("onnx", "onnxruntime"))
    if not possible or windows * size_px**2 < _WORTH_TIMING_PX:
        return "torch"
    window = torch.zeros(1, bands, size_px, size_px)
    with closing(Lanes(lane_count(device, False, windows))) as lanes:
        with_torch = _seconds(TorchRuntime(network, device), window, lanes)
        if with_torch / lanes.count * windows < _WORTH_PROBING_S:
            return "torch"
        try:
            with_onnx = _seconds(OnnxRuntime(network, bands, size_px, lanes.count), window, lanes)
        except ModelError:
            return "torch"
    return "onnx" if with_onnx < with_torch else "torch"


def _seconds(runtime: Runtime, window: Tensor, lanes: Lanes) -> float:
    """The shortest of some passes of a window in each lane, after a first one, in which kernels are chosen."""
    best = float("inf")
    for attempt in range(_PASSES + 1):
        start = time.perf_counter()
        list(lanes.map(runtime, [window] * lanes.count))
        best = min(best, time.perf_counter() - start) if attempt else best
    return best
