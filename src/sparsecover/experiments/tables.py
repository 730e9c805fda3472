"""Tables of a study: a row a job, a row a cell; CSV for programs, Markdown for people."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sparsecover import metrics
from sparsecover.experiments.jobs import Job
from sparsecover.experiments.outcome import Outcome, state_of
from sparsecover.experiments.recipe import Choice, Recipe
from sparsecover.experiments.remarks import remarks
from sparsecover.experiments.summary import CellScores, Spread

Row = dict[str, Any]

_LONG = ("95% interval", "accuracy", "published accuracy", "time", "memory")
_LAST = ("folder", "error")


def job_rows(jobs: Sequence[Job], outcomes: Mapping[str, Outcome], begun: Collection[str] = ()) -> list[Row]:
    """A row a job: settings, seed, fold, labelled pixels, scores, cost; why it failed; empty where it has not ended.

    ``begun`` names the jobs that have, ended or not.
    """
    return [_job_row(job, outcomes.get(job.name), job.name in begun) for job in jobs]


def _job_row(job: Job, outcome: Outcome | None, begun: bool) -> Row:
    state = state_of(outcome, begun)
    row: Row = {**job.cell, "seed": job.seed, "fold": job.fold, "state": state}
    if outcome is None or outcome.scheme is None:
        return row | ({"error": outcome.reason, "folder": outcome.folder.name} if outcome else {})
    confusion, labelled = outcome.confusion, outcome.labelled_pixels
    return row | {
        "labelled_pixels": outcome.spent_pixels,
        "training_pixels": labelled["train"],
        "validation_pixels": labelled.get("validation", 0),
        "miou": _number(metrics.miou(confusion)),
        "accuracy": _number(metrics.accuracy(confusion)),
        **{
            f"iou_{name}": _number(score)
            for name, score in zip(outcome.scheme.names, metrics.iou(confusion), strict=True)
        },
        "seconds": outcome.seconds,
        "peak_memory_mib": outcome.peak_memory_mib,
        "gpu_memory_mib": outcome.gpu_memory_mib,
        "folder": outcome.folder.name,
    }


def cell_rows(rows: Sequence[CellScores]) -> list[Row]:
    """A row a cell: mean, standard deviation and number of runs, share, comparison, others' figures, cost."""
    return [_cell_row(row) for row in rows]


def _cell_row(row: CellScores) -> Row:
    found: Row = {
        **row.cell, "labelled_pixels": _number(row.spent_pixels, 0), **_columns("miou", row.miou), "over": row.over,
        "miou_low": None, "miou_high": None, **_columns("accuracy", row.accuracy),
        "share_of_full": None if row.share is None else _number(row.share), "gain": None, "gain_low": None,
        "gain_high": None, "published_miou": None, "published_accuracy": None,
    }  # fmt: skip
    if row.interval is not None:
        found["miou_low"], found["miou_high"] = map(_number, row.interval)
    if row.gain is not None:
        found["gain"] = _number(row.gain)
    if row.gain_interval is not None:
        found["gain_low"], found["gain_high"] = map(_number, row.gain_interval)
    if row.published is not None:
        found |= {"published_miou": row.published.miou, "published_accuracy": row.published.accuracy}
    for name in row.scheme.names if row.scheme else ():
        found |= _columns(f"iou_{name}", row.class_iou(name))
    return found | {
        "seconds": _number(row.seconds, 1), "peak_memory_mib": row.peak_memory_mib or None,
        "jobs_done": len(row.outcomes), "jobs_failed": len(row.failed), "jobs": row.jobs,
    }  # fmt: skip


def _columns(name: str, spread: Spread) -> Row:
    return {name: _number(spread.mean), f"{name}_std": _number(spread.std), f"{name}_n": spread.n}


def _number(value: float, digits: int = 4) -> float | int | None:
    if not np.isfinite(value):
        return None
    return round(float(value), digits) if digits else round(value)


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV, with a column for every key; what is missing is left empty."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    # Last what is long; a job that failed has it before the columns of the others.
    ordered = sorted(columns, key=lambda column: _LAST.index(column) if column in _LAST else -1)
    writer = csv.DictWriter(text, ordered, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Written:
    """The table of a study in words, as Markdown and the report show it: only columns that hold anything.

    ``short`` leaves out what a terminal has no room for.

    Attributes:
        head: titles of the columns.
        rows: texts, one list a cell.
        remarks: sentences to stand below.
    """

    def __init__(self, recipe: Recipe, rows: Sequence[CellScores], *, short: bool = False) -> None:
        axes = [axis for axis in recipe.grid if axis != recipe.panel]
        columns: dict[str, list[str]] = {axis: [row.cell[axis] for row in rows] for axis in axes}
        columns["labelled px"] = ["–" if np.isnan(row.spent_pixels) else f"{row.spent_pixels:,.0f}" for row in rows]
        columns["mIoU"] = [_spread(row.miou, row) for row in rows]
        columns["95% interval"] = [_interval(row.interval) for row in rows]
        columns["of full"] = ["" if row.share is None or np.isnan(row.share) else f"{row.share:.1%}" for row in rows]
        columns["gain over baseline"] = [_gain(row) for row in rows]
        columns["published mIoU"] = [_published(row, "miou") for row in rows]
        columns["accuracy"] = [_spread(row.accuracy, row) for row in rows]
        columns["published accuracy"] = [_published(row, "accuracy") for row in rows]
        columns["time"] = ["–" if np.isnan(row.seconds) else f"{row.seconds:,.0f} s" for row in rows]
        columns["memory"] = [f"{row.peak_memory_mib:,} MiB" if row.peak_memory_mib else "–" for row in rows]
        columns["jobs"] = ["" if not (row.failed or row.missing) else _jobs(row) for row in rows]
        kept = {name: texts for name, texts in columns.items() if any(texts) and (not short or name not in _LONG)}
        self.head = list(kept)
        self.remarks = remarks(rows)
        self.rows = [list(texts) for texts in zip(*kept.values(), strict=True)]


def markdown(recipe: Recipe, rows: Sequence[CellScores]) -> str:
    """The study as a page of Markdown: a table for each panel, then what failed."""
    parts = [f"# {recipe.title}", *([recipe.about.strip()] if recipe.about else [])]
    for name, of_panel in panels(recipe, rows).items():
        table = Written(recipe, of_panel)
        parts += [*([f"## {name}"] if name else []), _markdown_table(table), *table.remarks]
    parts += [legend(recipe, rows)]
    if failed := failures(rows):
        parts += ["## Failed", "\n".join(f"- {name}: {reason}" for name, reason in failed)]
    return "\n\n".join(parts) + "\n"


def panels(recipe: Recipe, rows: Sequence[CellScores]) -> dict[str, list[CellScores]]:
    """Cells by the recipe's panel, without those of which nothing was asked; one without a name where it has none."""
    names = [""] if recipe.panel is None else list(recipe.grid[recipe.panel])
    split = {name: [row for row in rows if not name or row.cell[str(recipe.panel)] == name] for name in names}
    return {name: of_panel for name, of_panel in split.items() if of_panel}


def _centre(over: Sequence[str]) -> str:
    """What stands before the ±: with one run of folds the score of all their pixels, which is no mean."""
    if "folds" not in over:
        return "mean"
    return "score of all folds pooled into one confusion matrix" + (", or mean" if len(over) > 1 else "")


def legend(recipe: Recipe, rows: Sequence[CellScores]) -> str:
    """What the columns mean, in sentences."""
    over = sorted({row.over for row in rows if len(row.outcomes) > 1})
    spread = f"standard deviation over {' or '.join(over)} (number)"
    text = [f"mIoU and accuracy: {_centre(over)} ± {spread}." if over else ""]
    text += ["Labelled pixels are those that trained, and those of validation where they chose the network."]
    if any(row.interval for row in rows):
        text.append("95% interval: of the mIoU over scored scenes, drawn again with replacement.")
    if recipe.full and any(row.share is not None for row in rows):
        text.append(f"Of full: share of the mIoU of {cell_words(recipe.full)}.")
    if recipe.baseline and any(row.gain is not None for row in rows):
        text.append(
            f"Gain: mIoU above {cell_words(recipe.baseline)} on the same scenes, with its 95% interval over scenes "
            "where there are enough."
        )
    if recipe.published_in:
        text.append(f"Published (rings in the plots): {recipe.published_in.strip()}")
    return " ".join(part for part in text if part)


def cell_words(choice: Choice) -> str:
    """Axes and names in words."""
    named = {axis: (names,) if isinstance(names, str) else names for axis, names in choice.items()}
    best = " (whichever is best)" if any(len(names) > 1 for names in named.values()) else ""
    return ", ".join(f"{axis} {' or '.join(names)}" for axis, names in named.items()) + best


def failures(rows: Iterable[CellScores]) -> list[tuple[str, str]]:
    """What failed and why, once for jobs that failed for the same reason."""
    named: dict[str, list[str]] = {}
    for row in rows:
        for outcome in row.failed:
            named.setdefault(outcome.reason, []).append(outcome.job.name)
    return [
        (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", reason)
        for reason, names in named.items()
    ]


def _markdown_table(table: Written) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    return "\n".join(f"| {' | '.join(text.replace('|', '&#124;') for text in line)} |" for line in lines)


def _spread(spread: Spread, row: CellScores) -> str:
    if not spread.n:
        return "failed" if row.failed else "–"
    more = f" ± {spread.std:.3f} ({spread.n})" if spread.n > 1 else ""
    return f"{spread.mean:.3f}{more}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _gain(row: CellScores) -> str:
    if row.gain is None or np.isnan(row.gain):
        return ""
    interval = "" if row.gain_interval is None else f" ({row.gain_interval[0]:+.3f} to {row.gain_interval[1]:+.3f})"
    return f"{row.gain:+.3f}{interval}"


def _published(row: CellScores, score: str) -> str:
    value = None if row.published is None else getattr(row.published, score)
    return "" if value is None else f"{value:.4f}"


def _jobs(row: CellScores) -> str:
    failed = f", {len(row.failed)} failed" if row.failed else ""
    return f"{len(row.outcomes)} of {row.jobs}{failed}"
