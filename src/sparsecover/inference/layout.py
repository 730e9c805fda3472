"""Which windows the network sees, and how much each counts at every pixel. NumPy only."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sparsecover.errors import ConfigError, GridError, nearest
from sparsecover.grid import Window, spread

BLENDS = ("gaussian", "hann", "interior")
_SIZE_STEP = 32  # windows over small scenes are rounded up to this, so that few networks have to pad them again

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Axis:
    """Windows along rows or columns; at every pixel of the scene the weights of the windows over it sum to 1.

    Attributes:
        starts: first pixel of each window, increasing; negative where a window reaches over the border.
        size: pixels of a window.
        weights: float32 [size] for each window.
    """

    starts: tuple[int, ...]
    size: int
    weights: tuple[Weights, ...]

    @classmethod
    def plan(cls, length: int, size: int, overlap_px: int, blend: str) -> Self:
        """Spread windows of ``size`` evenly over ``length`` pixels, with steps of at most ``size - overlap_px``.

        One window is enough where it covers everything: the network then sees just what it saw in training.
        Elsewhere the first and last window reach half an overlap over the border, so that border pixels also are
        seen with context (mirrored) on all sides.
        """
        if length <= size:
            starts = [-((size - length) // 2)]
        else:
            halo = overlap_px // 2
            starts = [start - halo for start in spread(length + 2 * halo, size, size - overlap_px)]
        weights = _owned(starts, size) if blend == "interior" else _shared(starts, size, blend)
        return cls(tuple(starts), size, tuple(weights))

    @classmethod
    def exact(cls, length: int, size: int, halo_px: int) -> Self:
        """Windows inside the axis; each pixel counts in one, where it sees ``halo_px`` on both sides or the border.

        They are as few as windows of ``size``, more than ``2 * halo_px``, would be, and no larger than they need to be.
        """
        size = _smallest(length, size, 2 * halo_px)
        starts = spread(length, size, max(1, size - 2 * halo_px))
        return cls(tuple(starts), size, tuple(_owned(starts, size)))

    @property
    def most_shared(self) -> int:
        """Pixels that two neighbouring windows have in common, at most."""
        return max((first + self.size - second for first, second in itertools.pairwise(self.starts)), default=0)

    def touching(self, start: int, stop: int) -> range:
        """Indices of the windows that hold any of the pixels from ``start`` up to ``stop``."""
        hits = [i for i, s in enumerate(self.starts) if s < stop and s + self.size > start]
        return range(hits[0], hits[-1] + 1) if hits else range(0)


def _profile(size: int, blend: str) -> npt.NDArray[np.float64]:
    centres = np.arange(size) + 0.5
    if blend == "hann":
        return np.asarray(np.sin(np.pi * centres / size) ** 2)
    # Positive everywhere: at the window's edge, 4 sigma from its centre, it is still 3e-4.
    return np.asarray(np.exp(-0.5 * ((centres - size / 2) / (size / 8)) ** 2))


def _shared(starts: list[int], size: int, blend: str) -> list[Weights]:
    """A smooth profile divided, at every pixel, by the sum of the profiles over it."""
    profile = _profile(size, blend)
    first = starts[0]
    total = np.zeros(starts[-1] + size - first)
    for start in starts:
        total[start - first : start - first + size] += profile
    return [(profile / total[start - first : start - first + size]).astype(np.float32) for start in starts]


def _owned(starts: list[int], size: int) -> list[Weights]:
    """Each pixel belongs to the one window whose centre is nearest."""
    between = [(a + b + size) / 2 for a, b in itertools.pairwise(starts)]
    edges = [-math.inf, *between, math.inf]
    weights = []
    for i, start in enumerate(starts):
        centres = start + np.arange(size) + 0.5
        weights.append(((centres >= edges[i]) & (centres < edges[i + 1])).astype(np.float32))
    return weights


def _smallest(covered: int, largest: int, overlap: int) -> int:
    """The size of windows over a length that are as few as those of ``largest`` would be, and no larger."""
    if covered <= largest:
        return covered
    count = math.ceil((covered - overlap) / (largest - overlap))
    return math.ceil((covered + (count - 1) * overlap) / count)


def smallest_side(height: int, width: int, largest_px: int, overlap_px: int) -> int:
    """The side of windows that are as few along the longer side as those of ``largest_px`` would be, and no larger."""

    def needed(length: int) -> int:
        border = 0 if length <= largest_px else 2 * (overlap_px // 2)
        return _smallest(length + border, largest_px, overlap_px)

    return min(largest_px, _SIZE_STEP * math.ceil(max(needed(height), needed(width)) / _SIZE_STEP))


@dataclass(frozen=True)
class Layout:
    """All windows over a scene: every pair of a row start and a column start, row by row."""

    rows: Axis
    cols: Axis

    @classmethod
    def plan(cls, height: int, width: int, patch_size: int, overlap: float, blend: str = "gaussian") -> Self:
        """Lay square windows over a scene.

        Args:
            height: rows of the scene.
            width: columns of the scene.
            patch_size: side of a window in pixels; smaller where the whole scene is.
            overlap: below 1 a fraction of the window, from 1 on pixels.
            blend: ``gaussian``, ``hann`` (sin^2) or ``interior`` (each pixel from the nearest window alone).

        Raises:
            ConfigError: unknown blending.
            GridError: a window or an overlap that leaves no step.
        """
        if blend not in BLENDS:
            raise ConfigError(f"Unknown blending {blend!r}. {nearest(blend, BLENDS)}")
        overlap_px = round(overlap * patch_size) if overlap < 1 else round(overlap)
        if patch_size < 1 or not 0 <= overlap_px < patch_size:
            raise GridError(
                f"Windows of {patch_size} px with an overlap of {overlap:g} leave no step; the overlap must be from 0 "
                "up to below the window's size (below 1 it is a fraction, from 1 on pixels)."
            )
        size = min(patch_size, _SIZE_STEP * math.ceil(max(height, width) / _SIZE_STEP))
        overlap_px = min(overlap_px, size - 1)
        return cls(Axis.plan(height, size, overlap_px, blend), Axis.plan(width, size, overlap_px, blend))

    @classmethod
    def exact(cls, height: int, width: int, patch_size: int, halo_px: int) -> Self:
        """Lay windows over a scene for a network that looks just ``halo_px`` far: its answers are those of the whole.

        Args:
            height, width: of the scene.
            patch_size: largest side of a window in pixels; more where the halo would leave nothing of it.
            halo_px: how far the network looks.
        """
        size = max(patch_size, 2 * halo_px + _SIZE_STEP)
        return cls(Axis.exact(height, size, halo_px), Axis.exact(width, size, halo_px))

    @property
    def size(self) -> int:
        """Side of a window in pixels; its height where it is not square."""
        return self.rows.size

    @property
    def window_px(self) -> int:
        """Pixels of a window."""
        return self.rows.size * self.cols.size

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.rows.starts) * len(self.cols.starts)

    def window(self, row: int, col: int) -> Window:
        """The window at a row index and a column index."""
        return Window(self.rows.starts[row], self.cols.starts[col], self.rows.size, self.cols.size)

    def touching(self, region: Window) -> Iterator[tuple[int, int]]:
        """Row and column indices of the windows that hold any pixel of a region, row by row."""
        cols = self.cols.touching(region.col, region.col_stop)
        for row in self.rows.touching(region.row, region.row_stop):
            for col in cols:
                yield row, col
