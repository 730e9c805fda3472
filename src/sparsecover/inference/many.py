"""Many scenes with one network: one after the other, or side by side on a cluster."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sparsecover.errors import SparseCoverError
from sparsecover.inference.cluster import Cluster, open_cluster
from sparsecover.inference.networks import Networks, load_networks
from sparsecover.inference.outputs import MapProduct
from sparsecover.inference.predicting import predict
from sparsecover.inference.progress import Progress, Reporter
from sparsecover.inference.settings import Settings
from sparsecover.raster import Scene

Target = tuple[Callable[[], Scene], Path]
"""How to open a scene, and its map; opening may fail like the rest."""


def predict_many(
    targets: Sequence[Target],
    checkpoint: Networks,
    *,
    reporter: Reporter | None = None,
    cluster: Cluster | None = None,
    **options: Any,
) -> Iterator[MapProduct | SparseCoverError]:
    """Map scenes and yield, in their order, what was made or what went wrong with each; one does not stop the others.

    Args:
        targets: how to open a scene, and its map, FOLDER/STEM_map.tif; layers are STEM_confidence.tif and so on.
        checkpoint: as for ``predict``; loaded once.
        reporter: called with every scene's progress; on a cluster several scenes are under way at once.
        cluster: one that is open already.
        options: fields of ``Settings``.
    """
    networks = load_networks(checkpoint)
    settings = Settings().with_changes(options)

    def run(target: Target, on: Cluster | None, report: Reporter | None) -> MapProduct | SparseCoverError:
        opened, out = target
        stem = out.stem.removesuffix("_map")
        try:
            return predict(opened(), networks, out, reporter=report, cluster=on, **{"stem": stem} | options)
        except SparseCoverError as error:
            return error

    if cluster is None and not settings.workers and settings.scheduler is None:
        yield from (run(target, None, reporter) for target in targets)
    elif cluster is None:
        with open_cluster(settings) as opened:
            assert opened is not None
            yield from _side_by_side(targets, opened, run, reporter)
    else:
        yield from _side_by_side(targets, cluster, run, reporter)


def _side_by_side(
    targets: Sequence[Target],
    cluster: Cluster,
    run: Callable[[Target, Cluster, Reporter | None], MapProduct | SparseCoverError],
    reporter: Reporter | None,
) -> Iterator[MapProduct | SparseCoverError]:
    """A thread for each scene under way; they wait for the cluster and write."""
    stopping = threading.Event()

    def report(progress: Progress) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        if reporter is not None:
            reporter(progress)

    with ThreadPoolExecutor(cluster.workers, thread_name_prefix="scene") as pool:
        waiting: list[Future[MapProduct | SparseCoverError]] = []
        try:
            waiting += [pool.submit(run, target, cluster, report) for target in targets]
            for future in waiting:
                yield future.result()
        except BaseException:
            stopping.set()  # each leaves a journal to go on from
            pool.shutdown(wait=False, cancel_futures=True)
            raise
