"""Images, labels and grids that belong together in a folder of many: Image_1, Label_1, Grid_1."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sparsecover.errors import DataError

_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg")
_VECTORS = (".gpkg", ".geojson", ".shp", ".parquet")

Key = tuple[Path, str]


@dataclass(frozen=True)
class Source:
    """One scene to cut up; without ``grid`` a regular grid is used, ``mask`` is not 0 where the image is nodata."""

    name: str
    image: Path
    labels: Path
    grid: Path | None = None
    mask: Path | None = None


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
    mask: str | None = None,
    recursive: bool = False,
) -> Sources:
    """Match files by folder and by what the ``*`` of their pattern stands for; upper and lower case are the same.

    Args:
        image, labels, grid, mask: names with one ``*`` each, with or without their ending, and the folder if each kind
            has its own: ``images/*``. With ``grid`` None, or where no file has such a name, regular grids are used.
        recursive: look in folders below, too; files that belong together lie below the same one.

    Raises:
        DataError: no such folder, a pattern without ``*``, nothing found, or a name that is there twice.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.")
    deep = recursive or any("/" in pattern for pattern in (image, labels, grid, mask) if pattern)
    files = sorted(p.relative_to(root) for p in (root.rglob("*") if deep else root.iterdir()) if p.is_file())

    def find(pattern: str | None, endings: tuple[str, ...]) -> dict[Key, Path]:
        return {} if pattern is None else _keyed(files, pattern, endings, recursive)

    images, targets = find(image, _ENDINGS), find(labels, (*_ENDINGS, *_VECTORS))
    cells, masks = find(grid, _VECTORS), find(mask, _ENDINGS)
    if not images:
        raise DataError(
            f"No image named {image!r} in {root}. Give the pattern of the names, for example 'scene_*' or 'images/*'."
        )
    needed = {"labels": targets, **({"grid": cells} if cells else {}), **({} if mask is None else {"mask": masks})}
    problems = [
        f"{root / path} has no {what}" + (" (--no-grid cuts all without)" if what == "grid" else "")
        for what, partners in needed.items()
        for key, path in images.items()
        if key not in partners
    ]
    problems += [f"{root / path} has no image" for key, path in targets.items() if key not in images]
    sources = [
        Source(
            path.with_suffix("").as_posix(),  # folders tell images of the same name apart
            root / path,
            root / targets[key],
            root / cells[key] if cells else None,
            root / masks[key] if masks else None,
        )
        for key, path in images.items()
        if all(key in partners for partners in needed.values())
    ]
    return Sources(sources, problems)


def _keyed(files: Sequence[Path], pattern: str, endings: tuple[str, ...], recursive: bool) -> dict[Key, Path]:
    """Files by the folder that the pattern's own folder lies in, and by the part of the name under the ``*``."""
    folder, _, name = pattern.lower().rpartition("/")
    if name.count("*") != 1 or "*" in folder:
        raise DataError(f"The pattern {pattern!r} needs exactly one * in the name: it stands for what the names share.")
    before, after = (re.escape(part) for part in name.split("*"))
    expression = re.compile(f"{before}(.+){after}", re.IGNORECASE)
    keyed: dict[Key, Path] = {}
    for path in files:
        above = _without_end(path.parent, PurePosixPath(folder).parts)
        match = expression.fullmatch(path.stem) or expression.fullmatch(path.name)
        if above is None or match is None or path.suffix.lower() not in endings or (above.parts and not recursive):
            continue
        key = above, match.group(1).lower()
        if key in keyed:
            raise DataError(f"{keyed[key]} and {path} have the same number; rename one or narrow the pattern.")
        keyed[key] = path
    return keyed


def _without_end(folder: Path, end: tuple[str, ...]) -> Path | None:
    """The folder above ``end``, which is in lower case; None where the folder does not end so."""
    start = len(folder.parts) - len(end)
    if start < 0 or tuple(part.lower() for part in folder.parts[start:]) != end:
        return None
    return Path(*folder.parts[:start])
