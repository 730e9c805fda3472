"""How GDAL is called: its settings, open handles by thread and process, and what went wrong in plain words."""

import math
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError, stack_errors
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from sparsecover.errors import SceneError
from sparsecover.grid import Window

GDAL_ERRORS = (RasterioError, CPLE_BaseError)

# GDAL would take 5% of the machine's memory for its block cache, which on a large server is more than a map needs in
# all. This holds two rows of 512-pixel blocks of three bands over 20,000 pixels; wider scenes are mapped in parts.
CACHE_BYTES = 64 * 2**20

# Windows drawn at random, as in training, come back to the same blocks again and again. This holds all of a scene of
# 10,000 x 10,000 pixels with three bands of one byte, so that each of its blocks is decoded once.
WINDOW_CACHE_BYTES = 384 * 2**20
MAX_HANDLES = 32  # a set may hold thousands of patches; a process may hold 1024 open files

_EXPECTED = "Expected a raster that GDAL reads: GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG."
_BROKEN = "If it should be one, it is truncated or corrupt: copy or download it again."

_local = threading.local()
_filters = threading.RLock()


@contextmanager
def environment(cache_bytes: int = CACHE_BYTES) -> Iterator[rasterio.Env]:
    """GDAL's settings while this package reads and writes."""
    settings = {
        "GDAL_CACHEMAX": cache_bytes,
        # Truncated files must not pass for images: libjpeg fills the rest with grey and only warns, and the shortcut
        # for whole PNG files returns what happened to lie in memory.
        "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
        "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
    }
    with rasterio.Env(**settings) as env:
        try:
            yield env
        except GDAL_ERRORS:
            with stack_errors():
                pass  # this forgets the error, which rasterio would raise once more for the next file
            raise


def read_in_order() -> None:
    """Declare that this thread goes through its scene once, in order: few of the decoded blocks are needed again."""
    _local.in_order = True


def cache_for(window: Window, width: int, once_bytes: int = CACHE_BYTES, tile_px: float = math.inf) -> int:
    """How much of what it decodes for a window of a raster so many columns wide a thread keeps, in bytes.

    It is ``once_bytes`` for what is gone through once: strips as wide as the raster, tiles of at least ``tile_px``, and
    all windows of a thread that declared so. Other windows share blocks with those that follow.
    """
    once = window.width == width or window.size >= tile_px or getattr(_local, "in_order", False)
    return once_bytes if once else WINDOW_CACHE_BYTES


def available_formats() -> frozenset[str]:
    """GDAL's short names of the formats that can be read or written here."""
    with environment() as env:
        return frozenset(env.drivers())


@contextmanager
def georeference_optional() -> Iterator[None]:
    """Silence rasterio's warning about files without georeferencing: they are welcome, and their grid says so."""
    with _filters, warnings.catch_warnings():  # the filters are the process's: one thread at a time
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def stamp(path: str) -> tuple[int, int]:
    """Modification time and size, which tell a rewritten file from the one first opened; zeros for remote files."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return 0, 0
    return status.st_mtime_ns, status.st_size


def handle(path: str, version: tuple[int, int]) -> Any:
    """This thread's open dataset of a file. The least recently used are closed beyond ``MAX_HANDLES``.

    Raises:
        SceneError: the file cannot be opened.
    """
    handles: OrderedDict[tuple[int, str, tuple[int, int]], Any] = _local.__dict__.setdefault("handles", OrderedDict())
    key = (os.getpid(), path, version)  # GDAL's handles must not be used on the other side of a fork
    if key not in handles:
        handles[key] = open_raster(path)
    handles.move_to_end(key)
    while len(handles) > MAX_HANDLES:
        (pid, _, _), dataset = handles.popitem(last=False)
        if pid == os.getpid():
            dataset.close()
    return handles[key]


def open_raster(path: str) -> Any:
    """A new dataset for reading.

    Raises:
        SceneError: with the cause in plain words.
    """
    try:
        with environment(), georeference_optional():
            return rasterio.open(path)
    except (*GDAL_ERRORS, OSError, ValueError) as error:
        raise SceneError(f"Cannot open {path}: {_why(path, error)}") from error


def reason(error: BaseException) -> str:
    """What GDAL said; rasterio often keeps that in the cause."""
    return " ".join(str(error.__cause__ or error).split()).rstrip(".")


def is_local(path: str) -> bool:
    """Whether a name is an ordinary path, not one of GDAL's virtual file systems, a URL or a part of a container."""
    looks_plain = ":" not in path[2:]  # from 2 on: a drive letter is no scheme
    return not path.startswith("/vsi") and (looks_plain or Path(path).exists())


def _why(path: str, error: BaseException) -> str:
    said = f"GDAL says: {reason(error)}."
    if not is_local(path):
        return f"{said} {_EXPECTED} Check the address, the network and the access rights."
    place = Path(path)
    if place.is_dir():
        return f"it is a directory. Give the raster files in it. {_EXPECTED}"
    if not place.exists():
        return f"there is no such file. {_EXPECTED} Check the spelling; the current directory is {Path.cwd()}."
    try:
        with place.open("rb") as file:
            start = file.read(512)
    except OSError as denied:
        return f"the file cannot be read ({denied.strerror}). Check the access rights."
    return f"{_nature(start) or said} {_EXPECTED}" + ("" if _nature(start) else f" {_BROKEN}")


def _nature(start: bytes) -> str:
    """What the first bytes of an unreadable file show it to be; empty if nothing."""
    if not start:
        return "the file is empty (0 bytes). Copy or download it again."
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the image itself. Fetch the image with `git lfs pull`."
    if start.startswith((b"SQLite format 3", b"PAR1")) or start.lstrip().startswith((b'{"type"', b'{ "type"')):
        return "it looks like vector data. Were scene and labels given the wrong way round?"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, so a download went wrong. Download it again."
    return ""
