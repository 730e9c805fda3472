"""Labelled shapes on pixels. The shapes are kept, so that labels can be burnt again at any resolution."""

import json
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import rasterize

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError
from sparsecover.grid import Grid, Window
from sparsecover.labels.arrays import Groups, Indices, Mask

Geometries = npt.NDArray[np.object_]
Conflict = Literal["unlabelled", "raise", "last"]

_BAND_ROWS = 256  # rows of a geographic grid that share one pixel width in metres


class Burnt(NamedTuple):
    """Class indices (255 unlabelled), the 1-based shape of each labelled pixel, and what happened on the way."""

    values: Indices
    groups: Groups
    clashes: int
    added: int


@dataclass(frozen=True, eq=False)
class Shapes:
    """Single-part geometries in pixels of a ``height`` x ``width`` grid with their class indices.

    ``points`` marks those that were given as points, also where they have grown to discs. ``area`` is where every pixel
    without a shape is ``background``: polygons in pixels, a mask, or None for everywhere. ``unlabelled`` are further
    shapes that no background fills, though they are no labels; their classes mean nothing.
    """

    height: int
    width: int
    geometries: Geometries
    classes: Indices
    points: Mask
    conflict: Conflict = "unlabelled"
    background: int | None = None
    area: npt.NDArray[Any] | None = None
    unlabelled: Self | None = None

    def __post_init__(self) -> None:
        if self.conflict not in get_args(Conflict):
            raise LabelError(f"conflict is {self.conflict!r}; choose from {', '.join(get_args(Conflict))}.")

    def only(self, chosen: Mask) -> Self:
        """Some of the shapes: bool[N]."""
        return replace(
            self, geometries=self.geometries[chosen], classes=self.classes[chosen], points=self.points[chosen]
        )

    def on_background(self, index: int, area: npt.NDArray[Any] | None, unlabelled: Self) -> Self:
        """With the class of all pixels of ``area`` that no shape covers, neither one of ``unlabelled``."""
        return replace(self, background=index, area=area, unlabelled=unlabelled if unlabelled.classes.size else None)

    def recoded(self, lookup: Indices) -> Self:
        """With other class indices: ``lookup``, uint8[256], gives the new index of each old one."""
        background = None if self.background is None else int(lookup[self.background])
        return replace(self, classes=lookup[self.classes], background=background)

    def burn(self) -> Burnt:
        """Burn all shapes.

        A polygon takes the pixels whose centre it covers, a line those it crosses, a point the one it lies in. A shape
        that is too small to cover a centre takes the pixel of a point inside it, unless that is taken.
        """
        size = (self.height, self.width)
        order = np.arange(len(self.classes))
        if self.conflict != "last":
            # Burnt by rising class the highest class of a pixel wins, by falling class the lowest: they differ
            # exactly where shapes of two classes meet, however many meet.
            order = np.argsort(self.classes, kind="stable")
        outlines = _outlines(self.geometries[order])
        groups = _rasterize(outlines, order + 1, size, 0)
        values = np.append(np.uint8(UNLABELLED), self.classes)[groups]
        clash = np.zeros(size, bool)
        if self.conflict != "last":
            clash = values != _rasterize(outlines[::-1], self.classes[order[::-1]], size, UNLABELLED)
            values[clash] = UNLABELLED
            groups[clash] = 0
        added = self._add_small(values, groups, clash)
        if self.background is not None:
            values[(values == UNLABELLED) & ~clash & self._open()] = self.background
        return Burnt(values, groups, int(clash.sum()), added)

    def scaled(self, height: int, width: int) -> Self:
        """The same shapes on the same ground, divided into another number of pixels."""
        factor = np.array([width / self.width, height / self.height])
        area = self.area
        if area is not None and area.dtype == bool:
            area = area[np.ix_(nearest_index(self.height, height), nearest_index(self.width, width))]
        elif area is not None:
            area = shapely.transform(area, lambda xy: xy * factor)
        geometries = shapely.transform(self.geometries, lambda xy: xy * factor)
        # What may not meet was refused at the first burn; shapes that only a coarser grid brings together may.
        conflict: Conflict = "last" if self.conflict == "last" else "unlabelled"
        unlabelled = None if self.unlabelled is None else self.unlabelled.scaled(height, width)
        scaled = replace(self, geometries=geometries, area=area, conflict=conflict, unlabelled=unlabelled)
        return replace(scaled, height=height, width=width)

    def _add_small(self, values: Indices, groups: Groups, clash: Mask) -> int:
        """Give shapes without any pixel the one of a point inside them; returns how many."""
        seen = np.zeros(len(self.classes) + 1, bool)
        seen[groups.ravel()] = True
        missing = np.flatnonzero(~seen[1:] & (shapely.get_dimensions(self.geometries) > 0))
        inner = shapely.get_coordinates(shapely.point_on_surface(self.geometries[missing]))
        col, row = np.floor(inner).astype(np.int64).T
        free = (row >= 0) & (row < self.height) & (col >= 0) & (col < self.width)
        free[free] = (values[row[free], col[free]] == UNLABELLED) & ~clash[row[free], col[free]]
        pixels = np.stack([row[free], col[free]], axis=1)
        added = 0
        for (r, c), shape in zip(pixels, missing[free], strict=True):
            if clash[r, c]:
                continue
            if values[r, c] not in (UNLABELLED, self.classes[shape]) and self.conflict != "last":
                clash[r, c], values[r, c], groups[r, c] = True, UNLABELLED, 0
                continue
            values[r, c], groups[r, c] = self.classes[shape], shape + 1
            added += 1
        return added

    def _open(self) -> Mask:
        """Where a pixel that no shape has labelled is background."""
        area = self._area()
        return area if self.unlabelled is None else area & (self.unlabelled.burn().groups == 0)

    def _area(self) -> Mask:
        if self.area is None:
            return np.ones((self.height, self.width), bool)
        if self.area.dtype == bool:
            return self.area
        covered: Mask = (
            _rasterize(_outlines(self.area), np.ones(len(self.area), np.uint8), (self.height, self.width), 0) == 1
        )
        return covered


def nearest_index(old: int, new: int) -> npt.NDArray[np.intp]:
    """For each of ``new`` pixels along an axis, the old pixel in which its centre lies."""
    return np.minimum(((np.arange(new) + 0.5) * (old / new)).astype(np.intp), old - 1)


def widen(geometries: Geometries, distance_m: float, grid: Grid) -> Geometries:
    """Grow geometries in pixels of ``grid`` by a distance in metres on the ground."""
    size = grid.pixel_size_m
    if size is None:
        raise LabelError("Widths in metres need a georeferenced scene.")
    if not distance_m > 0:
        raise LabelError(f"A width or radius must be above 0 m; given {distance_m:g}.")
    band = (shapely.get_coordinates(shapely.centroid(geometries))[:, 1] // _BAND_ROWS).astype(np.int64)
    band = np.clip(band, 0, (grid.height - 1) // _BAND_ROWS)
    grown = np.empty_like(geometries)
    for number in np.unique(band):
        # Pixels of a geographic grid get narrower towards the poles, so each band of rows has its own metres.
        row = int(number) * _BAND_ROWS
        height_m, width_m = (
            grid.crop(Window(row, 0, min(_BAND_ROWS, grid.height - row), grid.width)).pixel_size_m or size
        )
        metres = np.array([width_m, height_m])
        chosen = band == number
        wide = shapely.buffer(shapely.transform(geometries[chosen], lambda xy, m=metres: xy * m), distance_m)
        grown[chosen] = shapely.transform(wide, lambda xy, m=metres: xy / m)
    return grown


def _outlines(geometries: Geometries) -> list[dict[str, Any]]:
    """Geometries as rasterio takes them; by way of text, which is three times faster than shapely's own way."""
    return [json.loads(text) for text in shapely.to_geojson(geometries)]


def _rasterize(
    outlines: list[dict[str, Any]], values: npt.NDArray[np.integer], size: tuple[int, int], fill: int
) -> npt.NDArray[np.unsignedinteger]:
    dtype = np.uint8 if fill else np.min_scalar_type(int(values.max(initial=1)))
    out = np.full(size, fill, dtype)
    if outlines:
        rasterize(zip(outlines, values.tolist(), strict=True), out=out)
    return out
