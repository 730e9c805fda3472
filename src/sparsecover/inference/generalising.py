"""Calmer maps: a majority filter and a minimum mapping unit, over maps of any size.

Maps are held in scratch files mapped into memory, so that the system keeps in memory what there is room for.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsecover.classes import NODATA_CODE
from sparsecover.errors import GridError, OutputError
from sparsecover.grid import Grid, Window, tiles

Codes = npt.NDArray[np.uint8]
_ROWS = 256
_LARGEST_UNIT = 2**31 - 1


def scratch_map(folder: Path, name: str, grid: Grid) -> Codes:
    """A uint8 [H, W] array on disk, all nodata.

    Raises:
        OutputError: there is no room for it.
    """
    path = folder / name
    try:
        with path.open("wb") as file:  # a full disk must be met here: met in the mapped file, it would end the process
            for window in tiles(grid.window, _ROWS, grid.width):
                file.write(bytes([NODATA_CODE]) * window.size)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}. A filtered map needs {grid.window.size / 2**20:.0f} MiB for "
            "each of its scratch files. Make room, or name another folder."
        ) from error
    return np.memmap(path, np.uint8, "r+", shape=(grid.height, grid.width))


def scratch_bytes(grid: Grid, majority_px: int, min_area_ha: float | None) -> int:
    """Room on the disk that the filters take while they work."""
    files = (majority_px > 1) + 2 * (min_area_ha is not None)
    return grid.window.size * (files + 1) if files else 0


def generalise(codes: Codes, grid: Grid, folder: Path, majority_px: int, min_area_ha: float | None) -> Codes:
    """Apply what is asked for, first the filter; pixels without data stay as they are and take no part.

    Args:
        codes: uint8 [H, W], 255 where there is no data.
        grid: where they lie.
        folder: for scratch files.
        majority_px: side of the filter's window; 1 for none.
        min_area_ha: smallest area to keep, in hectares.

    Raises:
        GridError: hectares asked for without a coordinate system.
    """
    if majority_px > 1:
        filtered = scratch_map(folder, "majority", grid)
        for window in tiles(grid.window, _ROWS, grid.width):
            filtered[window.slices] = majority(codes, window, majority_px)
        codes = filtered
    if min_area_ha is not None:
        codes = _sieved(codes, grid, folder, min_area_ha)
    return codes


def majority(codes: Codes, window: Window, side_px: int) -> Codes:
    """The most frequent code in the square around each pixel of a window; of equals its own, then the lowest."""
    half = side_px // 2
    area = window.expand(half).intersect(Window(0, 0, *codes.shape))
    around = np.full((window.height + 2 * half, window.width + 2 * half), NODATA_CODE, np.uint8)
    around[area.relative_to(window.expand(half)).slices] = codes[area.slices]
    own = around[half : half + window.height, half : half + window.width]
    best, most = own.copy(), np.zeros(own.shape, np.int64)
    for code in np.unique(around):
        if code == NODATA_CODE:
            continue
        # Twice the count, plus one for the pixel's own code: the own wins among equals, and only among them.
        votes = 2 * _box_sums(around == code, side_px) + (own == code)
        better = votes > most
        best[better], most[better] = code, votes[better]
    best[own == NODATA_CODE] = NODATA_CODE
    return best


def _box_sums(mask: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.int64]:
    """Sums over all squares of ``side`` that fit inside."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]


def unit_px(grid: Grid, min_area_ha: float) -> int:
    """The least pixels of an area of so many hectares.

    Raises:
        GridError: the grid has no coordinate system.
    """
    pixel_ha = grid.pixel_area_ha
    if pixel_ha is None:
        raise GridError("A minimum mapping unit in hectares needs a scene with a coordinate system; this one has none.")
    return min(_LARGEST_UNIT, math.ceil(round(min_area_ha / pixel_ha, 6)))


def _sieved(codes: Codes, grid: Grid, folder: Path, min_area_ha: float) -> Codes:
    from rasterio.features import sieve

    least_px = unit_px(grid, min_area_ha)
    has_data = scratch_map(folder, "data", grid)
    sieved = scratch_map(folder, "sieved", grid)
    for window in tiles(grid.window, _ROWS, grid.width):
        has_data[window.slices] = codes[window.slices] != NODATA_CODE
    sieve(codes, least_px, out=sieved, mask=has_data, connectivity=4)
    for rows, part in _strips(sieved):
        part[has_data[rows] == 0] = NODATA_CODE
    return sieved


def _strips(codes: Codes) -> Iterator[tuple[slice, Codes]]:
    for start in range(0, len(codes), _ROWS):
        rows = slice(start, start + _ROWS)
        yield rows, codes[rows]
