"""The learning rate over the steps of a training: pure functions of the step, but for reduce_plateau."""

import math
from dataclasses import dataclass

from sparsecover.errors import ConfigError, nearest

SCHEDULES = ("constant", "cosine", "one_cycle", "reduce_plateau")

_RISE = 0.3  # one_cycle: share of the steps until the peak
_START, _END = 1 / 25, 1e-4  # one_cycle: first and last rate relative to the peak
_FLOOR = 0.01  # cosine: last rate relative to the first


@dataclass
class Schedule:
    """Factors on the learning rate.

    Attributes:
        name: one of SCHEDULES.
        total_steps: of the whole training.
        warmup_steps: of linear rise from ``warmup_start`` to 1; one_cycle has its own.
        warmup_start: first factor of the warm-up.
        patience: reduce_plateau: validations without a lower loss before the rate is cut.
        factor: reduce_plateau: by which it is cut.
        cut: reduce_plateau: the product of the cuts so far.
        best: reduce_plateau: lowest validation loss so far.
        stale: reduce_plateau: validations since.
    """

    name: str = "constant"
    total_steps: int = 1
    warmup_steps: int = 0
    warmup_start: float = 0.1
    patience: int = 5
    factor: float = 0.5
    cut: float = 1.0
    best: float = math.inf
    stale: int = 0

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ConfigError(f"Unknown schedule {self.name!r}. {nearest(self.name, SCHEDULES)}")
        if self.name == "one_cycle" and self.warmup_steps:
            raise ConfigError("schedule one_cycle warms up by itself: leave out schedule.warmup_*, or take cosine.")

    def __call__(self, step: int) -> float:
        """The factor at a step, from 0; 1 is the full learning rate."""
        if step < self.warmup_steps:
            return self.warmup_start + (1 - self.warmup_start) * step / self.warmup_steps
        if self.name == "one_cycle":
            return self._one_cycle(step)
        if self.name == "cosine":
            span = max(1, self.total_steps - self.warmup_steps)
            return _fall(1.0, _FLOOR, (step - self.warmup_steps) / span)
        return self.cut

    def validated(self, loss: float, step: int) -> None:
        """Take in a validation loss after ``step`` steps; only reduce_plateau minds, and only after the warm-up."""
        if self.name != "reduce_plateau" or step <= self.warmup_steps:
            return
        self.stale = 0 if loss < self.best else self.stale + 1
        self.best = min(self.best, loss)
        if self.stale >= self.patience:
            self.cut, self.stale = self.cut * self.factor, 0

    def shorten(self, total_steps: int) -> None:
        """End after fewer steps; the warm-up takes at most a tenth of them."""
        self.total_steps = total_steps
        self.warmup_steps = min(self.warmup_steps, total_steps // 10)

    def _one_cycle(self, step: int) -> float:
        """Smith and Topin 2018, with cosine flanks."""
        peak = max(1.0, _RISE * self.total_steps)
        if step < peak:
            return _fall(_START, 1.0, step / peak)
        return _fall(1.0, _END, (step - peak) / max(1.0, self.total_steps - peak))


def _fall(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
