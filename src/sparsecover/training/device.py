"""Where and in which precision to compute: asked of the device by trying, not assumed from its name."""

import copy
import statistics
import time
from collections.abc import Callable
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
_ROUNDS = 3
_HOPELESS = 5.0  # times as long as in fp32
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
        full, ratio = _compare(lambda half: _step_seconds(device, model, images, half=half), patient=device == "cuda")
    if ratio is None:
        return "fp32", f"a step of {full * 1000:.1f} ms on {len(images)} windows has nothing to gain"
    text = f"a bf16 step takes {ratio:.2g} times as long as one in fp32 on this {device}"
    return ("bf16", text) if ratio <= 1 / _GAIN else ("fp32", text)


def _compare(seconds: Callable[[bool], float], *, patient: bool) -> tuple[float, float | None]:
    """Seconds of a step in fp32, and those in bf16 relative to it; None where a step is too short to tell.

    Both are timed in turns, and the median of the ratios counts: what else runs on the machine must not decide how a
    network is trained. The first pass of each also chooses kernels and takes memory; it tells something only of
    processors that do bf16 in software, where ``patient`` is False and a long one ends the comparison.
    """
    seconds(False)
    full = min(seconds(False), seconds(False))
    if full < _SMALL_S:
        return full, None
    first = seconds(True)
    if first > _HOPELESS * full and not patient:
        return full, first / full
    return full, statistics.median(seconds(True) / seconds(False) for _ in range(_ROUNDS))


def _step_seconds(device: str, model: nn.Module, images: Tensor, *, half: bool) -> float:
    """Of one pass forward and backward."""
    _wait(device)
    start = time.perf_counter()
    with torch.autocast(device, torch.bfloat16, enabled=half):
        output = model(images)
    total = sum(part.float().sum() for part in (output if isinstance(output, (list, tuple)) else [output]))
    torch.autograd.backward(total)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
