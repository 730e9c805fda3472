"""How far a prediction is: what a progress display needs, without a display."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """State of one scene's prediction.

    Attributes:
        scene: its name.
        done_px: pixels finished, those of an earlier run included.
        total_px: pixels of the scene.
        mpix_per_s: million pixels per second in this run.
        seconds_left: at this rate; infinite as long as there is none.
        notes: what the user should know of the scene before its map is done.
    """

    scene: str
    done_px: int
    total_px: int
    mpix_per_s: float
    seconds_left: float
    notes: tuple[str, ...] = ()


Reporter = Callable[[Progress], None]


class Meter:
    """Counts pixels and tells a reporter."""

    def __init__(self, scene: str, total_px: int, reporter: Reporter | None, notes: tuple[str, ...] = ()) -> None:
        self._scene, self._total, self._reporter, self._notes = scene, total_px, reporter, notes
        self._done = self._new = 0
        self._start = time.monotonic()

    def add(self, pixels: int, replayed: bool = False) -> None:
        """Report more finished pixels; ``replayed`` ones come from an earlier run and say nothing of the speed."""
        self._done += pixels
        if replayed:
            self._start = time.monotonic()
        else:
            self._new += pixels
        if self._reporter:
            rate = self._new / max(1e-9, time.monotonic() - self._start)
            left = (self._total - self._done) / rate if rate else float("inf")
            self._reporter(Progress(self._scene, self._done, self._total, rate / 1e6, left, self._notes))
