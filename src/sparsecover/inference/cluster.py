"""Prediction spread over the processes of a dask cluster, on this machine or many, with the bytes of one process."""

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psutil
import torch

from sparsecover.errors import ConfigError, MissingPartError, ModelError
from sparsecover.grid import Window
from sparsecover.inference.job import Engine, Job
from sparsecover.inference.products import MapStrip, Products
from sparsecover.inference.settings import Settings

_MOST_WINDOW_ROWS = 8  # of a block; its first and last rows of windows are computed by the neighbouring block as well
_BLOCKS_PER_WORKER = 4  # so that a quick worker can help out a slow one
_AHEAD = 2  # blocks waiting for each worker
_TIMEOUT = "30s"


class Cluster:
    """A running scheduler with its workers. Made by ``open_cluster``.

    Several threads may predict several scenes with it at once.
    """

    def __init__(self, client: Any, threads: int | None) -> None:
        self._client, self._threads = client, threads

    @property
    def workers(self) -> int:
        """Number of worker processes now."""
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def strips(self, job: Job, products: Products, regions: Sequence[Window]) -> Iterator[MapStrip]:
        """Predict regions and yield their rows in order. A block whose worker dies is computed by another."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # the network is sent once, as one task
            # As the result of a task, not as scattered data, which would be lost with the worker that holds it.
            shared = self._client.submit(_together, job, products, pure=False)
        blocks = iter(cut(job, regions, self.workers))
        waiting: deque[Any] = deque()
        try:
            for block in blocks:
                waiting.append(self._client.submit(_predict_block, shared, block, self._threads, pure=False))
                if len(waiting) > _AHEAD * self.workers:
                    yield from _result(waiting.popleft())
            while waiting:
                yield from _result(waiting.popleft())
        finally:
            self._client.cancel([*waiting, shared])


@contextmanager
def open_cluster(settings: Settings) -> Iterator[Cluster | None]:
    """The cluster that the settings ask for, or None for this process alone.

    Raises:
        MissingPartError: dask.distributed is not installed.
        ConfigError: no scheduler answers at the address.
    """
    if not settings.workers and settings.scheduler is None:
        yield None
        return
    try:
        import distributed
    except ImportError as error:
        raise MissingPartError(
            "dask.distributed is not installed, and several workers need it. Install it with: "
            "pip install 'sparsecover[dask]'"
        ) from error
    if settings.scheduler is not None:
        try:
            client = distributed.Client(settings.scheduler, timeout=_TIMEOUT)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"No dask scheduler answers at {settings.scheduler} ({error}). Start one with `dask scheduler`, or "
                "take --workers N for a cluster on this machine."
            ) from error
        with client:
            yield Cluster(client, None)  # how many threads its workers have is the matter of who started them
        return
    threads = max(1, min(torch.get_num_threads(), (psutil.cpu_count() or 1) // settings.workers))
    with (
        distributed.LocalCluster(
            n_workers=settings.workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40,
            memory_limit=0, host="127.0.0.1",
        ) as local,
        distributed.Client(local) as client,
    ):  # fmt: skip
        yield Cluster(client, threads)


def cut(job: Job, regions: Sequence[Window], workers: int) -> Iterator[Window]:
    """Cut regions into blocks of their full width and some rows of windows, in order."""
    starts = job.layout.rows.starts
    step = (starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else job.layout.size
    scale = job.scene.grid.height / job.working.grid.height
    shared_out = math.ceil(len(starts) * len(regions) / (_BLOCKS_PER_WORKER * workers))
    rows = max(1, round(step * scale * min(_MOST_WINDOW_ROWS, shared_out)))
    for region in regions:
        for row in range(region.row, region.row_stop, rows):
            yield Window(row, region.col, min(rows, region.row_stop - row), region.width)


def _result(future: Any) -> list[MapStrip]:
    from distributed import KilledWorker

    try:
        strips: list[MapStrip] = future.result()
    except KilledWorker as error:
        raise ModelError(
            "Several workers died over the same block, most likely for want of memory. Give a smaller --batch-size or "
            "--patch-size, or fewer workers."
        ) from error
    return strips


def _together(job: Job, products: Products) -> tuple[Job, Products]:
    return job, products


@lru_cache(maxsize=1)
def _engine(job: Job) -> Engine:
    """One a process: blocks of a job reuse the prepared network."""
    return Engine(job)


def _predict_block(shared: tuple[Job, Products], block: Window, threads: int | None) -> list[MapStrip]:
    if threads is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    job, products = shared
    return list(products.strips(_engine(job).blended(block)))
