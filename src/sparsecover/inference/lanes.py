"""Batches computed side by side on a CPU, each by threads of its own.

Threads that share a window wait for each other at every layer, and all of them wait when one has to make room for
reading or writing. Threads with a window each wait for nobody: on two cores that took a tenth less time.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from sparsecover.inference.threads import Item, Result, alongside

_MOST = 8  # each lane takes the network's memory once more


def lane_count(device: torch.device, compiled: bool, batches: int) -> int:
    """How many batches of a job to compute side by side.

    Args:
        device: only CPUs have lanes; a GPU is shared by the kernels of one batch.
        compiled: compiled kernels keep the number of threads that they were made for: one lane.
        batches: of the whole job.
    """
    if device.type != "cpu" or compiled:
        return 1
    threads = torch.get_num_threads()
    return max(1, min(batches, threads // math.ceil(threads / _MOST)))


class Lanes:
    """So many lanes, among which torch's threads are shared out evenly; ``close`` ends theirs.

    Attributes:
        count: lanes.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = torch.get_num_threads()
        self._each = max(1, self._threads // count)
        # Some of torch's kernels go by the number set in their own thread, others by that set last in any thread.
        self._pool = ThreadPoolExecutor(count, "network", torch.set_num_threads, (self._each,))

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """``map(work, items)`` in order; one lane is the calling thread.

        Until it ends, the caller has the threads of one lane, too: the others are at work while it uses a result.
        """
        if self.count == 1:
            yield from map(work, items)
            return
        torch.set_num_threads(self._each)
        try:
            yield from alongside(work, items, 2 * self.count - 1, self._pool)
        finally:
            torch.set_num_threads(self._threads)

    def close(self) -> None:
        """End the threads: what they compute is finished, what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
