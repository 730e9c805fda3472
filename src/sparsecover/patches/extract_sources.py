"""Images, labels and grids that belong together in a folder of many: Image_1, Label_1, Grid_1."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsecover.errors import DataError

_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg")
_VECTORS = (".gpkg", ".geojson", ".shp", ".parquet")


@dataclass(frozen=True)
class Source:
    """One scene to cut up; without ``grid`` a regular grid is used."""

    name: str
    image: Path
    labels: Path
    grid: Path | None = None


@dataclass(frozen=True)
class Sources:
    """What was found, and one line for each file without a partner."""

    sources: list[Source]
    problems: list[str]


def match_sources(
    root: Path,
    image: str = "image_*",
    labels: str = "label_*",
    grid: str | None = "grid_*",
    recursive: bool = False,
) -> Sources:
    """Match files by folder and by what the ``*`` of their pattern stands for; upper and lower case are the same.

    Args:
        image, labels, grid: names without their ending, with one ``*`` each. With ``grid`` None, or where no file has
            such a name, regular grids are used.

    Raises:
        DataError: no such folder, a pattern without ``*``, nothing found, or a name that is there twice.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.")
    files = sorted(p for p in (root.rglob("*") if recursive else root.iterdir()) if p.is_file())
    images = _keyed(files, image, _ENDINGS)
    masks = _keyed(files, labels, (*_ENDINGS, *_VECTORS))
    cells = _keyed(files, grid, _VECTORS) if grid is not None else {}
    if not images:
        raise DataError(f"No image named {image!r} in {root}. Give the pattern of the names, for example 'scene_*'.")
    problems = [f"{path} has no labels" for key, path in images.items() if key not in masks]
    problems += [f"{path} has no image" for key, path in masks.items() if key not in images]
    if cells:
        problems += [f"{path} has no grid" for key, path in images.items() if key not in cells]
    both = [key for key in images if key in masks and (not cells or key in cells)]
    sources = [Source(_name(images[key], root), images[key], masks[key], cells.get(key)) for key in both]
    return Sources(sources, problems)


def _name(path: Path, root: Path) -> str:
    """The path below ``root`` without its ending: folders tell images of the same name apart."""
    return path.relative_to(root).with_suffix("").as_posix()


def _keyed(files: Sequence[Path], pattern: str, endings: tuple[str, ...]) -> dict[tuple[Path, str], Path]:
    """Files by their folder and the part of the name under the ``*``."""
    if pattern.count("*") != 1:
        raise DataError(f"The pattern {pattern!r} needs exactly one *, which stands for what the names share.")
    before, after = (re.escape(part) for part in pattern.split("*"))
    expression = re.compile(f"{before}(.+){after}", re.IGNORECASE)
    keyed: dict[tuple[Path, str], Path] = {}
    for path in files:
        match = expression.fullmatch(path.stem)
        if match is None or path.suffix.lower() not in endings:
            continue
        key = path.parent, match.group(1).lower()
        if key in keyed:
            raise DataError(f"{keyed[key]} and {path} have the same number; rename one or narrow the pattern.")
        keyed[key] = path
    return keyed
