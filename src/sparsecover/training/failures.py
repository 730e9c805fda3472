"""Failures that explain themselves: what happened, where, and what to change."""

import contextlib
from collections.abc import Iterator, Sequence

import torch

from sparsecover.errors import TrainingError


class Diverged(TrainingError):
    """The loss or its gradient is not finite; ``windows`` are the names of the windows of the step."""

    def __init__(self, loss: float, step: int, epoch: int, learning_rate: float, windows: Sequence[str]) -> None:
        listed = "; ".join(windows[:3]) + (f"; and {len(windows) - 3} more" if len(windows) > 3 else "")
        super().__init__(
            f"The loss became {loss:g} or its gradient infinite at step {step} (epoch {epoch}, learning rate "
            f"{learning_rate:.3g}){f'. Windows: {listed}' if windows else ''}. Lower optim.lr, set train.precision to "
            "fp32, or check these windows for extreme values."
        )
        self.windows = tuple(windows)

    def report(self) -> str:
        """The message and all windows of the step, one a line."""
        return "\n".join([str(self), "", *self.windows, ""])


@contextlib.contextmanager
def explained(shape: Sequence[int]) -> Iterator[None]:
    """Say what to change where torch lacks memory, or an operation in the same order each time.

    Args:
        shape: [N, C, h, w] of the batches in work; empty where not known.

    Raises:
        TrainingError: in place of torch's own error.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_memory_error(error):
            raise TrainingError(_out_of_memory(error, shape)) from error
        if "deterministic" in str(error):
            raise TrainingError(
                f"Without --deterministic this would work: {str(error).splitlines()[0]} Leave it out (results then "
                "differ in the last digits from run to run), or take another network or loss."
            ) from error
        raise


def is_memory_error(error: Exception) -> bool:
    """Whether memory was asked for in vain; on a CPU torch says so only in words."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "allocate memory" in text or "storage size calculation overflowed" in text


def _out_of_memory(error: Exception, shape: Sequence[int]) -> str:
    what = "{0} windows of {2} x {3} px with {1} bands".format(*shape) if shape else "windows"
    asked = (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
    return (
        f"Memory is short for batches of {what}: {asked}. Lower train.batch_size (train.accumulate keeps the step the "
        "same), patches.size_px, or the network's base_channels."
    )
