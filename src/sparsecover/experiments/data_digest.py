"""Digests of the files that a configuration reads, remembered so that unchanged files are read once."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsecover.atomic import write_file
from sparsecover.config import Config
from sparsecover.datasets.layouts import LAYOUTS
from sparsecover.datasets.layouts.masks import with_masks
from sparsecover.errors import SceneError
from sparsecover.raster.gdal import open_raster


class DataDigests:
    """SHA-256 of datasets.

    Args:
        memory: file in which digests of single files are kept, by path, size and time of change.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._files: dict[str, list[Any]] = _read(memory)
        self._known: dict[str, str] = {}

    def of(self, config: Config) -> str:
        """Digest of scenes, their masks, labels, published sides, and of every other file that the configuration names.

        Raises:
            DataError: the data is not there.
        """
        data = config.data.model_copy(update={"simulate": None, "resize": None, "bands": None})
        named = sorted(_named_files(config.to_dict()))
        key = json.dumps([data.model_dump(mode="json"), *map(str, named)])
        if key not in self._known:
            digest = hashlib.sha256()
            for entry in with_masks(LAYOUTS[data.dataset](data), data).entries:
                masks = () if entry.mask is None else (entry.mask,)
                paths = (*entry.images, *masks, *_with_companions(entry.labels))
                read = [_read_from(path) for path in paths]
                files = [self._digest(file) for of_path, _ in read for file in of_path]
                said = [as_what for _, as_what in read]
                digest.update(repr((entry.name, entry.split, entry.windows, files, said)).encode())
            digest.update("".join(self._digest(path) for path in named).encode())
            self._known[key] = digest.hexdigest()
        return self._known[key]

    def remember(self) -> None:
        """Write the memory."""
        write_file(self._memory, json.dumps(self._files))

    def _digest(self, path: Path) -> str:
        about = path.stat()
        state = [about.st_size, about.st_mtime_ns]
        known = self._files.get(str(path.absolute()))
        if known is None or known[:2] != state:
            with path.open("rb") as file:
                known = [*state, hashlib.file_digest(file, "sha256").hexdigest()]
            self._files[str(path.absolute())] = known
        return str(known[2])


def _read(memory: Path) -> dict[str, list[Any]]:
    try:
        return dict(json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # none yet, or cut off by a full disk: files are read again
        return {}


def _with_companions(labels: Path) -> list[Path]:
    """A label file, and where it is a shapefile the attributes beside it."""
    return sorted(labels.parent.glob(f"{labels.stem}.*")) if labels.suffix.lower() == ".shp" else [labels]


def _read_from(path: Path) -> tuple[list[Path], str]:
    """A file and, of a raster, those that it is read with (headers, masks, what a virtual one shows), and as what.

    Viewers write statistics and overviews beside a raster, into files that may also say where it lies and what is no
    data: of these only what they say counts.
    """
    try:
        with open_raster(str(path)) as opened:
            files = [Path(file) for file in opened.files if not file.lower().endswith((".aux.xml", ".ovr"))]
            as_what = (opened.nodatavals, tuple(opened.transform), str(opened.crs), opened.scales, opened.offsets)
    except SceneError:  # vector labels, or a file that the jobs will refuse
        return [path], ""
    return [path, *sorted(file for file in files if file.is_file() and not file.samefile(path))], repr(as_what)


def _named_files(value: Any) -> Iterator[Path]:
    """Files that a value of a configuration names: class tables, split plans, lists, weights.

    Names of classes, networks and kinds are none, whatever lies beside where the command is run.
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _named_files(inner)
    elif isinstance(value, str) and len(value) < 4096 and ("." in value or "/" in value) and Path(value).is_file():
        yield Path(value)
