"""Prediction of files: which scenes, where their maps go, and what happens when one of many fails."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sparsecover.errors import OutputError, SparseCoverError
from sparsecover.inference import MapProduct, Progress, predict, predict_many
from sparsecover.pipeline.files import unique_names
from sparsecover.pipeline.scene_files import SUFFIXES, expand
from sparsecover.progress import Reporter, Silent
from sparsecover.raster import open_scene

_OTHER_FILES = (*SUFFIXES, ".img", ".gpkg")


@dataclass
class PredictedBatch:
    """Maps made, and what went wrong with the others."""

    products: list[MapProduct] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def predict_files(
    scenes: Sequence[str | Path],
    models: Sequence[str | Path],
    out: str | Path,
    *,
    stack: bool = False,
    bands: Sequence[int] | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> PredictedBatch:
    """Map raster files; a file that fails does not keep the others from being mapped.

    Args:
        scenes: files, folders (their rasters), patterns with ``*``, or addresses as GDAL takes them; with ``stack``
            the bands of one scene.
        models: checkpoints; several are averaged.
        out: NAME.tif for one scene, else a folder.
        bands: numbers from 1 of the bands to take from each scene; default: by name where named, else all.
        options: of ``predict``.

    Raises:
        SparseCoverError: what concerns all scenes; with one scene also what concerns it.
    """
    listener = listen_to_prediction(reporter or Silent())
    networks = list(models) if len(models) > 1 else models[0]
    if stack:
        scene = open_scene(expand(scenes), bands=bands)
        return PredictedBatch([predict(scene, networks, out, reporter=listener, **options)])
    paths = expand(scenes)
    if len(paths) == 1 and Path(out).suffix.lower() in (".tif", ".tiff"):
        return PredictedBatch([predict(open_scene(paths[0], bands=bands), networks, out, reporter=listener, **options)])
    batch = PredictedBatch()
    targets = [
        (partial(open_scene, path, bands=bands), target)
        for path, target in zip(paths, _targets(paths, Path(out)), strict=True)
    ]
    for path, made in zip(paths, predict_many(targets, networks, reporter=listener, **options), strict=True):
        if isinstance(made, SparseCoverError):
            batch.failures[path] = str(made)
        else:
            batch.products.append(made)
    return batch


def listen_to_prediction(reporter: Reporter) -> Callable[[Progress], None]:
    """Pass a prediction's progress on; a new scene is a new stage, and begins with what to know of it."""
    current: list[str] = []

    def listen(progress: Progress) -> None:
        if current != [progress.scene]:
            current[:] = [progress.scene]
            reporter.stage(f"Mapping {progress.scene}")
            for note in progress.notes:
                reporter.note(note)
        reporter.progress(
            progress.done_px / 1e6, progress.total_px / 1e6, mpix_per_s=progress.mpix_per_s,
            left=_duration(progress.seconds_left),
        )  # fmt: skip

    return listen


def _duration(seconds: float) -> str:
    """h:mm:ss; unknown as long as there is no speed."""
    return str(timedelta(seconds=round(seconds))) if math.isfinite(seconds) else "?"


def _targets(paths: Sequence[str], folder: Path) -> list[Path]:
    """STEM_map.tif for each scene in a folder, which is made."""
    if folder.suffix.lower() in (".tif", ".tiff"):
        raise OutputError(f"{len(paths)} scenes were given, so --out must be a folder; {folder} looks like a file.")
    if folder.suffix.lower() in _OTHER_FILES:
        raise OutputError(f"Maps are GeoTIFFs: give --out as NAME.tif or a folder; {folder} looks like another file.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    return [folder / f"{name}_map.tif" for name in unique_names([Path(path).stem for path in paths])]
