"""Files that are whole or not there at all, whatever happens while they are written."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sparsecover.errors import OutputError


def write_file(path: Path, content: str | bytes) -> None:
    """Write a small file (text in UTF-8) as `replacing` does.

    Raises:
        OutputError: writing failed.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that replaces it when the block ends well and vanishes when it does not.

    The bytes are on the disk before the rename, so that after a power cut the name holds the old file or the new.

    Raises:
        OutputError: writing failed.
    """
    # A fixed name: what a killed process left behind is overwritten by the next one.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written: {reason}. A file of that name is left as it was.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    with contextlib.suppress(OSError):  # some file systems of networks cannot; the file is there all the same
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets folders be opened (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
