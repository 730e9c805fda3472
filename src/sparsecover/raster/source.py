"""What a scene is read from: the common interface, and the sources that hold or combine others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sparsecover.grid import Grid, Window
from sparsecover.raster.resample import axis_taps, resample

Values = npt.NDArray[Any]
Valid = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Band:
    """One band: its name (description or colour in the file, else ``band_N``), stored dtype and nodata value."""

    name: str
    dtype: str
    nodata: float | None = None


class Source(Protocol):
    """Pixels by window. All sources are immutable, picklable and usable by several threads."""

    @property
    def grid(self) -> Grid: ...

    @property
    def bands(self) -> tuple[Band, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of what ``read`` returns."""
        ...

    @property
    def paths(self) -> tuple[str, ...]: ...

    @property
    def may_lack_data(self) -> bool:
        """False where every pixel is valid, whatever its value."""
        ...

    def read(self, window: Window) -> tuple[Values, Valid]:
        """Fresh values [C, h, w], 0 where invalid, and valid [h, w]; the window lies inside the grid."""
        ...

    def decimate(self, height: int, width: int) -> tuple[Values, Valid]:
        """The whole grid at a lower resolution, for looking at."""
        ...

    def select(self, bands: Sequence[int]) -> "Source":
        """The bands at these positions (from 0) in this order."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Pixels in memory: values [C, H, W] and valid [H, W], or None where all are valid. NaN and inf are invalid."""

    values: Values
    valid: Valid | None
    grid: Grid
    bands: tuple[Band, ...]
    paths: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @property
    def may_lack_data(self) -> bool:
        return self.valid is not None or self.dtype.kind == "f"

    def read(self, window: Window) -> tuple[Values, Valid]:
        rows, cols = window.slices
        values = self.values[:, rows, cols].copy()
        valid = np.ones(values.shape[1:], bool) if self.valid is None else self.valid[rows, cols].copy()
        return blank(values, valid)

    def decimate(self, height: int, width: int) -> tuple[Values, Valid]:
        return ResizedSource(self, height, width).read(Window(0, 0, height, width))

    def select(self, bands: Sequence[int]) -> "ArraySource":
        return replace(self, values=self.values[list(bands)], bands=tuple(self.bands[b] for b in bands))


@dataclass(frozen=True, eq=False)
class StackSource:
    """The bands of several sources on one grid, one after the other; a pixel is valid where it is in all of them."""

    parts: tuple[Source, ...]
    grid: Grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return tuple(band for part in self.parts for band in part.bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*(part.dtype for part in self.parts))

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for part in self.parts for path in part.paths)

    @property
    def may_lack_data(self) -> bool:
        return any(part.may_lack_data for part in self.parts)

    def read(self, window: Window) -> tuple[Values, Valid]:
        return self._join([part.read(window) for part in self.parts])

    def decimate(self, height: int, width: int) -> tuple[Values, Valid]:
        return self._join([part.decimate(height, width) for part in self.parts])

    def _join(self, pieces: Sequence[tuple[Values, Valid]]) -> tuple[Values, Valid]:
        values = np.concatenate([values.astype(self.dtype, copy=False) for values, _ in pieces])
        return blank(values, np.logical_and.reduce([valid for _, valid in pieces]))

    def select(self, bands: Sequence[int]) -> "StackSource":
        owners = [(part, i) for part in self.parts for i in range(len(part.bands))]
        runs: list[tuple[Source, list[int]]] = []  # neighbours of one file are read in one go
        for part, position in (owners[b] for b in bands):
            if runs and runs[-1][0] is part:
                runs[-1][1].append(position)
            else:
                runs.append((part, [position]))
        return replace(self, parts=tuple(part.select(positions) for part, positions in runs))


@dataclass(frozen=True, eq=False)
class ResizedSource:
    """Another source at another number of pixels: averages going down, bilinear going up, or nearest.

    Weights depend on the position in the whole grid alone, and are summed in a fixed order, so that any window holds
    exactly the pixels of the whole.
    """

    inner: Source
    height: int
    width: int
    nearest: bool = False

    @property
    def grid(self) -> Grid:
        return self.inner.grid.resized(self.height, self.width)

    @property
    def bands(self) -> tuple[Band, ...]:
        return self.inner.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.inner.dtype

    @property
    def paths(self) -> tuple[str, ...]:
        return self.inner.paths

    @property
    def may_lack_data(self) -> bool:
        return self.inner.may_lack_data

    def read(self, window: Window) -> tuple[Values, Valid]:
        grid = self.inner.grid
        rows = axis_taps(window.row, window.row_stop, self.height, grid.height, self.nearest)
        cols = axis_taps(window.col, window.col_stop, self.width, grid.width, self.nearest)
        source = Window(rows.first, cols.first, rows.length, cols.length)
        return resample(*self.inner.read(source), rows, cols)

    def decimate(self, height: int, width: int) -> tuple[Values, Valid]:
        return self.inner.decimate(height, width)

    def select(self, bands: Sequence[int]) -> "ResizedSource":
        return replace(self, inner=self.inner.select(bands))


@dataclass(frozen=True, eq=False)
class MaskedSource:
    """Another source without the pixels where any band of ``mask``, on the same grid, is not 0."""

    inner: Source
    mask: Source

    @property
    def grid(self) -> Grid:
        return self.inner.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return self.inner.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.inner.dtype

    @property
    def paths(self) -> tuple[str, ...]:
        return self.inner.paths

    @property
    def may_lack_data(self) -> bool:
        return True

    def read(self, window: Window) -> tuple[Values, Valid]:
        return self._apply(self.inner.read(window), self.mask.read(window))

    def decimate(self, height: int, width: int) -> tuple[Values, Valid]:
        return self._apply(self.inner.decimate(height, width), self.mask.decimate(height, width))

    def _apply(self, pixels: tuple[Values, Valid], mask: tuple[Values, Valid]) -> tuple[Values, Valid]:
        # What a mask does not know is not clear, unless its nodata value is its 0 for "nothing found here".
        known = mask[1] | all(band.nodata == 0 for band in self.mask.bands)
        return blank(pixels[0], pixels[1] & known & ~mask[0].any(axis=0))

    def select(self, bands: Sequence[int]) -> "MaskedSource":
        return replace(self, inner=self.inner.select(bands))


def resized(source: Source, height: int, width: int) -> Source:
    """A source at another number of pixels, resampled once, from its own; so is each file of a stack, going down."""
    if isinstance(source, ResizedSource) and not source.nearest:
        source = source.inner
    if (source.grid.height, source.grid.width) == (height, width):
        return source
    mask = source.mask if isinstance(source, MaskedSource) else None
    stack = source.inner if isinstance(source, MaskedSource) else source
    if not isinstance(stack, StackSource) or height > stack.grid.height:
        return ResizedSource(source, height, width)
    files = [part.inner if isinstance(part, ResizedSource) else part for part in stack.parts]
    if mask is not None and not any(_is_averaged(file, height) for file in files):
        return ResizedSource(source, height, width)  # no file would carry the mask
    parts = [_resized_file(file, mask, height, width) for file in files]
    return StackSource(tuple(parts), stack.grid.resized(height, width))


def _resized_file(source: Source, mask: Source | None, height: int, width: int) -> Source:
    """One file of a stack; what is averaged is masked before, so that no cloud is mixed in."""
    grid = source.grid
    if mask is not None and _is_averaged(source, height):
        if (mask.grid.height, mask.grid.width) != (grid.height, grid.width):
            mask = ResizedSource(mask, grid.height, grid.width, nearest=True)
        source = MaskedSource(source, mask)
    return resized(source, height, width)


def _is_averaged(source: Source, height: int) -> bool:
    return source.grid.height > height


def blank(values: Values, valid: Valid) -> tuple[Values, Valid]:
    """Take non-finite values out of ``valid`` and set invalid pixels to 0, both in place."""
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(axis=0)
    if not valid.all():
        np.copyto(values, 0, where=~valid)
    return values, valid
