"""``predict`` and ``predict_strips``: the face of inference."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparsecover.checkpoint import Checkpoint
from sparsecover.errors import ModelError, OutputError
from sparsecover.grid import Window
from sparsecover.inference.cluster import Cluster
from sparsecover.inference.job import Engine, Job
from sparsecover.inference.journal import Journal
from sparsecover.inference.networks import Networks, load_networks
from sparsecover.inference.outputs import MapProduct, OutputPaths
from sparsecover.inference.planes import to_host
from sparsecover.inference.progress import Reporter
from sparsecover.inference.run import Run
from sparsecover.inference.settings import Settings
from sparsecover.raster import Scene


class Strip(NamedTuple):
    """A block of predicted pixels.

    Attributes:
        window: where they lie in the scene.
        probabilities: float32 [K, h, w], summing to 1 over the classes; undefined where not valid.
        valid: bool [h, w].
    """

    window: Window
    probabilities: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]


def predict_strips(scene: Scene, checkpoint: Networks, **options: Any) -> Iterator[Strip]:
    """Predict a scene and yield class probabilities in blocks, row by row, in memory bounded by a strip.

    Args:
        scene: what to predict.
        checkpoint: a checkpoint, its path, several of an ensemble, or a bare network, which gets values as stored.
        options: fields of ``Settings`` (``patch_size``, ``overlap``, ``blend``, ``batch_size``, ``device``, ``tta``).
            With a window as ``area`` only its pixels are yielded; with other areas all rows, valid inside.

    Example:
        >>> for window, probabilities, valid in predict_strips(scene, "model.safetensors"):  # doctest: +SKIP
        ...     print(window, probabilities.argmax(0)[valid].mean())
    """
    settings = Settings().with_changes(options)
    job = Job.plan(scene, checkpoint, settings)
    with closing(Engine(job)) as engine:
        for panel in job.panels():
            region = panel.intersect(settings.area) if isinstance(settings.area, Window) else panel
            if region.size:
                for window, probabilities, valid in engine.blended(region):
                    yield Strip(window, to_host(probabilities), valid)


def predict(
    scene: Scene,
    checkpoint: Networks,
    out: Path | str,
    *,
    reporter: Reporter | None = None,
    cluster: Cluster | None = None,
    **options: Any,
) -> MapProduct:
    """Map a scene of any size.

    Args:
        scene: what to predict.
        checkpoint: a checkpoint, its path, or several of an ensemble.
        out: target, NAME.tif; further layers are NAME_confidence.tif and so on.
        reporter: called with the progress before the first strip and after every one.
        cluster: one that is open already, for many scenes; else ``workers`` and ``scheduler`` say whether to open one.
        options: fields of ``Settings``.

    Raises:
        SparseCoverError: scene or checkpoint cannot be used; outputs are there already or cannot be written.
        KeyboardInterrupt, SystemExit: stopped by the user; a note of it says how to go on.

    Example:
        >>> product = predict(open_scene("scene.tif"), "model.safetensors", "map.tif", tta=True)  # doctest: +SKIP
        >>> product.statistics["mean_confidence"]  # doctest: +SKIP
        0.87
    """
    settings = Settings().with_changes(options)
    paths = OutputPaths.plan(Path(out), settings)
    networks = load_networks(checkpoint)
    first = networks[0].network
    if not isinstance(first, Checkpoint):
        raise ModelError("A map needs classes: give a checkpoint. Bare networks go with predict_strips.")
    begun = Journal.reopen(paths.journal) if settings.resume else None
    if begun is not None:
        settings = settings.with_changes(begun.settings["chosen"])
    elif not (settings.resume or settings.overwrite):
        paths.check_free(resume=False)
    job = Job.plan(scene, networks, settings)
    run = Run(job, first.scheme, paths, reporter)
    if begun is None and settings.resume and paths.are_from(job.key):
        paths.journal.unlink(missing_ok=True)  # one that was cut off within its first line
        return paths.product(("The map is complete; there was nothing to resume.",))
    journal = _continued(begun, job, paths) or run.begin()
    return run.finish(journal, cluster)


def _continued(begun: Journal | None, job: Job, paths: OutputPaths) -> Journal | None:
    """The journal of a stopped run if it is of this job; None to begin one."""
    if begun is not None and begun.settings["made_from"] == job.key:
        return begun
    if begun is not None:
        begun.close()
    if job.settings.overwrite:
        return None
    if begun is not None:
        raise OutputError(
            f"{paths.journal} was begun with another scene, network or other options. Give those again to resume, or "
            "--overwrite to begin anew."
        )
    paths.check_free(resume=job.settings.resume)
    return None
