"""The verb ``run_experiment``: a recipe in; tables, plots, sheets and a report out, continued where it stopped."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from sparsecover.datasets import KNOWN
from sparsecover.errors import ConfigError, OutputError, counted
from sparsecover.experiments.data_digest import DataDigests
from sparsecover.experiments.jobs import Job, plan_jobs
from sparsecover.experiments.outcome import Outcome, state_of
from sparsecover.experiments.publishing import publish, write_tables
from sparsecover.experiments.recipe import Recipe
from sparsecover.experiments.running import Task, run_tasks
from sparsecover.experiments.shelf import find_recipe, paths_start
from sparsecover.experiments.sides import check_sides
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
        DataError: its data is not there, or cannot be divided as any of its jobs asks.
        KeyboardInterrupt, SystemExit: stopped by Ctrl-C or SIGTERM; the tables of what is done are written.
    """
    reporter, path = reporter or Silent(), find_recipe(recipe)
    plan = Recipe.from_yaml(path).adapted(quick=quick, settings=settings, seeds=seeds)
    planned = plan_jobs(plan, paths_start(path))  # before a folder is made: what cannot be meant leaves none
    _check_folder(Path(out))
    if download:
        _download(planned, reporter)
        planned = plan_jobs(plan, paths_start(path))  # paths below the recipe are taken where they exist
    with ExitStack() as alone:
        with results_in(Path(out), "report.html", overwrite=True) as folder:  # data that is not there leaves none
            alone.enter_context(_alone(folder))
            study = _Study(plan, folder, _tasks(planned, folder, reporter), reporter)
            if not study.outcomes:  # what is done is worth a new table, whatever became of the data
                reporter.stage("Trying the split")
                check_sides(task.job for task in study.left())
        return _run(study, max(1, jobs), device)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other commands from running a study in the same folder; the system ends that with the process."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise OutputError(
            f"Another command is running a study in {folder}. Wait for it, or give another --out."
        ) from None


def _run(study: "_Study", parallel: int, device: str) -> ExperimentResult:
    reporter, folder = study.reporter, study.out
    reporter.stage(f"{counted(study.tasks, 'job')}, {len(study.outcomes)} of them finished before")
    reporter.progress(len(study.outcomes), len(study.tasks))
    left = study.left()
    if not left:
        reporter.note("There is nothing left to train; tables and report are written anew.")
    try:
        run_tasks(left, parallel=parallel, device=device, begun=study.begun, ended=study.ended)
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
    tasks = _tasks(plan_jobs(plan, paths_start(path)), folder, reporter or Silent())
    return [(task.job.name, state_of(task.outcome(), task.begun)) for task in tasks]


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose report is not a study's."""
    if (folder / "report.html").exists() and not any((folder / ours).exists() for ours in ("jobs", "results.csv")):
        raise OutputError(f"{folder} holds a report.html that is not of a study. Give another --out.")


def _tasks(jobs: Sequence[Job], folder: Path, reporter: Reporter) -> list[Task]:
    """Each job with its folder; the files that it reads are looked at."""
    reporter.stage("Comparing data with what is finished")
    digests, tasks, folders = DataDigests(folder / "data.json"), [], dict[str, Path]()
    for job in jobs:
        data = digests.of(job.config)
        digest = job.digest(data)
        place = folders.setdefault(digest, _job_folder(folder / "jobs", job, data))
        tasks.append(Task(job, place, digest))
    if folder.is_dir():
        digests.remember()
    return tasks


def _job_folder(parent: Path, job: Job, data: str) -> Path:
    """The folder of a job, also where the variation was called something else before."""
    name = job.folder(data)
    found = sorted(parent.glob(f"*-{name.rpartition('-')[2]}"))
    return found[0] if found else parent / name


def _download(jobs: Sequence[Job], reporter: Reporter) -> None:
    every = sorted({(job.config.data.dataset, job.config.data.root) for job in jobs})
    if unknown := [name for name, _ in every if name not in KNOWN]:
        raise ConfigError(
            f"The recipe's data.dataset is {unknown[0]}, which cannot be fetched: leave out --download and give its "
            f"folder as --set data.root=FOLDER. To be fetched are {', '.join(KNOWN)}."
        )
    for name, root in every:
        download_known(name, root, reporter=reporter)


class _Study:
    """Keeps the tables of a study up to date while its jobs end."""

    def __init__(self, recipe: Recipe, out: Path, tasks: Sequence[Task], reporter: Reporter) -> None:
        self.recipe, self.out, self.tasks, self.reporter = recipe, out, tasks, reporter
        self.jobs = [task.job for task in tasks]
        ended = {task.job.name: task.outcome() for task in tasks}
        self.outcomes = {name: outcome for name, outcome in ended.items() if outcome and outcome.error is None}

    def left(self) -> list[Task]:
        """What is not done; cells with the same settings under two names are trained once."""
        first = dict[str, Task]()
        for task in self.tasks:
            if task.job.name not in self.outcomes:
                first.setdefault(task.digest, task)
        return list(first.values())

    def begun(self, task: Task) -> None:
        """Tell which job begins."""
        self.reporter.note(f"{task.job.name}: begun")

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Tell of a job's end and write the tables anew."""
        for twin in self.tasks:
            if twin.digest == task.digest:
                self.outcomes[twin.job.name] = replace(outcome, job=twin.job)
        self.write_tables()
        failed = outcome.error is not None
        said = f"failed: {outcome.reason}" if failed else f"mIoU {miou(outcome.confusion):.3f}, {outcome.seconds:.0f} s"
        self.reporter.note(f"{task.job.name}: {said}")
        self.reporter.progress(len(self.outcomes), len(self.jobs))

    def write_tables(self) -> None:
        """Those of all jobs, ended or not."""
        begun = {task.job.name for task in self.tasks if task.begun}
        earlier = {task.job.name: task.outcome() for task in self.tasks if task.job.name not in self.outcomes}
        failed = {name: outcome for name, outcome in earlier.items() if outcome}
        write_tables(self.out, self.recipe, self.jobs, {**failed, **self.outcomes}, begun)

    def publish(self) -> ExperimentResult:
        """Everything, from the jobs that have ended."""
        self.reporter.stage("Drawing")
        rows = publish(self.out, self.recipe, self.jobs, self.outcomes)
        return ExperimentResult(self.out, self.recipe, rows, self.outcomes)
