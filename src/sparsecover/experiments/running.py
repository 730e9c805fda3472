"""Jobs in processes of their own, several at once where asked; what is finished already is not done again."""

import json
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from sparsecover.atomic import write_file
from sparsecover.experiments.jobs import Job
from sparsecover.experiments.outcome import RESULT, Outcome

_IMPORTED = ["sparsecover.experiments.work", "sklearn.ensemble", "matplotlib.figure", "matplotlib.backends.backend_agg"]
"""What the process that others are forked from imports once for all."""

_STOPPED = (-9, -15, 128 + 15)
"""Exit codes after SIGKILL and SIGTERM, the last of one that saved its state; not every system names the first."""


@dataclass(frozen=True)
class Task:
    """A job with its folder and the digest under which its result is kept."""

    job: Job
    folder: Path
    digest: str

    @property
    def begun(self) -> bool:
        """Whether it was ever begun."""
        return self.folder.is_dir()

    def outcome(self) -> Outcome | None:
        """What the job came to; None where it has not ended, or with other settings or data."""
        try:
            result: dict[str, Any] = json.loads((self.folder / RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Outcome.from_result(self.job, self.folder, result) if result.get("digest") == self.digest else None


@dataclass
class _Running:
    task: Task
    process: Any
    slot: int


def run_tasks(
    tasks: Sequence[Task],
    *,
    parallel: int,
    device: str,
    begun: Callable[[Task], None],
    ended: Callable[[Task, Outcome], None],
) -> None:
    """Run jobs, at most ``parallel`` at once.

    Args:
        begun: told of each job when it begins.
        ended: told of each job when it has ended, well or not.

    Raises:
        KeyboardInterrupt, SystemExit: as they came, after the jobs at work were asked to save their state and have.
    """
    waiting, running = deque(tasks), dict[int, _Running]()
    context = _context()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                slot = min(set(range(parallel)) - {one.slot for one in running.values()})
                one = _start(context, waiting.popleft(), device, slot, parallel)
                running[one.process.sentinel] = one
                begun(one.task)
            for sentinel in wait(list(running)):
                one = running.pop(int(sentinel))  # type: ignore[arg-type]
                ended(one.task, _outcome(one))
    except BaseException:
        _stop(running)
        raise


def _context() -> BaseContext:
    """Processes are forked from one that has imported everything, where the system can; others start anew."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _start(context: BaseContext, task: Task, device: str, slot: int, parallel: int) -> _Running:
    (task.folder / RESULT).unlink(missing_ok=True)
    arguments = (task.job, task.folder, task.digest, device, slot, parallel)
    process = context.Process(target=_work, args=arguments, name=task.job.name)  # type: ignore[attr-defined]
    process.start()
    return _Running(task, process, slot)


def _work(*arguments: Any) -> None:
    """Imported in the process that works: torch is not needed by the one that waits."""
    from sparsecover.experiments.work import work

    work(*arguments)


def _outcome(one: _Running) -> Outcome:
    """The result that was written, or that the process ended without one."""
    one.process.join()
    found = one.task.outcome()
    if found is not None:
        return found
    code = one.process.exitcode
    killed = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    hint = "; memory was probably short: fewer --jobs, or a smaller train.batch_size" if code == -9 else ""
    error = f"The process {killed}{hint}. Its last words are in {one.task.folder / 'log.txt'}."
    result = {"digest": one.task.digest, "name": one.task.job.name, "error": error, "fault": code not in _STOPPED}
    one.task.folder.mkdir(parents=True, exist_ok=True)
    write_file(one.task.folder / RESULT, json.dumps(result, indent=1))
    return Outcome.from_result(one.task.job, one.task.folder, result)


def _stop(running: Mapping[int, _Running]) -> None:
    """Ask each process once to save its state and end, and wait; at a second Ctrl-C end them."""
    for one in running.values():
        one.process.terminate()
    try:
        for one in running.values():
            one.process.join()
    except BaseException:
        for one in running.values():
            one.process.kill()
        raise
