"""Windows of a scene for the network, mirrored at the scene's borders."""

import contextlib
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.errors import SceneError
from sparsecover.grid import Window, tiles
from sparsecover.raster import Scene

_log = logging.getLogger(__name__)
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


class ForgivingReader:
    """As ``read_mirrored``, with what cannot be read taken as nodata. The first such place is logged with its reason.

    The window is read again in small tiles that lie on a fixed lattice of the scene, so a pixel is given up in every
    window or in none.
    """

    def __init__(self) -> None:
        self._told = False

    def __call__(self, scene: Scene, window: Window) -> Read:
        """Values [C, h, w] as stored and valid [h, w] of a window."""
        try:
            return read_mirrored(scene, window)
        except SceneError as error:
            self._tell(error)
        inside = window.intersect(scene.grid.window)
        return _mirror(scene, window, inside, *_read_what_can_be(scene, inside))

    def _tell(self, error: SceneError) -> None:
        if not self._told:
            _log.warning("Taken as nodata, as are further places that cannot be read: %s", error)
        self._told = True


def _read_what_can_be(scene: Scene, window: Window) -> Read:
    values = np.zeros((len(scene.bands), window.height, window.width), scene.dtype)
    valid = np.zeros((window.height, window.width), np.bool_)
    first_row, first_col = window.row // _TILE * _TILE, window.col // _TILE * _TILE
    lattice = Window(first_row, first_col, window.row_stop - first_row, window.col_stop - first_col)
    for tile in tiles(lattice, _TILE, _TILE):
        part = tile.intersect(window)
        with contextlib.suppress(SceneError):
            rows, cols = part.relative_to(window).slices
            values[:, rows, cols], valid[rows, cols] = scene.read(part)
    return values, valid
