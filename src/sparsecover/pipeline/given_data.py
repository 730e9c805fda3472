"""What ``map`` was given, as a configuration says it: ``train`` then takes the same scenes and labels."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from sparsecover.config import Config
from sparsecover.labels import is_vector
from sparsecover.labels.features import split_layer
from sparsecover.pipeline.inputs import LabelOptions
from sparsecover.pipeline.provenance import without_secrets
from sparsecover.raster.gdal import is_local

_UNSAID = {
    "background": "--background", "labelled_area": "--labelled-area", "width_m": "--width", "radius_m": "--radius",
    "conflict": "--conflict",
}  # fmt: skip
_FILES = "put them below one folder, or list them in a table (data.dataset: table)"

_MASK = "cut it into one for each image, named alike, and give data.mask a pattern that finds them"


@dataclass(frozen=True)
class GivenData:
    """Settings by dotted key, and in words what no setting can say."""

    settings: dict[str, Any]
    unsaid: tuple[str, ...]

    def in_config(self, config: Config, *, keep_split: bool = False) -> Config:
        """The configuration with these settings; with ``keep_split`` its kind of split stays."""
        dropped = {"split.by"} if keep_split else set()
        return config.with_changes({key: value for key, value in self.settings.items() if key not in dropped})

    def header(self, command: str) -> str:
        """Comment lines for the top of a configuration file: how the map was made, and what is to be added."""
        lines = [f"Made by: {command}"] if command else []
        if self.unsaid:
            lines += ["This file does not hold all that the map was made from; before `train` takes it:"]
            lines += [f"- {text}" for text in self.unsaid]
        open_ended = [key for key in self.settings if "/*" in str(self.settings[key])]
        lines += [f"{key} finds files that are added to the folder later, too." for key in open_ended]
        return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def given_data(
    scenes: Sequence[str | Path],
    labels: Sequence[str | Path],
    options: LabelOptions,
    *,
    stack: bool = False,
    bands: Sequence[int] | None = None,
    mask: str | Path | None = None,
    resolution: float | None = None,
) -> GivenData:
    """The arguments of `make_map` of the same names as settings of ``data``, ``classes`` and ``split``."""
    root = _root([*scenes, *labels, *([mask] if mask else [])])
    found = {
        "images": _pattern(scenes, root, ";" if stack else None),
        "labels": _pattern(labels, root) if _pair_up(scenes, labels, stack) else None,
        "mask": _pattern([mask], root) if mask and (stack or len(scenes) == 1) else None,
    }
    given: dict[str, Sequence[str | Path]] = {"images": scenes, "labels": labels, "mask": [mask] if mask else []}
    advice = {"mask": _MASK} if not stack and len(scenes) > 1 else {}
    lost = [
        f"{key}: {', '.join(without_secrets(str(file)) for file in files)}: {advice.get(key, _FILES)}"
        for key, files in given.items()
        if files and not found[key]
    ]
    plain = LabelOptions()
    asked = {name: getattr(options, name) for name in _UNSAID if getattr(options, name) != getattr(plain, name)}
    if asked:
        listed = " ".join(f"{_UNSAID[name]} {value}" for name, value in asked.items())
        lost.append(
            f"labels: let `sparsecover labels burn` with {listed} make a label raster below data.root, for data.labels"
        )
    settings = {
        "data.root": None if root is None else root.as_posix(),
        **{f"data.{key}": pattern for key, pattern in found.items()},
        "data.field": options.field,
        "data.unlabelled": list(options.unlabelled) or None,
        "data.bands": list(bands) if bands else None,
        "data.resolution": resolution,
        "classes": None if options.classes is None else Path(options.classes).absolute().as_posix(),
        # As `map` does, whole polygons and clusters of points are held out.
        "split.by": "polygon" if options.background is None and is_vector(labels[0]) else None,
    }
    return GivenData({key: value for key, value in settings.items() if value is not None}, tuple(lost))


def _root(files: Sequence[str | Path]) -> Path | None:
    """The folder that all files lie below; None without one."""
    try:
        return Path(os.path.commonpath([absolute(file).parent for file in files if is_local(str(file))]))
    except ValueError:  # none, or on several drives
        return None


def absolute(file: str | Path) -> Path:
    """Where a file lies, without the way there; links keep their names."""
    return Path(os.path.normpath(Path(file).absolute()))


def _pattern(files: Sequence[str | Path], root: Path | None, between: str | None = None) -> str | None:
    """A pattern below ``root`` that finds these files and no others, or one for each, joined; None without any."""
    paths = [absolute(file) for file in files]
    if root is None or not all(path.is_file() and _can_be_found(path.relative_to(root)) for path in paths):
        return None
    if len(paths) == 1 or between is not None:
        return (between or "").join(escape(path.relative_to(root).as_posix()) for path in paths)
    folder, ending = paths[0].parent, paths[0].suffix
    if {*paths} != {path for path in folder.glob(f"*{ending}") if path.is_file()}:
        return None
    return escape(folder.relative_to(root).as_posix()) + f"/*{ending}"


def _can_be_found(path: Path) -> bool:
    """Whether a pattern reaches a file: ``;`` parts patterns, and hidden files and those without an ending are not."""
    return bool(path.suffix) and not path.name.startswith(".") and ";" not in path.as_posix()


def _pair_up(scenes: Sequence[str | Path], labels: Sequence[str | Path], stack: bool) -> bool:
    """Whether a dataset of the kind ``folder`` gives each scene the labels that ``map`` gave it."""
    stems = [Path(scene).stem for scene in scenes]
    if any(split_layer(file)[1] for file in labels):
        return False
    if len(labels) == 1:
        return stack or len(scenes) == 1 or Path(labels[0]).stem not in stems
    return stems == [Path(file).stem for file in labels]
