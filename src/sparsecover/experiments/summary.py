"""Scores of a study by cell of its grid: mean and spread over seeds or folds, intervals over scenes, comparisons."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sparsecover import metrics
from sparsecover.classes import ClassScheme
from sparsecover.evaluation.intervals import Interval, Sums, bootstrap, bootstrap_gain
from sparsecover.experiments.jobs import Cell, Job, cell_name, cells, matches
from sparsecover.experiments.outcome import Outcome, pooled
from sparsecover.experiments.recipe import Choice, Published, Recipe

Score = Callable[[metrics.Confusion], float]
"""A figure of a confusion matrix, NaN where undefined."""
Scenes = dict[tuple[str, str], Sums]
"""Hits, true and predicted pixels by class, int64 [3, K], of each scored scene, by the data and its name there."""


@dataclass(frozen=True)
class Spread:
    """Mean over replicates, sample standard deviation (NaN below two) and their number."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of numbers; those that are NaN count as missing."""
        known = np.array([value for value in values if np.isfinite(value)])
        if not len(known):
            return cls(float("nan"), float("nan"), 0)
        return cls(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else float("nan"), len(known))


@dataclass(frozen=True, eq=False)
class CellScores:
    """All jobs of one cell.

    Attributes:
        cell: axes and names.
        outcomes: of the jobs that ended with scores.
        failed: of those that did not.
        missing: jobs that have not ended.
        share: of the mIoU of full supervision in the folds and seeds that both have; None without any.
        gain: mIoU above the baseline's, likewise; ``gain_interval`` is its 95% interval over scenes.
        published: others' figures.
    """

    cell: Cell
    outcomes: tuple[Outcome, ...]
    failed: tuple[Outcome, ...] = ()
    missing: int = 0
    share: float | None = None
    gain: float | None = None
    gain_interval: Interval | None = None
    published: Published | None = None
    one_run: bool = False

    @property
    def name(self) -> str:
        """The cell in words."""
        return cell_name(self.cell)

    @property
    def jobs(self) -> int:
        """How many there are, ended or not."""
        return len(self.outcomes) + len(self.failed) + self.missing

    @cached_property
    def runs(self) -> list[metrics.Confusion]:
        """A confusion matrix for each seed, all folds pooled; one in all where each fold has its own seed."""
        groups: dict[int, list[metrics.Confusion]] = defaultdict(list)
        for outcome in self.outcomes:
            groups[0 if self.one_run else outcome.job.seed].append(outcome.confusion)
        return [pooled(group) for group in groups.values()]

    @cached_property
    def over(self) -> str:
        """What the spread is over: seeds, or folds where there is one run of them."""
        return "folds" if len(self.runs) == 1 and len(self.outcomes) > 1 else "seeds"

    def spread(self, score: Score) -> Spread:
        """Mean over runs; its spread over runs, or over the folds of the only one."""
        over_runs = Spread.of([score(run) for run in self.runs])
        if self.over == "seeds":
            return over_runs
        over_folds = Spread.of([score(outcome.confusion) for outcome in self.outcomes])
        return replace(over_folds, mean=over_runs.mean)

    @property
    def miou(self) -> Spread:
        """Mean IoU."""
        return self.spread(metrics.miou)

    @property
    def accuracy(self) -> Spread:
        """Share of pixels that are right."""
        return self.spread(metrics.accuracy)

    def class_iou(self, name: str) -> Spread:
        """IoU of one class; NaN where this cell has none of that name."""
        names = self.scheme.names if self.scheme else ()
        index = names.index(name) if name in names else None
        return self.spread(lambda confusion: float("nan") if index is None else float(metrics.iou(confusion)[index]))

    @property
    def scheme(self) -> ClassScheme | None:
        """The classes; None before any job has scores."""
        return next((outcome.scheme for outcome in self.outcomes), None)

    @property
    def spent_pixels(self) -> float:
        """Labelled pixels that a job used on average, those that chose its network among them."""
        return float(np.mean([outcome.spent_pixels for outcome in self.outcomes])) if self.outcomes else float("nan")

    @property
    def seconds(self) -> float:
        """Of a job on average."""
        return float(np.mean([outcome.seconds for outcome in self.outcomes])) if self.outcomes else float("nan")

    @property
    def peak_memory_mib(self) -> int:
        """The most that any job held."""
        return max((outcome.peak_memory_mib for outcome in self.outcomes), default=0)

    @cached_property
    def interval(self) -> Interval | None:
        """95% interval of the mIoU over scored scenes; None where these are too few."""
        sums = scene_sums(self.outcomes)
        found = bootstrap(np.stack(list(sums.values()))) if sums else None
        return found[0] if found else None


def summarize(recipe: Recipe, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> list[CellScores]:
    """The scores of all cells in the order of the grid; ``outcomes`` are by name of the job."""
    rows = []
    for cell in cells(recipe):
        of_cell = [job for job in jobs if job.cell == cell]
        ended = [outcomes[job.name] for job in of_cell if job.name in outcomes]
        rows.append(
            CellScores(
                cell,
                tuple(outcome for outcome in ended if outcome.error is None),
                tuple(outcome for outcome in ended if outcome.error is not None),
                len(of_cell) - len(ended),
                published=recipe.published.get(cell_name(cell)),
                one_run=recipe.seed_per_fold,
            )
        )
    return [_compared(row, rows, recipe) for row in rows]


def _compared(row: CellScores, rows: Sequence[CellScores], recipe: Recipe) -> CellScores:
    """With its share of full supervision and its gain over the baseline."""
    changes: dict[str, object] = {}
    full, baseline = (_side_by_side(row, rows, choice) for choice in (recipe.full, recipe.baseline))
    if full is not None and full[1].miou.mean > 0:
        changes["share"] = full[0].miou.mean / full[1].miou.mean
    if baseline is not None and baseline[1].cell != row.cell:
        own, other = baseline
        changes["gain"] = own.miou.mean - other.miou.mean
        changes["gain_interval"] = _gain_interval(own, other)
    return replace(row, **changes)  # type: ignore[arg-type]


def _side_by_side(row: CellScores, rows: Sequence[CellScores], choice: Choice) -> tuple[CellScores, CellScores] | None:
    """A cell beside the best one that has these names and on the other axes its own, each with common jobs only.

    The best is the one with the most folds and seeds in common: folds differ too much to compare one with another.
    """
    wanted = {**row.cell, **choice}
    pairs = [_in_common(row, other) for other in rows if choice and matches(other.cell, wanted)]
    best = max(pairs, key=lambda pair: (len(pair[1].outcomes), pair[1].miou.mean), default=None)
    return best if best and best[1].outcomes else None


def _in_common(row: CellScores, other: CellScores) -> tuple[CellScores, CellScores]:
    """Two cells with the folds and seeds alone that both have scores of."""
    common = _runs_of(row) & _runs_of(other)
    kept = [[one for one in cell.outcomes if (one.job.fold, one.job.seed) in common] for cell in (row, other)]
    return replace(row, outcomes=tuple(kept[0])), replace(other, outcomes=tuple(kept[1]))


def _runs_of(row: CellScores) -> set[tuple[str, int]]:
    return {(outcome.job.fold, outcome.job.seed) for outcome in row.outcomes}


def _gain_interval(row: CellScores, baseline: CellScores) -> Interval | None:
    own, other = scene_sums(row.outcomes), scene_sums(baseline.outcomes)
    shared = sorted(own.keys() & other.keys())
    if not shared:
        return None
    return bootstrap_gain(np.stack([own[key] for key in shared]), np.stack([other[key] for key in shared]))


def scene_sums(outcomes: Sequence[Outcome]) -> Scenes:
    """What the intervals are drawn from; scenes are added up over runs that score the same ground again."""
    sums: Scenes = {}
    for outcome in outcomes:
        data = outcome.job.config.data
        for scene, confusion in outcome.scenes.items():
            counted = np.stack([np.diag(confusion), confusion.sum(1), confusion.sum(0)])
            key = (f"{data.root}: {data.images}", scene)
            sums[key] = sums[key] + counted if key in sums else counted
    return sums
