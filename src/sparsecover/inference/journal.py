"""The record of finished strips beside an output, from which a stopped prediction goes on.

One file that only grows: a line with the settings, then one entry per strip, each with its length and checksum and
on the disk before the next is written. A process killed at any moment leaves at worst a broken last entry, which is
cut off. The output itself is written from the entries, so it is the same whether or not there was a stop.
"""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from sparsecover.errors import OutputError
from sparsecover.grid import Window
from sparsecover.inference.products import MapStrip

_HEAD = struct.Struct("<III")  # bytes of the description, bytes of the data, checksum of both
_MAGIC = b"sparsecover journal 1\n"
_LINE_LIMIT = 2**20
_DTYPES = ("uint8", "float32")
_LEVEL = 1  # of compression by runs, which maps are full of: quicker and smaller here than with a dictionary


class Journal:
    """Strips on disk. ``settings`` says what they were made with; ``resume`` takes them up again."""

    def __init__(self, path: Path, file: BinaryIO, settings: Mapping[str, Any]) -> None:
        self.path, self.settings, self._file = path, settings, file
        self._start = file.tell()
        self._disk = ThreadPoolExecutor(1, "journal")
        self._synced: Future[None] | None = None

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Any]) -> Self:
        """Begin a new journal, in place of an old one.

        Raises:
            OutputError: it cannot be written.
        """
        with _explained(path):
            file = path.open("w+b")
            try:
                file.write(_MAGIC + json.dumps(settings).encode() + b"\n")
                file.flush()
            except OSError:
                path.unlink()
                with contextlib.suppress(OSError):
                    file.close()
                raise
            return cls(path, file, settings)

    @classmethod
    def reopen(cls, path: Path) -> Self | None:
        """Take up a journal, or None where there is none or it was cut off within its first line."""
        if not path.is_file():
            return None
        with _explained(path):
            file = path.open("r+b")
            magic, line = file.readline(_LINE_LIMIT), file.readline(_LINE_LIMIT)
            if magic == _MAGIC and line.endswith(b"\n"):
                with contextlib.suppress(ValueError):
                    return cls(path, file, json.loads(line))
            file.close()
            return None

    def strips(self) -> Iterator[MapStrip]:
        """All whole entries; what follows the last of them is cut off, and the journal is ready for more."""
        with _explained(self.path):
            size = self.path.stat().st_size
            position = self._start
            while (entry := self._entry(position, size)) is not None:
                strip, position = entry
                yield strip
            self._file.truncate(position)
            self._file.seek(position)

    def _entry(self, position: int, size: int) -> tuple[MapStrip, int] | None:
        self._file.seek(position)
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        described, stored, checksum = _HEAD.unpack(head)
        end = position + _HEAD.size + described + stored
        if end > size:
            return None
        body = self._file.read(described + stored)
        if zlib.crc32(body) != checksum:
            return None
        return _decode(body[:described], body[described:]), end

    def append(self, strip: MapStrip) -> None:
        """Put a strip on the disk, which may go on for a while after the call.

        Raises:
            OutputError: the disk is full, or another reason: of this strip, or of the one before, if that showed only
                after its call.
        """
        description, data = _encode(strip)
        checksum = zlib.crc32(data, zlib.crc32(description))
        with _explained(self.path):
            self._wait()
            self._file.write(_HEAD.pack(len(description), len(data), checksum) + description + data)
            self._file.flush()
            # A slow disk takes a second, in which the strip can be written to the outputs.
            self._synced = self._disk.submit(os.fsync, self._file.fileno())

    def _wait(self) -> None:
        synced, self._synced = self._synced, None
        if synced is not None:
            synced.result()

    def close(self) -> None:
        """Keep the file for a later run, in which a last strip that did not reach the disk is computed again."""
        with contextlib.suppress(OSError):
            self._wait()
        self._disk.shutdown()
        with contextlib.suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """Delete the file: the outputs are whole, or cannot be."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _encode(strip: MapStrip) -> tuple[bytes, bytes]:
    window = strip.window
    description = {
        "window": [window.row, window.col, window.height, window.width],
        "arrays": [[name, str(a.dtype), list(a.shape)] for name, a in strip.arrays.items()],
        "counts": strip.counts.tolist(),
        "confidence_sum": strip.confidence_sum.hex(),
    }
    packer = zlib.compressobj(_LEVEL, strategy=zlib.Z_RLE)
    parts = [packer.compress(np.ascontiguousarray(array).data) for array in strip.arrays.values()]
    return json.dumps(description).encode(), b"".join([*parts, packer.flush()])


def _decode(description: bytes, data: bytes) -> MapStrip:
    known = json.loads(description)
    arrays, offset = {}, 0
    raw = zlib.decompress(data)
    for name, dtype, shape in known["arrays"]:
        assert dtype in _DTYPES, dtype
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(raw, dtype, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    counts = np.asarray(known["counts"], np.int64)
    return MapStrip(Window(*known["window"]), arrays, counts, float.fromhex(known["confidence_sum"]))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written: {reason}. Make room, or name another folder.") from error
