"""What the commands show: progress while they run (on a terminal only), and results as short tables."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sparsecover.checkpoint import Checkpoint
    from sparsecover.checks import Finding
    from sparsecover.evaluation import Assessment
    from sparsecover.experiments import ExperimentResult
    from sparsecover.pipeline import CheckResult, CrossValidation, DemoResult, MapResult
    from sparsecover.training import RateTest

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_LOG_EVERY_S = 60.0
_MARKS = {"error": "[red]error[/]  ", "warning": "[yellow]warning[/]", "note": "[dim]note[/]   "}


class ConsoleReporter:
    """Shows stages and a progress bar on a terminal; elsewhere one plain line a stage, so that logs stay readable."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: Any = None
        self._title = ""
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def stage(self, title: str) -> None:
        """Begin a part of the work."""
        self._close()
        self._title = title
        if not err.is_terminal:
            err.print(title)
            self._told = time.monotonic()
            return
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[figures]}"), console=err, transient=True,
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task(title, total=None, figures="")

    def progress(self, done: float, total: float, **values: float | str) -> None:
        """Move the bar and show some figures beside it; in a log, a line now and then."""
        figures = "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, figures=figures)
        elif time.monotonic() - self._told >= _LOG_EVERY_S:
            self._told = time.monotonic()
            err.print(f"  {done:g} of {total:g}  {figures}", soft_wrap=True)

    def note(self, text: str) -> None:
        """Print something to know above the bar."""
        err.print(Text(f"  {text}", style="dim"), soft_wrap=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def show_findings(findings: "Iterable[Finding]") -> None:
    """Errors first, then warnings, then notes."""
    order = ("error", "warning", "note")
    for finding in sorted(findings, key=lambda f: order.index(f.severity)):
        out.print(f"{_MARKS[finding.severity]} ", Text(str(finding)), sep="")


def show_check(result: "CheckResult") -> None:
    """The labels found, then the findings."""
    # A label raster has no features, a vector file without a scene no pixels.
    counted = [what for what in ("features", "pixels") if any(row.get(what) for row in result.table)]
    table = Table("code", "class", *counted)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in result.table:
        table.add_row(str(row["code"]), Text(str(row["name"])), *(f"{row[what]:,}" for what in counted))
    if result.table:
        out.print(table)
    show_findings(result.findings)
    for note in result.notes:
        out.print(_MARKS["note"], Text(note))


def show_assessment(assessment: "Assessment", title: str = "") -> None:
    """Scores by class and over all classes."""
    table = Table("class", "IoU", "user's acc.", "producer's acc.", "labelled px", title=title or None)
    for column in table.columns[1:]:
        column.justify = "right"
    truth = assessment.confusion.sum(1)
    scores = (assessment.iou, assessment.users_accuracy, assessment.producers_accuracy)
    for index, name in enumerate(assessment.scheme.names):
        table.add_row(Text(name), *(_score(s[index]) for s in scores), f"{truth[index]:,}")
    out.print(table)
    out.print(_headline(assessment))


def _headline(assessment: "Assessment") -> str:
    miou = f"mIoU {_score(assessment.miou)} {assessment.over_classes}".rstrip()
    text = f"{miou}, accuracy {_score(assessment.accuracy)}"
    interval = assessment.miou_interval
    if interval is not None:
        text += f" (mIoU 95% interval {interval[0]:.3f} to {interval[1]:.3f} over {assessment.groups} groups)"
    return text


def _score(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def show_map_result(result: "MapResult") -> None:
    """Held-out accuracy, mapped areas, and where to look."""
    show_assessment(result.assessment, "On held-out labels")
    if result.optimistic:
        out.print("The held-out labels lie close to the training labels: the figures are optimistic.")
    for name, assessment in result.contest.scores.items():
        if name != result.contest.maker:
            out.print(f"Same labels, {name}: {_headline(assessment)}")
    if result.contest.verdict:
        out.print(Text(result.contest.verdict), soft_wrap=True)
    for warning in filter(None, (result.alarm, result.lost_classes, result.easier_ground)):
        out.print(_MARKS["warning"], Text(warning), soft_wrap=True)
    for product in result.products:
        show_statistics(product.map.name, product.statistics)
    timings = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in result.seconds.items())
    out.print(f"Time: {timings}.")
    out.print(f"Report: {result.out / 'report.html'}   map: {result.products[0].map}")


def show_statistics(title: str, statistics: Mapping[str, Any]) -> None:
    """Mapped pixels, hectares and shares by class."""
    rows = statistics["classes"]
    has_area = any(row.get("area_ha") is not None for row in rows)
    table = Table("class", "pixels", *(["hectares"] if has_area else []), "share", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        area = [f"{row['area_ha']:,.2f}"] if has_area else []
        share = "-" if row["share"] is None else f"{row['share']:.1%}"  # a map without data has no shares
        table.add_row(Text(str(row["name"])), f"{row['pixels']:,}", *area, share)
    out.print(table)
    if statistics.get("mean_confidence") is not None:
        out.print(f"Mean confidence {statistics['mean_confidence']:.2f}.")


def show_demo_result(result: "DemoResult") -> None:
    """The map and the forest against the whole truth."""
    show_assessment(result.truth, "Map against the full truth")
    table = Table("from the same labels", "mIoU on the full truth")
    table.add_row("sparsecover", f"{result.truth.miou:.3f}")
    table.add_row("random forest on pixels", f"{result.forest.miou:.3f}")
    table.add_row("gain", f"{result.truth.miou - result.forest.miou:+.3f}")
    out.print(table)
    job = result.job
    labelled = int(job.inputs.counts.sum())
    out.print(f"Labelled: {labelled:,} of {job.inputs.pixels:,} pixels ({labelled / job.inputs.pixels:.2%}).")
    out.print(f"Held-out labels alone said: {_headline(job.assessment)}.")
    out.print(f"Time {result.seconds:.0f} s, peak memory {result.peak_gib:.2f} GiB.")
    out.print(f"Look at: {job.out / 'report.html'} and, in QGIS, {job.out / 'map.tif'}")


def show_training(checkpoint: "Checkpoint", folder: Path) -> None:
    """What was measured on validation labels, and where the files are."""
    miou = checkpoint.metrics.get("miou")
    unscored = "no validation labels, so nothing is scored; `sparsecover evaluate` scores it on labels of its own"
    scored = unscored if miou is None else f"validation mIoU {miou:.3f}"
    out.print(f"Trained {checkpoint.model_spec.name}: {scored}. Files in {folder}.")


def show_folds(result: "CrossValidation", folder: Path) -> None:
    """Scores of each fold, their mean and spread, and the pooled ones."""
    scores, names = result.as_dict(), result.scheme.names
    table = Table("", "mIoU", "accuracy", title="On the labels held out of each fold")
    for name in names:
        table.add_column(Text(f"IoU {name}"))
    for column in table.columns[1:]:
        column.justify = "right"

    def add(title: str, scored: Mapping[str, Any]) -> None:
        values = (scored["miou"], scored["accuracy"], *scored["per_class_iou"].values())
        table.add_row(title, *(_score(float("nan") if value is None else value) for value in values))

    for number, fold in enumerate(scores["folds"], start=1):
        add(f"fold {number}", fold)
    spread = [scores["spread"][key] for key in ("miou", "accuracy", *(f"iou_{name}" for name in names))]
    for what in ("mean", "std"):
        table.add_row(what, *("-" if score[what] is None else _score(score[what]) for score in spread))
    intervals = ("-" if s["interval"] is None else "{:.3f} to {:.3f}".format(*s["interval"]) for s in spread)
    table.add_row("95% interval of the mean", *intervals)
    add("pooled", scores)
    out.print(table)
    ensemble = " ".join(f"--model {model}" for model in result.models)
    out.print(f"Files in {folder}. As an ensemble: sparsecover predict SCENE {ensemble} --out map.tif", soft_wrap=True)


def show_rate_test(test: "RateTest", folder: Path) -> None:
    """The rate found, and how to train with it."""
    out.print(
        f"The loss falls fastest at a learning rate of {test.suggestion:.1e}: --set optim.lr={test.suggestion:.1e}"
    )
    out.print(f"Look at {folder / 'learning_rate.png'}.")


def show_experiment(result: "ExperimentResult") -> None:
    """The tables of a study, what failed, and where to look."""
    from sparsecover.experiments.tables import Written, panels

    for name, rows in panels(result.recipe, result.rows).items():
        written = Written(result.recipe, rows, short=True)
        table = Table(*written.head, title=name or None)
        for row in written.rows:
            table.add_row(*map(Text, row))
        out.print(table)
        for remark in written.remarks:
            out.print(Text(remark))
    for name, reason in result.failures:
        err.print("[red]failed[/] ", Text(f"{name}: {reason}"), sep="", soft_wrap=True)
    if result.failures:
        failed, jobs = (sum(counts) for counts in zip(*((len(r.failed), r.jobs) for r in result.rows), strict=True))
        err.print(f"{failed} of {jobs} jobs failed; the same command tries them again.")
    out.print(f"Report: {result.out / 'report.html'}", soft_wrap=True)


def show_jobs(jobs: "Iterable[tuple[str, str]]") -> None:
    """Jobs of a study and their state."""
    table = Table("job", "state")
    for name, state in jobs:
        table.add_row(Text(name), state)
    out.print(table)


def show_recipes(recipes: Mapping[str, Path]) -> None:
    """Recipes of studies by name, with their titles."""
    from sparsecover.config import read_yaml

    table = Table("recipe", "what it compares")
    for name, path in recipes.items():
        table.add_row(name, Text(str(read_yaml(path).get("title", ""))))
    out.print(table)
