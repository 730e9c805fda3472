"""Samplers on rasters of any size: by strips where a pixel can be told alone, else by tiles that share the budget."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.grid import Window, tiles
from sparsecover.labels.arrays import Indices, count_values
from sparsecover.labels.samplers import SAMPLERS
from sparsecover.labels.samplers.base import Budget
from sparsecover.labels.samplers.per_class import per_class_by_strips

Read = Callable[[Window], Indices]
"""Class indices uint8[h, w] of a window of a raster."""

WHOLE_PX = 2**24
"""Rasters up to this size are looked at as a whole."""

_TILE_PX = 2048
_BLOCK_PX = 512  # tiles are multiples of what files are stored in
_STRIP_ROWS = 512


def sample(
    read: Read, height: int, width: int, sampler: str, budget: Budget, **options: Any
) -> Iterator[tuple[Window, Indices]]:
    """Partial labels uint8[h, w] for windows that cover a raster, in memory that does not grow with it.

    ``pixels`` and ``per_class`` go by strips and give what they give for the whole. The others look at surroundings:
    above ``WHOLE_PX`` pixels they work by tiles, fixed by the raster's size alone, among which the budget of each class
    is divided in proportion to its pixels. The sum over all tiles is met exactly.
    """
    window = Window(0, 0, height, width)
    strips = list(tiles(window, _STRIP_ROWS, width))
    if sampler == "pixels":
        for strip in strips:
            yield strip, SAMPLERS[sampler](read(strip), budget.at(strip.row, strip.col))
    elif sampler == "per_class":
        drawn = per_class_by_strips(lambda: ((strip.row, read(strip)) for strip in strips), budget)
        for row, values in drawn:
            yield Window(row, 0, len(values), width), values
    elif window.size <= WHOLE_PX:
        yield window, SAMPLERS[sampler](read(window), budget, **options)
    else:
        yield from _by_tiles(read, window, sampler, budget, options)


def _by_tiles(
    read: Read, window: Window, sampler: str, budget: Budget, options: dict[str, Any]
) -> Iterator[tuple[Window, Indices]]:
    parts = list(tiles(window, _even(window.height), _even(window.width)))
    counts = np.stack([count_values(read(part), 255) for part in parts])
    start = np.random.default_rng(budget.key).random()
    shares = divide(counts, budget.pixels(counts.sum(axis=0)), start)
    for part, share in zip(parts, shares, strict=True):
        own = replace(budget.at(part.row, part.col), share=tuple(share.tolist()))
        yield part, SAMPLERS[sampler](read(part), own, **options)


def divide(counts: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], start: float = 0.5) -> npt.NDArray[np.int64]:
    """``wanted[k]`` divided over tiles in proportion to ``counts[t, k]``, int64[T, K], by systematic sampling.

    A mark every ``total / wanted`` pixels of a class, the first one ``start`` of that on: with a random start each
    pixel's tile has the same chance, however small its share is.

    >>> divide(np.array([[5], [3], [0]]), np.array([3])).tolist()
    [[2], [1], [0]]
    """
    total = np.maximum(counts.sum(axis=0), 1)
    passed = np.cumsum(counts, axis=0).astype(object)  # products of two numbers of pixels outgrow 64 bits
    marks = (passed * wanted.astype(object) + (start * total).astype(np.int64)) // total
    shares: npt.NDArray[np.int64] = np.diff(marks, axis=0, prepend=0).astype(np.int64)
    return shares


def _even(length: int) -> int:
    """The side of tiles that cut a length into the fewest parts, about equal ones."""
    count = -(-length // _TILE_PX)
    return -(-length // (count * _BLOCK_PX)) * _BLOCK_PX
