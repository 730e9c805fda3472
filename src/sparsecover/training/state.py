"""Where a training stands: plain values that a file can hold."""

import math
import time
from dataclasses import dataclass, field

from sparsecover.training.history import History
from sparsecover.training.validation import Scores


@dataclass
class Progress:
    """Where a training stands; plain values only.

    Attributes:
        epoch: finished epochs.
        batch: batches of the current epoch that have been trained on.
        step: optimiser steps in all.
        total_steps: at which training ends.
        fitted: whether ``total_steps`` was fitted to the minutes given.
        windows: trained on in the current epoch.
        epoch_seconds: spent on the current epoch.
        seconds: spent in all.
        best_loss: of the validations so far.
        best_iou: of the validations so far.
        stale: validations since either became better.
        rows: the history.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    total_steps: int = 0
    fitted: bool = False
    windows: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_iou: float = -math.inf
    stale: int = 0
    rows: History = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Windows a second in the current epoch, validation included; 0 before anything was timed."""
        return self.windows / self.epoch_seconds if self.epoch_seconds else 0.0

    @property
    def done(self) -> bool:
        """Whether all steps are done and the last epoch is closed."""
        return self.step >= self.total_steps and not self.batch

    def judge(self, scores: Scores) -> list[str]:
        """Take in a validation; returns in what (``loss``, ``iou``) it was the best so far."""
        better: list[str] = []
        if scores.loss is None or scores.miou is None:
            return better
        if scores.loss < self.best_loss:
            self.best_loss = scores.loss
            better.append("loss")
        if scores.miou > self.best_iou:
            self.best_iou = scores.miou
            better.append("iou")
        self.stale = 0 if better else self.stale + 1
        return better

    def next_epoch(self) -> None:
        """Move on to the start of the next epoch."""
        self.epoch, self.batch, self.windows, self.epoch_seconds = self.epoch + 1, 0, 0, 0.0


class Clock:
    """Adds the time between ticks to a progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last = progress, time.perf_counter()

    def tick(self) -> None:
        """Add the time since the last tick."""
        now = time.perf_counter()
        self._progress.seconds += now - self._last
        self._progress.epoch_seconds += now - self._last
        self._last = now
