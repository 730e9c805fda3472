"""The history of a training: one row an epoch, or so many steps of a model that has no epochs."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sparsecover import metrics
from sparsecover.training.validation import Scores

Row = dict[str, float | int | None]
History = list[Row]

FIRST_ROUND = "first_round"
"""Folder, within that of a run, of the training that self-training begins with."""


def score_columns(scores: Scores | None, names: Sequence[str]) -> Row:
    """Validation figures of a row, IoU by class among them; None in epochs without validation."""
    if scores is None:
        return {"val_loss": None, "miou": None, "accuracy": None, **dict.fromkeys(map("iou_{}".format, names))}
    by_class = metrics.iou(scores.confusion)
    names = names or tuple(map(str, range(len(by_class))))
    columns = {f"iou_{name}": metrics.finite(value) for name, value in zip(names, by_class, strict=True)}
    accuracy = metrics.finite(metrics.accuracy(scores.confusion))
    return {"val_loss": scores.loss, "miou": scores.miou, "accuracy": accuracy, **columns}


def as_csv(history: History) -> str:
    """The history with one line a row; what was not measured is left empty."""
    columns = list(dict.fromkeys(column for row in history for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def read_history(path: Path) -> list[dict[str, str]]:
    """The rows of history.csv; a forest has none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def trained_seconds(folder: Path) -> float:
    """Time that the epochs of a run took, in all sessions so far; 0 where there is nothing to go on with."""
    runs = [run for run in (folder, folder / FIRST_ROUND) if (run / "state.pt").is_file()]
    return sum(float(row.get("seconds") or 0) for run in runs for row in read_history(run / "history.csv"))
