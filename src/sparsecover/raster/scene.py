"""Scene: values and validity of a raster by window, whatever files it comes from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sparsecover.errors import GridError, SceneError
from sparsecover.grid import Grid, Window
from sparsecover.raster import gdal
from sparsecover.raster.file import FileSource, Georeference, band_count, open_file
from sparsecover.raster.source import (
    ArraySource,
    Band,
    MaskedSource,
    ResizedSource,
    Source,
    StackSource,
    Valid,
    Values,
    resized,
)

MAX_READ_BYTES = 8 * 2**30
"""One read may ask for this much; a header may claim any size, and memory is finite."""

TOLERANCE_PX = 0.5
"""Corners of files in one stack agree within this part of the coarsest pixel."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Scene:
    """An image of any number of bands, read by window. Immutable, picklable, usable by several threads.

    Files are opened when first read, once per thread and process.

    Attributes:
        name: what messages and outputs call it.
        source: where pixels come from.
        georeference: ground control points and RPC, where the file has them.
        file_size: height and width before it was first resized; None where it was not.
    """

    name: str
    source: Source
    georeference: Georeference = field(default_factory=Georeference)
    file_size: tuple[int, int] | None = None

    @property
    def grid(self) -> Grid:
        """Size, coordinate system and transform."""
        return self.source.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands in the order of ``read``."""
        return self.source.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of ``read``: the common one of all bands; float32 where the file declares scales or offsets."""
        return self.source.dtype

    @property
    def paths(self) -> tuple[str, ...]:
        """The files behind; empty for arrays."""
        return self.source.paths

    def read(self, window: Window | None = None) -> tuple[Values, Valid]:
        """Values [C, h, w] of ``dtype`` and valid [h, w] of bool; the whole scene without a window.

        A pixel is valid where every band is: not nodata, finite, inside alpha and mask. The window may reach outside
        the scene; there, and wherever invalid, values are 0.

        Raises:
            SceneError: the file cannot be read there, or more than ``MAX_READ_BYTES`` are asked for.
        """
        window = self.grid.window if window is None else window
        self._check_size(window)
        inside = window.intersect(self.grid.window)
        if inside == window and window.size:
            return self.source.read(window)
        values = np.zeros((len(self.bands), window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        if inside.size:
            rows, cols = inside.relative_to(window).slices
            values[:, rows, cols], valid[rows, cols] = self.source.read(inside)
        return values, valid

    def preview(self, max_px: int = 1024) -> tuple[Values, Valid]:
        """The whole scene with its longer side at most ``max_px``, from overviews where there are any."""
        height, width = self.grid.height, self.grid.width
        factor = max_px / max(height, width)
        if factor >= 1:
            return self.read()
        return self.source.decimate(max(1, round(height * factor)), max(1, round(width * factor)))

    def select(self, bands: Sequence[int]) -> Self:
        """The bands of these numbers, from 1, in this order.

        Raises:
            SceneError: there is no such band.
        """
        _check_numbers(bands, len(self.bands), self.name)
        return replace(self, source=self.source.select([b - 1 for b in bands]))

    def resized(self, height: int, width: int) -> Self:
        """The same ground in ``height`` x ``width`` pixels: averaged going down, bilinear going up.

        Any window holds exactly the pixels of the whole. Ground control points and RPC, which count in pixels of the
        original, are left behind.

        Raises:
            GridError: a size below 1.
        """
        if height < 1 or width < 1:
            raise GridError(f"A scene cannot be resized to {height} x {width} pixels; both must be at least 1.")
        if (height, width) == (self.grid.height, self.grid.width):
            return self
        size = self.file_size or (self.grid.height, self.grid.width)
        return replace(self, source=resized(self.source, height, width), georeference=Georeference(), file_size=size)

    def scaled(self, size: float | tuple[int, int]) -> Self:
        """The scene at [height, width] in pixels, or at a share of its file's sides, whatever it was resized to before.

        Raises:
            GridError: a share of 0 or less, a size below 1.
        """
        if isinstance(size, tuple):
            return self.resized(*size)
        if size <= 0:
            raise GridError(f"A scene is resized by a factor above 0; given {size:g}.")
        height, width = self.file_size or (self.grid.height, self.grid.width)
        return self.resized(max(1, round(height * size)), max(1, round(width * size)))

    def at_resolution(self, size_m: float) -> Self:
        """The same ground in pixels of about ``size_m`` metres on the ground, as ``resized`` makes them.

        Raises:
            GridError: a scene without a coordinate system.
        """
        size = self.grid.pixel_size_m
        if size is None:
            raise GridError(
                f"A resolution of {size_m:g} m needs a scene with a coordinate system; {self.name} has none."
            )
        height, width = round(self.grid.height * size[0] / size_m), round(self.grid.width * size[1] / size_m)
        return self.resized(max(1, height), max(1, width))

    def masked(self, mask: "Scene | PathLike") -> Self:
        """The scene without the pixels where ``mask`` (a cloud or quality mask on the same ground) is not 0.

        Pixels that are nodata in the mask are invalid too, unless its nodata value is 0. A mask of another resolution
        is brought to the scene's by nearest.

        Raises:
            SceneError: the mask cannot be opened.
            GridError: it covers other ground.
        """
        other = mask if isinstance(mask, Scene) else open_scene(mask)
        check_same_ground(self.grid, other.grid, other.name)
        source = other.source
        if (source.grid.height, source.grid.width) != (self.grid.height, self.grid.width):
            source = ResizedSource(source, self.grid.height, self.grid.width, nearest=True)
        return replace(self, source=MaskedSource(self.source, source))

    def cached(self) -> Self:
        """The same scene held in memory in its own dtype.

        Raises:
            SceneError: it needs more than ``MAX_READ_BYTES``.
        """
        values, valid = self.read()
        held = None if valid.all() else valid
        return replace(self, source=ArraySource(values, held, self.grid, self.bands, self.paths))

    @classmethod
    def from_array(
        cls,
        values: npt.NDArray[Any],
        valid: npt.NDArray[np.bool_] | None = None,
        grid: Grid | None = None,
        name: str = "array",
        band_names: Sequence[str] | None = None,
    ) -> Self:
        """A scene of values [C, H, W] and valid [H, W] (default: all that is finite), which are not copied.

        Raises:
            GridError: shapes that do not fit together.
            SceneError: values that are not real numbers.
        """
        if values.ndim != 3 or 0 in values.shape:
            raise GridError(f"Values of a scene have the shape [bands, height, width]; given {list(values.shape)}.")
        if values.dtype.kind not in "biuf":
            raise SceneError(f"Values of a scene are real numbers; given dtype {values.dtype}.")
        grid = Grid(*values.shape[1:]) if grid is None else grid
        names = [f"band_{i}" for i in range(1, len(values) + 1)] if band_names is None else list(band_names)
        expected = (len(names), grid.height, grid.width)
        if values.shape != expected or (valid is not None and valid.shape != expected[1:]):
            raise GridError(
                f"Values {list(values.shape)} and valid {None if valid is None else list(valid.shape)} do not fit "
                f"{len(names)} band names and a grid of {grid.height} x {grid.width} pixels."
            )
        numeric = np.uint8 if values.dtype.kind == "b" else values.dtype.newbyteorder("=")
        bands = tuple(Band(band_name, str(np.dtype(numeric))) for band_name in names)
        return cls(name, ArraySource(values.astype(numeric, copy=False), valid, grid, bands))

    def _check_size(self, window: Window) -> None:
        needed = window.size * (len(self.bands) * self.dtype.itemsize + 1)
        if needed > MAX_READ_BYTES:
            raise SceneError(
                f"{window.height} x {window.width} pixels with {len(self.bands)} bands of {self.name} need "
                f"{needed / 2**30:.1f} GiB; at most {MAX_READ_BYTES / 2**30:.0f} GiB are read at once. "
                "Read by window, or check whether the file's header is right."
            )


def open_scene(
    paths: PathLike | Sequence[PathLike],
    *,
    bands: Sequence[int] | None = None,
    name: str | None = None,
    grid: Grid | None = None,
) -> Scene:
    """Open a raster file, or several co-registered ones as one stack of bands.

    Args:
        paths: names as GDAL takes them: files, URLs, /vsicurl and other virtual paths.
        bands: numbers from 1 over the bands of all files in the order given, alpha bands counted; default: all but
            alpha bands. An alpha band is a mask, unless it is named here.
        name: default: the first file's name without its ending.
        grid: default: the finest of the files; files of another resolution are resampled to it.

    Raises:
        SceneError: a file cannot be opened, holds complex values, or lacks a band.
        GridError: the files do not cover the same ground.

    Example:
        >>> scene = open_scene("scene.tif")                     # doctest: +SKIP
        >>> values, valid = scene.read(Window(0, 0, 256, 256))  # doctest: +SKIP
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise SceneError("No file was given; expected one raster file or several that form one stack.")
    sources, order = _open_files([_full_name(path) for path in given], bands)
    target = grid or max((s.grid for s in sources), key=lambda g: (g.height * g.width, g.is_georeferenced))
    parts: list[Source] = []
    for source in sources:
        check_same_ground(target, source.grid, source.path)
        same_size = (source.grid.height, source.grid.width) == (target.height, target.width)
        parts.append(source if same_size else ResizedSource(source, target.height, target.width))
    stack = parts[0] if len(parts) == 1 and parts[0].grid == target else StackSource(tuple(parts), target)
    chosen = stack.select(order) if order else stack
    return Scene(name or Path(given[0]).stem, chosen, _common_georeference(sources, target))


def check_same_ground(target: Grid, other: Grid, name: str) -> None:
    """Raise a GridError unless ``other`` covers the ground of ``target`` within ``TOLERANCE_PX``.

    A grid without georeferencing fits every grid of its size.
    """
    same_size = (target.height, target.width) == (other.height, other.width)
    if not (target.is_georeferenced and other.is_georeferenced):
        if same_size:
            return
        raise GridError(
            f"{name} has {other.height} x {other.width} pixels where {target.height} x {target.width} are expected, "
            "and without georeferencing on both sides it cannot be placed. Give files of one size or georeference them."
        )
    if not target.same_crs(other):
        raise GridError(
            f"{name} is in another coordinate system than the raster it is used with. Reproject it to that one's grid "
            "first, for example with gdalwarp -t_srs."
        )
    coarse, fine = sorted((target, other), key=lambda g: g.height * g.width)
    off = coarse.corner_offset_px(fine)
    if off > TOLERANCE_PX:
        raise GridError(
            f"{name} ({other.height} x {other.width} pixels) does not cover the ground of the raster it is used with "
            f"({target.height} x {target.width}): corners are up to {off:.3g} of the coarser pixels apart; at most "
            f"{TOLERANCE_PX} is taken. Cut both to the same ground, for example with gdalwarp -te -tr."
        )


def _open_files(paths: Sequence[str], bands: Sequence[int] | None) -> tuple[list[FileSource], list[int]]:
    """The files that hold the bands, and where in their concatenation each asked-for band stands (empty: all)."""
    counts = [band_count(path) for path in paths]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    if bands is None:
        return [open_file(path, None, start + 1) for path, start in zip(paths, starts, strict=True)], []
    _check_numbers(bands, sum(counts), " and ".join(paths))
    sources, found = [], []
    for path, start, count in zip(paths, starts, counts, strict=True):
        chosen = [band for band in bands if start < band <= start + count]
        if chosen:
            sources.append(open_file(path, [band - start for band in chosen], start + 1))
            found.extend(chosen)
    return sources, [found.index(band) for band in bands]


def _check_numbers(bands: Sequence[int], count: int, what: str) -> None:
    wrong = [band for band in bands if not 1 <= band <= count]
    if wrong or not bands or len(set(bands)) < len(bands):
        raise SceneError(
            f"Bands {list(bands)} were asked of {what}, which has {count}. "
            f"Give different numbers from 1 to {count}, at least one."
        )


def _full_name(path: PathLike) -> str:
    # Absolute, so that worker processes started elsewhere find it.
    name = os.fspath(path)
    return str(Path(name).absolute()) if gdal.is_local(name) else name


def _common_georeference(sources: Sequence[FileSource], grid: Grid) -> Georeference:
    fitting = (s.georeference for s in sources if (s.grid.height, s.grid.width) == (grid.height, grid.width))
    return next((g for g in fitting if g != Georeference()), Georeference())
