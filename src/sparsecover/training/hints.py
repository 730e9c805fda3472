"""What regularisers know of the training scenes beside the labels: where nothing is inferred, and inferred labels."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.errors import ConfigError
from sparsecover.grid import tiles
from sparsecover.labels import LabelRaster, ground_of, sharing_ground
from sparsecover.patches import HELD_OUT, Labels, Pair
from sparsecover.raster import Scene

_TILE_PX = 1024


def held_out_hints(pairs: Sequence[Pair], apart: Sequence[Pair]) -> list[LabelRaster] | None:
    """``HELD_OUT`` on each training scene where a label of ``apart`` lies, else 255; None where none does.

    Args:
        pairs: scenes and training labels.
        apart: labels that validate or score, of these scenes or of others, which may show the same ground.
    """
    of_scene: dict[object, list[int]] = {}
    for number, (scene, _) in enumerate(apart):
        of_scene.setdefault(_identity(scene), []).append(number)
    own = [of_scene.get(_identity(scene), []) for scene, _ in pairs]
    shared = sharing_ground([scene.grid for scene, _ in pairs], [labels.grid for _, labels in apart])
    if not any(own) and not any(shared):
        return None
    hints = [_nothing(scene) for scene, _ in pairs]
    elsewhere: dict[int, list[LabelRaster]] = {}
    for raster, same, overlapping in zip(hints, own, shared, strict=True):
        for number in same:
            for tile in tiles(raster.grid.window, _TILE_PX, _TILE_PX):
                raster.values[tile.slices][apart[number][1].read(tile) != UNLABELLED] = HELD_OUT
        for number in {*overlapping} - {*same}:
            elsewhere.setdefault(number, []).append(raster)
    for number, rasters in elsewhere.items():
        _hold_out_ground(apart[number][1], rasters)
    return hints


def with_suggestions(
    hints: Sequence[LabelRaster] | None, pairs: Sequence[Pair], suggested: Sequence[npt.NDArray[np.uint8]]
) -> list[LabelRaster]:
    """Hints with suggested classes wherever nothing is held out."""
    hints = hints or [_nothing(scene) for scene, _ in pairs]
    return [
        LabelRaster(np.where(raster.values == HELD_OUT, raster.values, values), raster.grid)
        for raster, values in zip(hints, suggested, strict=True)
    ]


def check_class_count(num_classes: int) -> None:
    """Refuse more classes than hints have values for.

    Raises:
        ConfigError: more than 254.
    """
    if num_classes > HELD_OUT:
        raise ConfigError(f"There are {num_classes} classes; regularisers take at most {HELD_OUT}. Leave them out.")


def _hold_out_ground(labels: Labels, hints: Sequence[LabelRaster]) -> None:
    """Mark in the hints of other scenes the ground of labels, which are read by tile and once."""
    for tile in tiles(labels.grid.window, _TILE_PX, _TILE_PX):
        source = labels.grid.crop(tile)
        windows = [raster.grid.window_on(source) for raster in hints]
        if not any(window.size for window in windows):
            continue
        labelled = labels.read(tile) != UNLABELLED
        for raster, window in zip(hints, windows, strict=True):
            if window.size and labelled.any():
                ground = ground_of(labelled, source, raster.grid.crop(window))
                raster.values[window.slices][ground] = HELD_OUT


def _nothing(scene: Scene) -> LabelRaster:
    return LabelRaster(np.full((scene.grid.height, scene.grid.width), UNLABELLED, np.uint8), scene.grid)


def _identity(scene: Scene) -> object:
    """What tells scenes apart: files and size, and for arrays the object."""
    return (scene.paths, scene.grid.height, scene.grid.width) if scene.paths else id(scene.source)
