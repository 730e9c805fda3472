"""Windows of a scene for the network, mirrored at the scene's borders."""

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.errors import SceneError
from sparsecover.grid import Window, tiles
from sparsecover.raster import Scene

_TILE = 64  # divides the block sizes that files have
Read = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]


def mirrored(start: int, size: int, length: int) -> npt.NDArray[np.intp]:
    """Indices 0..length-1 for positions from ``start`` on, mirrored at both ends without repeating the end itself.

    >>> mirrored(-2, 8, 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if length == 1:
        return np.zeros(size, np.intp)
    period = 2 * (length - 1)
    folded = np.abs(np.arange(start, start + size)) % period
    return np.where(folded < length, folded, period - folded)


def read_mirrored(scene: Scene, window: Window) -> Read:
    """Values [C, h, w] as stored and valid [h, w] of a window that may reach over the scene's border."""
    inside = window.intersect(scene.grid.window)
    values, valid = scene.read(inside)
    return _mirror(scene, window, inside, values, valid)


def _mirror(
    scene: Scene, window: Window, inside: Window, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_]
) -> Read:
    if inside == window:
        return values, valid
    rows = mirrored(window.row, window.height, scene.grid.height)[:, None] - inside.row
    cols = mirrored(window.col, window.width, scene.grid.width)[None, :] - inside.col
    return values[:, rows, cols], valid[rows, cols]


def read_despite_errors(scene: Scene, window: Window) -> Read:
    """As ``read_mirrored``, with what cannot be read taken as nodata.

    The window is read again in small tiles that lie on a fixed lattice of the scene, so a pixel is given up in every
    window or in none.
    """
    try:
        return read_mirrored(scene, window)
    except SceneError:
        inside = window.intersect(scene.grid.window)
        values = np.zeros((len(scene.bands), inside.height, inside.width), scene.dtype)
        valid = np.zeros((inside.height, inside.width), np.bool_)
    first_row, first_col = inside.row // _TILE * _TILE, inside.col // _TILE * _TILE
    lattice = Window(first_row, first_col, inside.row_stop - first_row, inside.col_stop - first_col)
    for tile in tiles(lattice, _TILE, _TILE):
        part = tile.intersect(inside)
        with contextlib.suppress(SceneError):
            rows, cols = part.relative_to(inside).slices
            values[:, rows, cols], valid[rows, cols] = scene.read(part)
    return _mirror(scene, window, inside, values, valid)
