"""Folders for results, prepared before the work, and names in them."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from sparsecover.errors import OutputError

_WORTH_KEEPING = ("state.pt", "*.safetensors", "diverged.txt")


@contextlib.contextmanager
def results_in(
    folder: Path, result: str, *, resume: bool = False, overwrite: bool = False, ours: bool = True
) -> Iterator[Path]:
    """A folder for the results of what runs inside; other arguments and errors are those of `prepare_folder`.

    Where that fails or is stopped before anything was trained, a folder that was made here is removed with all that it
    holds. Where it is stopped later, the message tells how to go on. What other runs left below the folder is neither
    removed nor told of.

    Args:
        ours: False in a process that helps another one, which may be saving its state there: nothing is removed or
            told.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    prepare_folder(folder, result, resume, overwrite)
    start = _now(folder)
    try:
        yield folder
    except BaseException as stop:
        if not ours:
            raise
        kept = [file for pattern in _WORTH_KEEPING for file in folder.rglob(pattern)]
        if kept:
            done = resume or any(file.stat().st_mtime_ns >= start for file in kept)
            if done and not isinstance(stop, Exception) and not getattr(stop, "__notes__", ()):
                stop.add_note(f"{folder} holds what is done: the same command with --resume goes on from there.")
        elif new:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                for parent in new[1:]:
                    parent.rmdir()
        raise


def prepare_folder(folder: Path, result: str, resume: bool, overwrite: bool) -> Path:
    """Make a folder for results and see that it can be written to.

    Args:
        folder: made with its parents.
        result: the file whose presence means that earlier results are complete.
        resume: whether a stopped run is to go on here.
        overwrite: whether earlier results may be replaced.

    Raises:
        OutputError: not a folder, not writable, or it holds results that are not to be replaced.
    """
    if (folder / result).exists() and not (resume or overwrite):
        raise OutputError(f"{folder} holds {result} already. Give another --out, or --overwrite to replace it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"The folder {folder} cannot be written to ({error.strerror}); give another --out."
        ) from error
    return folder


def _now(folder: Path) -> int:
    """The time in nanoseconds by the clock that dates the files of a folder, which may be a server's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime_ns


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, numbered where they repeat; names that differ in case alone are one file on some systems.

    >>> unique_names(["a", "b", "A", "a_2"])
    ['a', 'b', 'A_2', 'a_2_2']
    """
    unique: list[str] = []
    taken: set[str] = set()
    for name in names:
        free = next(n for n in chain([name], (f"{name}_{i}" for i in count(2))) if n.casefold() not in taken)
        taken.add(free.casefold())
        unique.append(free)
    return unique
