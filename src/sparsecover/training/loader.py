"""Batches of a plan in their order, prepared by background threads while the network computes.

Threads, not processes: reading, decoding and normalising release Python's lock, scenes in memory are shared and not
copied, and there is nothing to pickle. Batch b of epoch e depends on (plan, e, b) alone, so that any number of threads,
and a training that goes on in the middle of an epoch, see the same batches.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Literal, Protocol

from sparsecover.errors import TrainingError
from sparsecover.grid import Window
from sparsecover.patches import Batch, Patch, PatchPlan, PatchReader, ResidentReader
from sparsecover.training.background import Background

_AHEAD = 2  # batches ready beyond one for each thread
_STALLED_S = 900.0
_NOTHING = Window(0, 0, 0, 0)


class Batches(Protocol):
    """What the loop asks of a loader: the same batches for the same epoch, from any batch on."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]: ...


class PatchLoader:
    """Batches of windows.

    Args:
        reader: reads them.
        windows: a plan, of which each epoch takes the next ``len(plan)``, or a list, which each epoch takes whole.
        batch_size: windows in a batch; of a plan all batches are full, of a list the last may be smaller.
        workers: threads; ``auto`` takes one on few cores and up to eight on many.
        pin: page-locked memory, for copying to a GPU.
        rank: number of this process.
        world: number of processes; each takes its part of every batch of ``world * batch_size`` windows. All get as
            many batches; one that would be left with none gets a window without labels.
    """

    def __init__(
        self,
        reader: PatchReader | ResidentReader,
        windows: PatchPlan | Sequence[Patch],
        batch_size: int,
        workers: int | Literal["auto"] = "auto",
        *,
        pin: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._reader, self._windows, self._size, self._pin = reader, windows, batch_size, pin
        self._rank, self._world = rank, world
        self._threads = max(1, min(8, (os.cpu_count() or 1) // 2)) if workers == "auto" else max(1, workers)

    def __len__(self) -> int:
        return -(-len(self._windows) // (self._size * self._world))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number ``start`` on."""
        numbers = iter(range(start, len(self)))
        pool = Background[Batch](self._threads)
        waiting: deque[Future[Batch]] = deque()
        stalled = False
        try:
            while True:
                while len(waiting) < self._threads + _AHEAD and (number := next(numbers, None)) is not None:
                    waiting.append(pool.submit(self._load, epoch, number))
                if not waiting:
                    return
                yield waiting.popleft().result(timeout=_STALLED_S)
        except TimeoutError:
            stalled = True
            raise TrainingError(
                f"No batch came within {_STALLED_S / 60:.3g} minutes: the disk or network that holds the scenes does "
                "not answer. Copy them to a local disk, and go on with --resume."
            ) from None
        finally:
            for future in waiting:
                future.cancel()
            pool.close(wait=not stalled)

    def _load(self, epoch: int, number: int) -> Batch:
        patches = [self._windows[i] for i in self._samples(epoch, number)] or [replace(self._windows[0], own=_NOTHING)]
        batch = self._reader.batch(patches)
        return batch.pin() if self._pin else batch

    def _samples(self, epoch: int, number: int) -> range:
        """Numbers of the windows in a batch."""
        first = (number * self._world + self._rank) * self._size
        if isinstance(self._windows, PatchPlan):
            first += epoch * len(self) * self._world * self._size
            return range(first, first + self._size)
        return range(first, min(first + self._size, len(self._windows)))
