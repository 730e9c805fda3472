"""Cross-validation: each label is held out of one training and scores that one."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from sparsecover import metrics
from sparsecover.atomic import write_file
from sparsecover.checkpoint import load_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.datasets import open_dataset
from sparsecover.pipeline.files import results_in
from sparsecover.pipeline.network_choice import named_by_options
from sparsecover.pipeline.splitting import split_dataset_folds
from sparsecover.pipeline.training import settled, training_sides
from sparsecover.progress import Reporter, Silent
from sparsecover.training import check_parts, fit
from sparsecover.training.processes import is_helper, layout

_LEVEL = 0.95
LAST = "last.safetensors"
_SCORES = {"miou": 0.0, "accuracy": 0.0, "kappa": -1.0}  # and the least that each can be; the most is 1


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` measured.

    Attributes:
        models: the last checkpoint of each fold; together they are an ensemble for ``predict``.
        folds: confusion matrix of each fold on the labels held out of it, int64 [F, K, K].
        scheme: classes by index.
        notes: on the split and on what the figures stand for.
    """

    models: tuple[Path, ...]
    folds: metrics.Confusion
    scheme: ClassScheme
    notes: tuple[str, ...] = ()

    @property
    def pooled(self) -> metrics.Confusion:
        """Each labelled pixel once, int64 [K, K]."""
        pooled: metrics.Confusion = self.folds.sum(0)
        return pooled

    def spread(self) -> dict[str, dict[str, Any]]:
        """Mean, standard deviation and interval over the folds of each score, those of classes among them."""
        names = self.scheme.names
        summaries = [metrics.summary(fold, names) for fold in self.folds]
        columns = {score: [summary[score] for summary in summaries] for score in _SCORES}
        columns |= {f"iou_{name}": [summary["per_class_iou"][name] for summary in summaries] for name in names}
        return {score: fold_spread(values, _SCORES.get(score, 0.0)) for score, values in columns.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json: pooled scores as of any training, beside those of the folds."""
        names = self.scheme.names
        return {
            **metrics.summary(self.pooled, names),
            "spread": self.spread(),
            "folds": [
                {"model": model.as_posix(), **metrics.summary(fold, names)}
                for model, fold in zip(self.models, self.folds, strict=True)
            ],
            "classes": self.scheme.as_dicts(),
            "notes": list(self.notes),
        }


def fold_spread(values: Sequence[float | None], least: float = 0.0) -> dict[str, Any]:
    """Mean, sample standard deviation and 95% interval of the mean over folds, without those that have no score.

    The interval is Student's t with the variance (1/F + 1/(F - 1)) s^2, corrected for training sets that overlap
    (Nadeau & Bengio 2003, eq. 9, with the share 1/F held out); the plain s^2/F would be far too narrow. It ends
    where the score does, at ``least`` and 1.
    """
    scores = np.array([value for value in values if value is not None])
    count = len(scores)
    if count < 2:
        mean = float(scores[0]) if count else None
        return {"mean": mean, "std": None, "interval": None, "folds": count}
    mean, std = float(scores.mean()), float(scores.std(ddof=1))
    half = float(stats.t.ppf((1 + _LEVEL) / 2, count - 1)) * std * (1 / count + 1 / (count - 1)) ** 0.5
    return {"mean": mean, "std": std, "interval": [max(least, mean - half), min(1.0, mean + half)], "folds": count}


def cross_validate(
    config: Config,
    out: str | Path,
    *,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> CrossValidation:
    """Train ``config.split.folds`` networks, each scored on the labels that it did not see.

    Scenes, blocks or polygons are dealt out to folds as ``config.split.by`` says. Every fold is a whole run in a folder
    of its own (fold_1, fold_2, ...); metrics.json holds pooled and per-fold scores.

    Args:
        config: everything that defines the run.
        out: folder for the folds.
        device, devices, nodes: as in ``fit``.
        resume: go on where a stopped cross-validation left off, within a fold or between two.
        overwrite: replace the results of an earlier one.

    Raises:
        DataError: fewer scenes, blocks or polygons than folds.
    """
    reporter = reporter or Silent()
    config = named_by_options(config)
    check_parts(config)
    reporter.stage("Reading scenes and labels")
    dataset = open_dataset(config.data, config.classes)
    splits = split_dataset_folds(dataset, config)
    notes = (*dataset.notes, *dict.fromkeys(note for split in splits for note in split.notes), *_caveats(config))
    for note in notes:
        reporter.note(note)
    ours = not is_helper()
    with results_in(Path(out), "metrics.json", resume=resume, overwrite=overwrite, ours=ours) as folder:
        models = tuple(folder / f"fold_{number}" / LAST for number in range(1, len(splits) + 1))
        for number, (split, model) in enumerate(zip(splits, models, strict=True), start=1):
            reporter.stage(f"Fold {number} of {len(splits)}")
            sides = training_sides(split, config)
            if number == 1 and math.prod(layout(devices, nodes)) == 1:  # folds that are compared are trained alike
                config = settled(config, sides.train, len(dataset.scheme), reporter)
            fit(
                sides.train, config, model.parent, scheme=dataset.scheme, validation=sides.validation,
                apart=sides.apart, device=device, devices=devices, nodes=nodes, resume=resume, reporter=reporter,
            )  # fmt: skip
            # What the first fold found to be fast holds for all: folds that are compared must be trained alike.
            config = config.with_changes({"train.precision": load_checkpoint(models[0]).config["train"]["precision"]})
        # The last network, not the one that was best on the labels that score it.
        confusions = np.array([load_checkpoint(model).metrics["confusion"] for model in models], np.int64)
        result = CrossValidation(models, confusions, dataset.scheme, notes)
        if ours:
            write_file(folder / "metrics.json", json.dumps(result.as_dict(), indent=2))
        return result


def _caveats(config: Config) -> list[str]:
    """What makes the scores too good."""
    if config.train.early_stopping is None and config.schedule.name != "reduce_plateau":
        return []
    return ["The held-out labels also decide when a fold's training ends or slows down: its scores are optimistic."]
