"""Result folders and small files: prepared before the work, whole or not there at all."""

import os
import tempfile
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from sparsecover.errors import OutputError


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


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file (text in UTF-8) under a temporary name and rename it when it is whole.

    Raises:
        OutputError: the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


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
