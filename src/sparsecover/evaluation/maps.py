"""Scoring a finished map file against truth: which class is which, then block by block."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED, ClassScheme, LandClass
from sparsecover.errors import DataError, GridError
from sparsecover.evaluation.assessment import Accumulator, Assessment
from sparsecover.grid import Grid, Window, tiles
from sparsecover.labels import LabelRaster
from sparsecover.raster import Scene

_STRIP_ROWS = 512
_BLOCKS_ALONG_SIDE = 12


def evaluate_map(
    map_scene: Scene,
    truth: LabelRaster,
    truth_scheme: ClassScheme,
    map_scheme: ClassScheme,
    confidence: Scene | None = None,
    background: str | None = None,
) -> tuple[Assessment, list[str]]:
    """Score a map of class codes on the labelled pixels of a truth on the same grid.

    Classes are matched by name, or by code where one side has no names. Intervals resample the truth's own label
    groups, else blocks of a twelfth of the map's longer side.

    Args:
        map_scene: one band of class codes.
        truth: labels on the map's grid.
        truth_scheme: the classes of ``truth``.
        map_scheme: the map's classes; those without a name are named by their code.
        confidence: one band, 0..100 in percent, on the map's grid.
        background: name of the class to leave out of ``miou_without_background``.

    Returns:
        The assessment, and notes on how classes were matched.

    Raises:
        GridError: grids that differ.
        DataError: several bands, fractions, codes without a class, or no class in common.
    """
    if len(map_scene.bands) != 1:
        raise DataError(f"{map_scene.name} has {len(map_scene.bands)} bands; a map has one band of class codes.")
    for grid, what in ((truth.grid, "truth"), (confidence.grid if confidence else map_scene.grid, "confidence")):
        if not grid.matches(map_scene.grid):
            raise GridError(f"The {what} does not lie on the grid of the map {map_scene.name}; read it on that grid.")
    scheme, lookup, notes = unite(map_scheme, truth_scheme)
    gathered = Accumulator(scheme)
    for window, labels in _labelled_strips(truth):
        codes, valid = _codes(map_scene, window)
        stated = None if confidence is None else confidence.read(window)[0][0].astype(np.float32) / 100
        groups = blocks(window, truth.grid) if truth.groups is None else truth.groups[window.slices]
        gathered.add_map(
            lookup[labels], _indices(codes, valid & (labels != UNLABELLED), map_scheme), stated, groups=groups
        )
    return gathered.assessment(background=background), notes


def unite(map_scheme: ClassScheme, truth_scheme: ClassScheme) -> tuple[ClassScheme, npt.NDArray[np.uint8], list[str]]:
    """One scheme for map and truth: the map's classes in their order, then those that only the truth has.

    Returns:
        The scheme; a table uint8 [256] from the truth's indices to the scheme's (255 stays 255); notes for the user.

    Raises:
        DataError: no class in common.
    """
    partners, by_code = _partners(map_scheme, truth_scheme)
    if not any(partner is not None for partner in partners):
        raise DataError(
            f"Map and truth have no class in common. Map: {_listed(map_scheme)}. Truth: {_listed(truth_scheme)}. "
            "Name the classes alike, or give the map's class table."
        )
    classes, lookup, notes = list(map_scheme.classes), np.full(256, UNLABELLED, np.uint8), []
    if by_code and _nameless(truth_scheme):
        taken = ClassScheme(tuple(classes[partner] for partner in partners if partner is not None))
        if not _nameless(taken):
            notes.append(f"The truth names no classes; its codes are taken as the map's: {_listed(taken)}.")
    for index, (land, partner) in enumerate(zip(truth_scheme.classes, partners, strict=True)):
        if partner is None:
            partner = len(classes)
            free = land.code not in {c.code for c in classes}
            code = land.code if free else max(c.code for c in classes) + 1
            classes.append(LandClass(code, land.name, land.color))
            notes.append(f"The map does not know the class {land.name}; its labelled pixels count as missed.")
        elif _is_unnamed(classes[partner]) and not _is_unnamed(land):
            notes.append(f"The map's code {classes[partner].code} has no name; taken as {land.name}.")
            classes[partner] = LandClass(classes[partner].code, land.name, land.color)
        lookup[index] = partner
    return ClassScheme(tuple(classes)), lookup, notes


def _partners(map_scheme: ClassScheme, truth_scheme: ClassScheme) -> tuple[list[int | None], bool]:
    """Index of the map's class for each class of the truth, and whether codes told it instead of names."""
    by_name = _same_names(map_scheme, truth_scheme)
    if None in by_name and (_nameless(map_scheme) or _nameless(truth_scheme)):
        codes = {code: i for i, code in enumerate(map_scheme.codes)}
        return [codes.get(c.code) for c in truth_scheme.classes], True
    return by_name, False


def _nameless(scheme: ClassScheme) -> bool:
    return all(map(_is_unnamed, scheme.classes))


def _same_names(map_scheme: ClassScheme, truth_scheme: ClassScheme) -> list[int | None]:
    """Partners by equal names; for the rest, one side's names without the codes that maps carry behind them."""
    ours, theirs = _folded(map_scheme), _folded(truth_scheme)
    found: list[int | None] = [None] * len(theirs)
    for of_map, of_truth in ((ours, theirs), (_without_codes(ours), theirs), (ours, _without_codes(theirs))):
        free = {name: i for i, name in enumerate(of_map) if i not in found}
        found = [free.get(name) if i is None else i for i, name in zip(found, of_truth, strict=True)]
    return found


def _folded(scheme: ClassScheme) -> list[str]:
    return [name.strip().casefold() for name in scheme.names]


def _without_codes(names: list[str]) -> list[str]:
    """Names without "(code)" at their end, which stays where they would not differ without it."""
    bare = [re.sub(r" \(-?\d+\)$", "", name) for name in names]
    return [short if bare.count(short) == 1 else name for name, short in zip(names, bare, strict=True)]


def _is_unnamed(land: LandClass) -> bool:
    return land.name == str(land.code)


def _listed(scheme: ClassScheme) -> str:
    return ", ".join(c.name if _is_unnamed(c) else f"{c.code} {c.name}" for c in scheme.classes)


def blocks(window: Window, grid: Grid) -> npt.NDArray[np.int32]:
    """Number of the spatial block that each pixel of a window lies in, int32 [h, w]; at most 144 square blocks."""
    side = max(1, -(-max(grid.height, grid.width) // _BLOCKS_ALONG_SIDE))
    rows = np.arange(window.row, window.row_stop, dtype=np.int32) // side
    columns = np.arange(window.col, window.col_stop, dtype=np.int32) // side
    return rows[:, None] * _BLOCKS_ALONG_SIDE + columns


def _labelled_strips(truth: LabelRaster) -> Iterator[tuple[Window, npt.NDArray[np.uint8]]]:
    for window in tiles(truth.grid.window, _STRIP_ROWS, truth.grid.width):
        labels = truth.read(window)
        if (labels != UNLABELLED).any():
            yield window, labels


def _codes(map_scene: Scene, window: Window) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    values, valid = map_scene.read(window)
    codes = values[0].astype(np.int64)
    if values.dtype.kind == "f" and not np.array_equal(codes, values[0]):
        raise DataError(f"{map_scene.name} holds fractions; expected whole class codes. Is it a map of probabilities?")
    return codes, valid


def _indices(codes: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_], scheme: ClassScheme) -> npt.NDArray[np.uint8]:
    """Codes to indices where wanted, 255 elsewhere."""
    distinct, positions = np.unique(codes[wanted], return_inverse=True)
    index = {code: i for i, code in enumerate(scheme.codes)}
    unknown = [code for code in distinct.tolist() if code not in index]
    if unknown:
        raise DataError(f"The map holds the codes {unknown[:10]}, which are not among its classes: {_listed(scheme)}.")
    out = np.full(codes.shape, UNLABELLED, np.uint8)
    out[wanted] = np.array([index[code] for code in distinct.tolist()], np.uint8)[positions]
    return out
