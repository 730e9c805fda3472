"""Where and in which precision to compute: asked of the device by trying, not assumed from its name."""

import copy
import math
import time
from typing import Literal

import torch
from torch import Tensor, nn

from sparsecover.errors import ConfigError, nearest

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Our names, and lightning-fabric's."""

Precision = Literal["fp32", "bf16", "fp16"]

_GAIN = 1.3  # bf16 must be this much faster to be worth its rounding
_SMALL_S = 0.02  # steps below this are over soon in any precision, and too short to time
_PROBED = 4  # windows
_PASSES = 4
_DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(device: str = "auto") -> str:
    """``cuda``, ``mps`` or ``cpu``: what was asked for, or the fastest there is.

    Raises:
        ConfigError: unknown, or not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device not in _DEVICES:
        raise ConfigError(f"Unknown device {device!r}. {nearest(device, _DEVICES)}")
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        raise ConfigError(
            f"There is no {device} device that this torch ({torch.__version__}) can use; take auto or cpu."
        )
    return device


def resolve_precision(
    wanted: str, device: str, model: nn.Module, images: Tensor, *, timed: bool = True
) -> tuple[Precision, str]:
    """The precision to train in, and why.

    Args:
        wanted: ``fp32``, ``bf16``, ``fp16``, or ``auto``, which times the network itself in bf16 and in fp32.
        device: as from ``resolve_device``.
        model: the network, on the device; it is left as it was.
        images: [N, C, h, w] as it will be trained on, on the device.
        timed: False where several processes must agree: ``auto`` is then bf16 on GPUs that have it, else fp32.

    Raises:
        ConfigError: unknown, or fp16 on a CPU.
    """
    if wanted == "auto":
        return _probe(device, model, images[:_PROBED]) if timed else _by_name(device)
    if wanted not in PRECISIONS:
        raise ConfigError(f"Unknown precision {wanted!r}. {nearest(wanted, ('auto', *PRECISIONS))}")
    if wanted == "fp16" and device == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on a CPU take fp32 or auto.")
    return wanted, "as configured"  # type: ignore[return-value]


def _by_name(device: str) -> tuple[Precision, str]:
    half = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if half else "fp32", "several processes must agree, so nothing was timed"


def _probe(device: str, model: nn.Module, images: Tensor) -> tuple[Precision, str]:
    if device == "mps":
        return "fp32", "bf16 on mps is not probed"
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp32", "this GPU has no bf16; fp16 can be asked for"
    model = copy.deepcopy(model).train()
    with torch.random.fork_rng(devices=[images.device] if device == "cuda" else []):
        full = _step_seconds(device, model, images, half=False)
        if full < _SMALL_S:
            return "fp32", f"a step of {full * 1000:.1f} ms on {len(images)} windows has nothing to gain"
        half = _step_seconds(device, model, images, half=True, limit=3 * full)
    text = f"a bf16 step takes {half / full:.2g} times as long as one in fp32 on this {device}"
    return ("bf16", text) if full / half >= _GAIN else ("fp32", text)


def _step_seconds(device: str, model: nn.Module, images: Tensor, *, half: bool, limit: float = math.inf) -> float:
    """The shortest of some passes forward and backward; one pass over the limit is enough."""
    best = math.inf
    for attempt in range(_PASSES):
        _wait(device)
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            output = model(images)
        total = sum(part.float().sum() for part in (output if isinstance(output, (list, tuple)) else [output]))
        torch.autograd.backward(total)
        _wait(device)
        seconds = time.perf_counter() - start
        if attempt:  # the first pass also chooses kernels and takes memory
            best = min(best, seconds)
        if seconds > limit:
            return min(best, seconds)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
