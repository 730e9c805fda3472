"""One label raster as a file: codes (or colours) by window, on its own pixels or warped to a scene's."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from sparsecover.classes import MAX_CLASSES, UNLABELLED, ClassScheme
from sparsecover.errors import LabelError, LabelsElsewhere, SceneError
from sparsecover.grid import Grid, Window, tiles
from sparsecover.labels.arrays import Indices, Mask
from sparsecover.labels.code_lookup import Codes, count_codes, look_up
from sparsecover.labels.code_table import CodeTable, category_names, palette
from sparsecover.labels.coding import integral, refuse_unknown_codes
from sparsecover.labels.features import is_table, is_vector
from sparsecover.raster.file import open_file
from sparsecover.raster.gdal import CACHE_BYTES, GDAL_ERRORS, cache_for, environment, handle, reason, stamp

ALWAYS_UNLABELLED = frozenset({-1, 255})
"""Codes that mean unlabelled in every label raster, beside the file's own nodata."""

_STRIP_ROWS = 512
_TILE_PX = 2**20
_ONCE_BYTES = CACHE_BYTES // 2  # of one band
_FIRST_TAKEN = " holds equal bands; the first was taken."


@dataclass(frozen=True)
class MaskFile:
    """A label raster, picklable and opened when read. ``grid`` is what its windows count from.

    ``by_color``: codes are colours, red * 65536 + green * 256 + blue. ``snap`` first sends each channel to 0 or 255,
    for colour masks whose values were blurred by resampling or lossy storage.
    """

    path: str
    version: tuple[int, int]
    grid: Grid
    warped: bool = False
    by_color: bool = False
    snap: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, path: str | Path, grid: Grid | None = None, *, by_color: bool | None = None, snap: bool = False
    ) -> Self:
        """Look at a file and decide how it is read on ``grid`` (default: its own).

        Raises:
            LabelError: unreadable, not a label raster, of another size without georeferencing, or beside the grid.
        """
        version = stamp(str(path))
        try:
            source = handle(str(path), version)
            own = open_file(str(path)).grid
            colors = _is_color(source, path) if by_color is None else by_color
        except SceneError as error:
            raise _no_raster(path, error) from error
        except GDAL_ERRORS as error:
            raise _unreadable(path, error) from error
        notes = []
        if not colors and len(_data_bands(source)) > 1:
            notes.append(f"{Path(path).name}{_FIRST_TAKEN}")
        if grid is None:
            return cls(str(path), version, own, False, colors, snap, tuple(notes))
        warped = _must_warp(own, grid, path, notes)
        return cls(str(path), version, grid, warped, colors, snap, tuple(notes))

    def in_color(self) -> Self:
        """The same file read by colour where it has any, three bands of bytes or a palette; else as it is."""
        source = handle(self.path, self.version)
        if not palette(source) and (len(_data_bands(source)) != 3 or set(source.dtypes) != {"uint8"}):
            return self
        notes = tuple(note for note in self.notes if not note.endswith(_FIRST_TAKEN))
        return replace(self, by_color=True, notes=notes)

    def strips(self) -> Iterator[Window]:
        """Windows that cover the grid, a few hundred rows each."""
        return tiles(self.grid.window, _STRIP_ROWS, self.grid.width)

    def codes(self, window: Window) -> tuple[Codes, Mask]:
        """Codes [h, w] of a window inside the grid, as stored, and where they are known (not nodata, NaN, transparent).

        Raises:
            LabelError: unreadable pixels, or fractions.
        """
        try:
            with environment(cache_for(window, self.grid.width, _ONCE_BYTES, _TILE_PX)):
                values, known = self._read(window)
        except GDAL_ERRORS as error:
            raise _unreadable(self.path, error) from error
        if self.by_color:
            return _packed(values, self.snap), known
        if values.dtype.kind == "f":
            known &= np.isfinite(values[0])
            codes = integral(np.where(known, values[0], 0).astype(np.float64), f"The label raster {self.path}")
            return codes, known
        if values.dtype.kind not in "iu":
            raise LabelError(f"The label raster {self.path} holds {values.dtype}; expected whole numbers.")
        return values[0], known

    def scan(self, unlabelled: Collection[int] = ()) -> CodeTable:
        """The codes of all labelled pixels.

        Raises:
            LabelError: more than 255 different codes, as in an image taken for labels.
        """
        if self.by_color:
            raise LabelError(
                f"{self.path} holds colours rather than codes; give the classes with their colours: a CSV with the "
                "columns code,name,color, or a QGIS .qml."
            )
        source = handle(self.path, self.version)
        table = CodeTable(names=category_names(source), colors=dict(enumerate(palette(source))))
        for window in self.strips():
            codes, known = self.codes(window)
            counts = count_codes(codes, known)
            table.pixels.update({code: n for code, n in counts.items() if code not in self._ignored(unlabelled)})
            if len(table.pixels) > MAX_CLASSES:
                raise LabelError(
                    f"{self.path} holds more than {MAX_CLASSES} different codes. Is it an image rather than labels?"
                )
        return table

    def indices(
        self, window: Window, scheme: ClassScheme, unlabelled: Collection[int], unknown: Counter[int]
    ) -> Indices:
        """Class indices uint8[h, w] of a window inside the grid; codes without a class are counted in ``unknown``."""
        index = dict.fromkeys(self._ignored(unlabelled), UNLABELLED)
        # A class that is expressly given one of these codes wins over the habit.
        index |= {key: i for i, key in enumerate(self._keys(scheme)) if key not in unlabelled}
        out = np.empty((window.height, window.width), np.uint8)
        for part in tiles(window, _STRIP_ROWS, window.width):
            codes, known = self.codes(part)
            values, strange = look_up(codes, index)
            unknown.update(count_codes(codes, known & strange))
            out[part.relative_to(window).slices] = np.where(known, values, np.uint8(UNLABELLED))
        return out

    def refuse(self, unknown: Counter[int], scheme: ClassScheme) -> None:
        """Raise UnknownCodes for codes or colours that the scheme does not have."""
        if self.by_color:
            named = {f"#{color:06X}": n for color, n in unknown.items()}
            refuse_unknown_codes(named, scheme, "The colour mask", self.path)
        refuse_unknown_codes(unknown, scheme, "The label raster", self.path)

    def _read(self, window: Window) -> tuple[npt.NDArray[Any], Mask]:
        source = handle(self.path, self.version)
        if not self.warped:
            return self._pixels(source, source, window)
        grid = self.grid
        place = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
        alpha = ColorInterp.alpha not in source.colorinterp
        with WarpedVRT(source, **place, resampling=Resampling.nearest, add_alpha=alpha) as warped:
            return self._pixels(source, warped, window)

    def _pixels(self, source: Any, reader: Any, window: Window) -> tuple[npt.NDArray[Any], Mask]:
        part = ((window.row, window.row_stop), (window.col, window.col_stop))
        bands = _data_bands(source)
        values = reader.read(bands if self.by_color else bands[:1], window=part)
        # By colour a band may well hold its nodata value: a pure blue has no red.
        known = (reader.read_masks(bands if self.by_color else bands[:1], window=part) > 0).any(axis=0)
        if self.by_color and len(bands) == 1 and palette(source):
            values = np.array(palette(source), np.uint8)[values[0]].transpose(2, 0, 1)
        elif self.by_color and len(bands) == 1:  # greys
            values = values.repeat(3, axis=0)
        return values, known

    def _ignored(self, unlabelled: Collection[int]) -> set[int]:
        return set(unlabelled) if self.by_color else {*ALWAYS_UNLABELLED, *unlabelled}

    def _keys(self, scheme: ClassScheme) -> list[int]:
        if not self.by_color:
            return list(scheme.codes)
        return [red << 16 | green << 8 | blue for red, green, blue in scheme.colors]


def _no_raster(path: str | Path, error: Exception) -> LabelError:
    if Path(path).exists():
        if is_vector(path):
            return LabelError(f"{path} holds vector labels; say which scene they lie on (--scene).")
        if is_table(path):
            return LabelError(
                f"{path} is a table, which holds no geometries. Make points of it (in QGIS: Layer > Add Layer > "
                "Add Delimited Text Layer), export them as GeoPackage, and give that."
            )
    return LabelError(f"The labels cannot be read. {error}")


def _unreadable(path: str | Path, error: Exception) -> LabelError:
    return LabelError(
        f"The labels {path} cannot be read ({reason(error)}). Is the file whole? If not, copy or download it again."
    )


def _data_bands(source: Any) -> list[int]:
    """Band numbers without alpha."""
    return [i for i, kind in enumerate(source.colorinterp, start=1) if kind != ColorInterp.alpha]


def _is_color(source: Any, path: str | Path) -> bool:
    """Whether a file is a colour mask: three bytes that are not the same band three times.

    Raises:
        LabelError: several bands that are neither colours nor the same.
    """
    bands = _data_bands(source)
    if len(bands) == 1:
        return False
    window = Window(0, 0, source.height, source.width)
    for strip in tiles(window, _STRIP_ROWS, source.width):
        values = source.read(bands, window=((strip.row, strip.row_stop), (0, source.width)))
        if (values != values[:1]).any():
            break
    else:
        return False
    if len(bands) != 3 or set(source.dtypes) != {"uint8"}:
        raise LabelError(
            f"{path} has {len(bands)} different bands of {source.dtypes[0]}; expected labels in one band, or a colour "
            "mask of three bytes."
        )
    return True


def _must_warp(own: Grid, grid: Grid, path: str | Path, notes: list[str]) -> bool:
    """Whether labels on ``own`` must be warped to ``grid``; where a place is missing the sizes must agree."""
    if own.is_georeferenced and grid.is_georeferenced:
        if own.matches(grid):
            return False
        _check_overlap(own, grid, path)
        notes.append(f"{Path(path).name} lies on other pixels than the scene and was resampled by nearest neighbour.")
        return True
    if (own.height, own.width) != (grid.height, grid.width):
        raise LabelError(
            f"The labels {path} are {own.height} x {own.width} pixels (rows x columns), the scene {grid.height} x "
            f"{grid.width}. Without georeferencing of both, the sizes must be equal."
        )
    if own.is_georeferenced or grid.is_georeferenced:
        bare = "scene" if own.is_georeferenced else "labels"
        notes.append(f"{Path(path).name}: the {bare} have no georeferencing; pixels were matched by row and column.")
    return False


def _check_overlap(own: Grid, grid: Grid, path: str | Path) -> None:
    try:
        left, bottom, right, top = transform_bounds(own.crs, grid.crs, *own.bounds)
    except (*GDAL_ERRORS, ValueError) as error:
        raise LabelError(
            f"The coordinate system of the labels {path} cannot be transformed to the scene's: one may be local or of "
            "another planet. Assign the one they were made in (gdal_edit -a_srs), or give labels in the scene's own."
        ) from error
    scene = grid.bounds
    if left >= scene[2] or right <= scene[0] or bottom >= scene[3] or top <= scene[1]:
        raise LabelsElsewhere(
            f"The labels {path} lie beside the scene: they span ({left:.6g}, {bottom:.6g}, {right:.6g}, {top:.6g}) "
            f"and the scene ({', '.join(f'{v:.6g}' for v in scene)}) in the scene's coordinate system (left, bottom, "
            "right, top). Check that they belong together."
        )


def _packed(values: npt.NDArray[Any], snap: bool) -> Codes:
    red, green, blue = (np.where(values >= 128, 255, 0) if snap else values).astype(np.int64)
    packed: Codes = red << 16 | green << 8 | blue
    return packed
