"""Probabilities from a resampled scene brought back to the pixels of the scene itself, row by row."""

from collections.abc import Callable, Iterator

import numpy as np

from sparsecover.grid import Window, tiles
from sparsecover.inference.streaming import Blended, in_strips
from sparsecover.raster import Scene
from sparsecover.raster.resample import axis_taps, resample

_ROWS = 256


def on_own_grid(
    scene: Scene, resized: Scene, region: Window, blend: Callable[[Window], Iterator[Blended]]
) -> Iterator[Blended]:
    """Predict a region of ``scene`` on the grid of ``resized`` and yield it in the pixels of ``scene``.

    A pixel's value depends on its place alone, so any division into regions gives the same.
    """
    own, other = scene.grid, resized.grid
    cols = axis_taps(region.col, region.col_stop, own.width, other.width)
    rows = axis_taps(region.row, region.row_stop, own.height, other.height)
    source = in_strips(blend(Window(rows.first, cols.first, rows.length, cols.length)))
    held: list[Blended] = []
    for chunk in tiles(region, _ROWS, region.width):
        taps = axis_taps(chunk.row, chunk.row_stop, own.height, other.height)
        held = [part for part in held if part.window.row_stop > taps.first]
        while not held or held[-1].window.row_stop < taps.first + taps.length:
            held.append(next(source))
        probabilities = np.concatenate([part.probabilities for part in held], axis=1)
        valid = np.concatenate([part.valid for part in held])
        skipped = taps.first - held[0].window.row
        needed = slice(skipped, skipped + taps.length)
        values, kept = resample(np.where(valid, probabilities, 0)[:, needed], valid[needed], taps, cols)
        yield Blended(chunk, values, kept & scene.read(chunk)[1])
