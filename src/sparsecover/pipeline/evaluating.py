"""Scores from files: a checkpoint against the labels of a configuration, a map against labels."""

import json
from collections.abc import Sequence
from pathlib import Path

from sparsecover.atomic import write_file
from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.datasets import open_dataset
from sparsecover.errors import ClassError, DataError, counted
from sparsecover.evaluation import Assessment, evaluate_map
from sparsecover.labels import open_labels, read_labels
from sparsecover.pipeline.files import prepare_folder
from sparsecover.pipeline.scoring import score_checkpoint
from sparsecover.pipeline.splitting import split_dataset
from sparsecover.progress import Reporter, Silent
from sparsecover.raster import open_scene


def evaluate_checkpoint(
    model: str | Path | Checkpoint,
    config: Config,
    *,
    split: str = "test",
    device: str = "auto",
    out: Path | None = None,
    reporter: Reporter | None = None,
) -> Assessment:
    """Score a network on one side of a configuration's split.

    Args:
        model: checkpoint or its file.
        config: data and split.
        split: ``train``, ``validation`` or ``test``; the labels are the dense ones, never simulated partial ones.
        out: folder for metrics.json.

    Raises:
        DataError: that side is empty, or the classes are not the network's.
    """
    reporter = reporter or Silent()
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    dataset = open_dataset(config.data, config.classes)
    if dataset.scheme.names != checkpoint.scheme.names:
        raise DataError(
            f"The configuration's classes are {', '.join(dataset.scheme.names)}; the network's are "
            f"{', '.join(checkpoint.scheme.names)}. Set classes to those of the network."
        )
    sides = split_dataset(dataset, config)
    pairs = [(pair.scene, pair.labels) for pair in getattr(sides, split)]
    if not pairs:
        raise DataError(
            f"The split has no {split} labels. Score another side (--split), or train again with a division that has "
            f"some (split.{split}, or three split.fractions): dealt anew, they would be labels that trained."
        )
    reporter.stage(f"Scoring {counted(pairs, 'scene')}")
    assessment = score_checkpoint(checkpoint, pairs, device=device, side=split)
    return _saved(assessment, out)


def evaluate_map_files(
    map_path: str | Path,
    truth: str | Path,
    *,
    field: str | None = None,
    unlabelled: Sequence[int] = (),
    out: Path | None = None,
    reporter: Reporter | None = None,
) -> Assessment:
    """Score a map file against labels.

    Args:
        map_path: one band of class codes; names are taken from its categories where it has some.
        truth: label raster or vector file.
        field: attribute of vector labels.
        unlabelled: codes of truth pixels that are not labelled.
        out: folder for metrics.json.
    """
    if Path(map_path).resolve() == Path(truth).resolve():
        raise DataError(f"{map_path} was given as map and as truth; any map agrees with itself.")
    scene = open_scene(map_path)
    scheme, style_notes = _map_scheme(Path(map_path))
    labels = open_labels(truth, scene.grid, field=field, unlabelled=tuple(unlabelled))
    assessment, notes = evaluate_map(scene, labels.raster, labels.scheme, scheme)
    for note in (*style_notes, *labels.notes, *notes):
        (reporter or Silent()).note(note)
    return _saved(assessment, out)


def _map_scheme(path: Path) -> tuple[ClassScheme, list[str]]:
    """The classes of a map, and notes: from the .qml beside it, else its category names, palette and codes."""
    style, notes = path.with_suffix(".qml"), []
    if style.is_file():
        try:
            return ClassScheme.from_config(style), []
        except ClassError as error:  # any style may lie beside a map, a colour ramp for instance
            notes.append(f"The classes are taken from the map itself, not from its style. {error}")
    return read_labels(path).scheme, notes


def evaluate(
    model: str | Path | Checkpoint | None = None,
    config: Config | None = None,
    *,
    map: str | Path | None = None,
    truth: str | Path | None = None,
    split: str = "test",
    field: str | None = None,
    unlabelled: Sequence[int] = (),
    device: str = "auto",
    out: str | Path | None = None,
) -> Assessment:
    """Score a network (``model`` with ``config``) or a map (``map`` with ``truth``); as ``sparsecover evaluate``.

    >>> evaluate(map="map.tif", truth="truth.tif").miou  # doctest: +SKIP
    """
    folder = None if out is None else Path(out)
    if map is not None and truth is not None:
        return evaluate_map_files(map, truth, field=field, unlabelled=unlabelled, out=folder)
    if model is not None and config is not None:
        return evaluate_checkpoint(model, config, split=split, device=device, out=folder)
    raise DataError("Give model and config, or map and truth.")


def _saved(assessment: Assessment, out: Path | None) -> Assessment:
    if out is not None:
        folder = prepare_folder(out, "metrics.json", resume=False, overwrite=True)
        write_file(folder / "metrics.json", json.dumps(assessment.as_dict(), indent=2))
    return assessment
