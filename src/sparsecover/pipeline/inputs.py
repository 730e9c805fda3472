"""What a user gives the main job: scenes and labels, opened, aligned and described."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import DataError, LabelError, LabelsElsewhere
from sparsecover.labels import LabelFile, LabelRaster, LabelSet, check_memory, open_labels, valid_mask
from sparsecover.raster import Scene, drop_empty_bands, open_scene

WHOLE_SCENE = "scene"

Labels = LabelRaster | LabelFile
Pair = tuple[Scene, Labels]
BurntPair = tuple[Scene, LabelRaster]


@dataclass(frozen=True)
class LabelOptions:
    """How label files are to be understood; the options of the command line with the same names."""

    field: str | None = None
    unlabelled: tuple[int, ...] = ()
    classes: Path | None = None
    background: str | None = None
    labelled_area: str | Path | None = None
    width_m: float | None = None
    radius_m: float | None = None
    conflict: Literal["unlabelled", "raise", "last"] = "unlabelled"

    def __post_init__(self) -> None:
        if self.background is not None and self.labelled_area is None:
            raise LabelError(
                f"--background {self.background} needs --labelled-area: a polygon file inside which everything without "
                "a label is background, or 'scene' for all valid pixels. Unlabelled is not background by itself."
            )


@dataclass(frozen=True)
class Inputs:
    """Scenes to map and, for those that have some, their labels.

    Attributes:
        scenes: at the resolution to work at.
        to_map: the same scenes in their own grids.
        pairs: scenes of ``scenes`` with their labels.
        scheme: the classes.
        table: what was found by class.
        notes: what was dropped or changed.
    """

    scenes: tuple[Scene, ...]
    to_map: tuple[Scene, ...]
    pairs: tuple[BurntPair, ...]
    scheme: ClassScheme
    table: list[dict[str, Any]]
    notes: list[str]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Labelled pixels by class over all scenes, int64 [K]."""
        return count_labels(self.pairs, len(self.scheme))

    @property
    def pixels(self) -> int:
        """Pixels of the labelled scenes."""
        return sum(scene.grid.window.size for scene, _ in self.pairs)


def count_labels(pairs: Sequence[Pair], num_classes: int) -> npt.NDArray[np.int64]:
    """Labelled pixels by class over some scenes, int64 [K]."""
    counts = np.zeros(num_classes, np.int64)
    for _, labels in pairs:
        counts += labels.counts(num_classes)
    return counts


def open_inputs(
    scenes: Sequence[str | Path],
    labels: str | Path | Sequence[str | Path],
    options: LabelOptions,
    *,
    stack: bool = False,
    bands: Sequence[int] | None = None,
    mask: str | Path | None = None,
    resolution: float | None = None,
) -> Inputs:
    """Open scenes and place the labels on them.

    Args:
        scenes: raster files; with ``stack`` they are the bands of one scene.
        labels: one file for all scenes, or one for each in their order.
        options: how the labels are to be understood.
        bands: band numbers from 1; None takes all.
        mask: raster on the scene's ground; not 0 means no data.
        resolution: pixel size in metres to work at.

    Raises:
        SceneError, LabelError, GridError: files that cannot be used.
        DataError: another number of labels than of scenes, scenes with different bands.
    """
    opened = _open_scenes(scenes, stack, bands, mask)
    opened, notes = (opened, []) if bands else drop_empty_bands(opened)
    files = [labels] if isinstance(labels, (str, Path)) else list(labels)
    if len(files) not in (1, len(opened)):
        raise DataError(f"{len(files)} label files given for {len(opened)} scenes; give one for all, or one for each.")
    per_scene = files if len(files) == len(opened) else files * len(opened)
    itself = {Path(path).resolve() for path in scenes} & {Path(file).resolve() for file in files}
    if itself:
        raise DataError(f"{itself.pop()} was given as scene and as labels; give the file that holds the labels.")
    working = opened if resolution is None else [scene.at_resolution(resolution) for scene in opened]
    inputs = _place(working, opened, per_scene, options)
    return replace(inputs, notes=[*notes, *inputs.notes])


def _open_scenes(
    paths: Sequence[str | Path],
    stack: bool,
    bands: Sequence[int] | None,
    mask: str | Path | None,
) -> list[Scene]:
    opened = [open_scene(list(paths), bands=bands)] if stack else [open_scene(path, bands=bands) for path in paths]
    first = opened[0]
    for scene in opened[1:]:
        if len(scene.bands) != len(first.bands):
            raise DataError(
                f"{first.name} has {len(first.bands)} bands, {scene.name} {len(scene.bands)}; one network needs the "
                "same bands everywhere. Choose them with --bands, or map the scenes one by one."
            )
    return opened if mask is None else [scene.masked(mask) for scene in opened]


def _place(scenes: list[Scene], to_map: list[Scene], files: Sequence[str | Path], options: LabelOptions) -> Inputs:
    """Put each scene's labels on it; scenes without any are mapped only."""
    given = ClassScheme.from_config(options.classes) if options.classes else None
    notes: list[str] = []
    found: list[tuple[Scene, LabelSet]] = []
    elsewhere: list[LabelsElsewhere] = []
    for scene, file in zip(scenes, files, strict=True):
        check_memory(scene.grid)
        valid = valid_mask(scene)
        if not valid.any():
            notes.append(f"{scene.name} holds only nodata; its map will too.")
            continue
        try:
            found.append((scene, open_labels(file, scene.grid, scheme=given, valid=valid, **label_arguments(options))))
        except LabelsElsewhere as error:
            elsewhere.append(error)
    if not found:
        raise elsewhere[0] if elsewhere else DataError(f"There is nothing to train on. {' '.join(notes)}")
    scheme = given or ClassScheme.union([labels.scheme for _, labels in found])
    notes += [f"{scene.name}: {note}" for scene, labels in found for note in labels.notes]
    notes += [f"Mapped without labels of its own: {error}" for error in elsewhere]
    pairs = tuple((scene, in_scheme(labels, scheme)) for scene, labels in found)
    table = _table([labels for _, labels in found], scheme)
    return Inputs(tuple(scenes), tuple(to_map), pairs, scheme, table, notes)


def in_scheme(labels: LabelSet, scheme: ClassScheme) -> LabelRaster:
    """The labels with the class indices of a scheme that has all their classes."""
    if labels.scheme == scheme:
        return labels.raster
    lookup = np.full(256, UNLABELLED, np.uint8)
    lookup[: len(labels.scheme)] = [scheme.find(land) for land in labels.scheme.classes]
    raster = labels.raster
    shapes = None if raster.shapes is None else raster.shapes.recoded(lookup)
    return replace(raster, values=lookup[raster.values], scheme=scheme, shapes=shapes)


def label_arguments(options: LabelOptions) -> dict[str, Any]:
    """What was asked for, without defaults: a label raster refuses what only vectors can follow."""
    given = {
        "field": options.field,
        "background": options.background,
        "labelled_area": None if options.labelled_area == WHOLE_SCENE else options.labelled_area,
        "width_m": options.width_m,
        "radius_m": options.radius_m,
        "conflict": None if options.conflict == "unlabelled" else options.conflict,
    }
    return {"unlabelled": options.unlabelled} | {name: value for name, value in given.items() if value is not None}


def _table(found: Sequence[LabelSet], scheme: ClassScheme) -> list[dict[str, Any]]:
    """Pixels and features by class over all scenes, in the codes and names of the common scheme."""
    sums = [Counter(pixels=0, features=0) for _ in scheme.classes]
    for labels in found:
        for land, row in zip(labels.scheme.classes, labels.table, strict=True):
            sums[scheme.find(land)].update(pixels=int(str(row["pixels"])), features=int(str(row["features"])))
    return [{"code": land.code, "name": land.name, **count} for land, count in zip(scheme.classes, sums, strict=True)]
