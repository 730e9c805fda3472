"""The verb ``run_experiment``: a recipe in; tables, plots, sheets and a report out, continued where it stopped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsecover.datasets import KNOWN
from sparsecover.errors import OutputError
from sparsecover.experiments.data_digest import DataDigests
from sparsecover.experiments.jobs import Job, plan_jobs
from sparsecover.experiments.outcome import Outcome
from sparsecover.experiments.publishing import publish, write_tables
from sparsecover.experiments.recipe import Recipe
from sparsecover.experiments.running import Task, run_tasks
from sparsecover.experiments.shelf import find_recipe
from sparsecover.experiments.summary import CellScores
from sparsecover.experiments.tables import failures
from sparsecover.metrics import miou
from sparsecover.pipeline import download_known
from sparsecover.pipeline.files import results_in
from sparsecover.progress import Reporter, Silent


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """What a study came to.

    Attributes:
        out: folder of results.csv, summary.csv, summary.md, report.html, plots/, sheets/ and jobs/.
        recipe: as it was run.
        rows: scores by cell of the grid.
        outcomes: of the jobs that ended, by name.
    """

    out: Path
    recipe: Recipe
    rows: list[CellScores]
    outcomes: Mapping[str, Outcome]

    @property
    def failures(self) -> list[tuple[str, str]]:
        """What failed and why, once for jobs that failed for the same reason."""
        return failures(self.rows)

    @property
    def exit_code(self) -> int:
        """0; 2 where jobs failed, 1 where one did by our own fault."""
        failed = [outcome for outcome in self.outcomes.values() if outcome.error is not None]
        return 0 if not failed else 1 if any(outcome.fault for outcome in failed) else 2


def run_experiment(
    recipe: str | Path,
    out: str | Path,
    *,
    quick: bool = False,
    jobs: int = 1,
    seeds: Iterable[int] = (),
    settings: Sequence[str] = (),
    device: str = "auto",
    download: bool = False,
    reporter: Reporter | None = None,
) -> ExperimentResult:
    """Run a study, or what is left of it.

    Each job is a training with its scores, in a process and a folder of its own (``jobs/NAME-DIGEST``). Jobs that are
    finished with the same settings and data are taken as they are; one that was stopped goes on; one that failed is
    shown, does not keep the others from running, and is tried again the next time.

    Args:
        recipe: a file, or the name of a recipe that comes with the package.
        out: folder, made if it is not there.
        quick: the recipe's short form.
        jobs: processes at once.
        seeds: instead of the recipe's.
        settings: ``dotted.key=value``, changes of the recipe's base configuration.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        download: fetch the recipe's dataset first where it is a known one.
        reporter: listens.

    Raises:
        ConfigError: no such recipe, or one that cannot be meant.
        DataError: its data is not there.
        KeyboardInterrupt, SystemExit: stopped by Ctrl-C or SIGTERM; the tables of what is done are written.
    """
    reporter, path = reporter or Silent(), find_recipe(recipe)
    plan = Recipe.from_yaml(path).adapted(quick=quick, settings=settings, seeds=seeds)
    planned = plan_jobs(plan, path.parent)  # before a folder is made: what cannot be meant leaves none
    _check_folder(Path(out))
    if download:
        _download(planned, reporter)
        planned = plan_jobs(plan, path.parent)  # paths below the recipe are taken where they exist
    with results_in(Path(out), "report.html", overwrite=True) as folder:  # data that is not there leaves none
        tasks = _tasks(planned, folder, reporter)
    study = _Study(plan, folder, tasks, reporter)
    reporter.stage(f"{len(tasks)} jobs, {len(study.outcomes)} of them finished before")
    reporter.progress(len(study.outcomes), len(tasks))
    left = [task for task in tasks if task.job.name not in study.outcomes]
    if not left:
        reporter.note("There is nothing left to train; tables and report are written anew.")
    try:
        run_tasks(left, parallel=max(1, jobs), device=device, begun=study.begun, ended=study.ended)
    except (KeyboardInterrupt, SystemExit) as stop:
        study.write_tables()
        how = f"The same command goes on from here; what is done is in {folder}."
        if isinstance(stop, KeyboardInterrupt):
            raise KeyboardInterrupt(how) from None
        stop.add_note(how)
        raise
    return study.publish()


def list_jobs(
    recipe: str | Path,
    out: str | Path,
    *,
    quick: bool = False,
    seeds: Iterable[int] = (),
    settings: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> list[tuple[str, str]]:
    """Name and state (done, failed, begun, to do) of each job of a study; nothing is run.

    Arguments as ``run_experiment``.
    """
    path, folder = find_recipe(recipe), Path(out)
    plan = Recipe.from_yaml(path).adapted(quick=quick, settings=settings, seeds=seeds)
    _check_folder(folder)
    tasks = _tasks(plan_jobs(plan, path.parent), folder, reporter or Silent())
    return [(task.job.name, _state(task)) for task in tasks]


def _state(task: Task) -> str:
    outcome = task.outcome()
    if outcome is None:
        return "begun" if task.folder.is_dir() else "to do"  # stopped, or running elsewhere
    return "done" if outcome.error is None else "failed"


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose report is not a study's."""
    if (folder / "report.html").exists() and not any((folder / ours).exists() for ours in ("jobs", "results.csv")):
        raise OutputError(f"{folder} holds a report.html that is not of a study. Give another --out.")


def _tasks(jobs: Sequence[Job], folder: Path, reporter: Reporter) -> list[Task]:
    """Each job with its folder; the files that it reads are looked at."""
    reporter.stage("Comparing data with what is finished")
    digests, tasks = DataDigests(folder / "data.json"), []
    for job in jobs:
        data = digests.of(job.config)
        tasks.append(Task(job, _job_folder(folder / "jobs", job, data), job.digest(data)))
    if folder.is_dir():
        digests.remember()
    return tasks


def _job_folder(parent: Path, job: Job, data: str) -> Path:
    """The folder of a job, also where the variation was called something else before."""
    name = job.folder(data)
    found = sorted(parent.glob(f"*-{name.rpartition('-')[2]}"))
    return found[0] if found else parent / name


def _download(jobs: Sequence[Job], reporter: Reporter) -> None:
    for data in {(job.config.data.dataset, job.config.data.root) for job in jobs}:
        if data[0] in KNOWN:
            download_known(*data, reporter=reporter)


class _Study:
    """Keeps the tables of a study up to date while its jobs end."""

    def __init__(self, recipe: Recipe, out: Path, tasks: Sequence[Task], reporter: Reporter) -> None:
        self.recipe, self.out, self.reporter = recipe, out, reporter
        self.jobs = [task.job for task in tasks]
        ended = {task.job.name: task.outcome() for task in tasks}
        self.outcomes = {name: outcome for name, outcome in ended.items() if outcome and outcome.error is None}

    def begun(self, task: Task) -> None:
        """Tell which job begins."""
        self.reporter.note(f"{task.job.name}: begun")

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Tell of a job's end and write the tables anew."""
        self.outcomes[task.job.name] = outcome
        self.write_tables()
        failed = outcome.error is not None
        said = f"failed: {outcome.reason}" if failed else f"mIoU {miou(outcome.confusion):.3f}, {outcome.seconds:.0f} s"
        self.reporter.note(f"{task.job.name}: {said}")
        self.reporter.progress(len(self.outcomes), len(self.jobs))

    def write_tables(self) -> None:
        """Those of all jobs, ended or not."""
        write_tables(self.out, self.recipe, self.jobs, self.outcomes)

    def publish(self) -> ExperimentResult:
        """Everything, from the jobs that have ended."""
        self.reporter.stage("Drawing")
        rows = publish(self.out, self.recipe, self.jobs, self.outcomes)
        return ExperimentResult(self.out, self.recipe, rows, self.outcomes)
