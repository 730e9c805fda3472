"""Where pixels lie: windows, grids with their coordinate system, blocks with a halo. NumPy-free and torch-free."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from affine import Affine

from sparsecover.errors import GridError


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels; row and column may be negative, the size may not."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise GridError(
                f"A window's size must not be negative; given {self.height} x {self.width} (rows x columns)."
            )

    @property
    def row_stop(self) -> int:
        """One past the last row."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """One past the last column."""
        return self.col + self.width

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices for the last two axes of an array; the window must lie inside it."""
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)

    def intersect(self, other: "Window") -> "Window":
        """The common part, of size 0 where there is none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = max(0, min(self.row_stop, other.row_stop) - row)
        width = max(0, min(self.col_stop, other.col_stop) - col)
        return Window(row, col, height, width)

    def expand(self, margin: int) -> "Window":
        """Grow by ``margin`` pixels on each side."""
        return Window(self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin)

    def relative_to(self, origin: "Window") -> "Window":
        """The same pixels counted from the first pixel of ``origin``."""
        return Window(self.row - origin.row, self.col - origin.col, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster and where they lie on the ground.

    ``crs`` is WKT or None; ``transform`` maps (column, row) of a pixel's upper left corner to coordinates.
    """

    height: int
    width: int
    crs: str | None = None
    transform: Affine = field(default_factory=Affine.identity)

    @property
    def window(self) -> Window:
        """All pixels."""
        return Window(0, 0, self.height, self.width)

    @property
    def is_georeferenced(self) -> bool:
        """Whether there is a coordinate system and a transform that is not the identity."""
        return self.crs is not None and not self.transform.almost_equals(Affine.identity())

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of the box around all corners (also of a rotated grid)."""
        corners = [self.transform @ (c, r) for c in (0, self.width) for r in (0, self.height)]
        xs, ys = [c[0] for c in corners], [c[1] for c in corners]
        return min(xs), min(ys), max(xs), max(ys)

    @cached_property
    def pixel_size_m(self) -> tuple[float, float] | None:
        """Height and width of the central pixel in metres; None where it has no place on the ground."""
        if not self.is_georeferenced:
            return None
        row, col = self.height / 2, self.width / 2
        centre = self.transform @ (col, row)
        below, right = self.transform @ (col, row + 1), self.transform @ (col + 1, row)
        size = _distance_m(self.crs, centre, below), _distance_m(self.crs, centre, right)
        return size if all(map(math.isfinite, size)) else None

    @property
    def resolution_m(self) -> float | None:
        """Side in metres of a square as large as the central pixel; None where it has no place on the ground."""
        size = self.pixel_size_m
        return None if size is None else math.sqrt(size[0] * size[1])

    @property
    def pixel_area_ha(self) -> float | None:
        """Area of the central pixel in hectares, sheared or not; None where it has no place on the ground."""
        size = self.pixel_size_m
        if size is None:
            return None
        t = self.transform
        lengths = math.hypot(t.a, t.d) * math.hypot(t.b, t.e)
        shear = abs(t.determinant) / lengths if lengths else 1.0
        return size[0] * size[1] * shear / 10_000

    def crop(self, window: Window) -> "Grid":
        """The grid of a window of this grid."""
        transform = self.transform @ Affine.translation(window.col, window.row)
        return Grid(window.height, window.width, self.crs, transform)

    def resized(self, height: int, width: int) -> "Grid":
        """The same ground divided into another number of pixels."""
        scale = Affine.scale(self.width / width, self.height / height)
        return Grid(height, width, self.crs, self.transform @ scale)

    def matches(self, other: Self, tolerance_px: float = 0.01) -> bool:
        """Whether both have the same size and system, and their corners agree within ``tolerance_px`` of a pixel.

        Transforms that differ in the last digits are the rule in the wild, so equality is not asked for. A grid
        without a coordinate system may be in any.
        """
        same_size = (self.height, self.width) == (other.height, other.width)
        return same_size and self.corner_offset_px(other) <= tolerance_px and self.same_crs(other)

    def corner_offset_px(self, other: Self) -> float:
        """The largest distance between corners of the two grids, in this one's pixels; systems are not compared."""
        inverse = ~self.transform
        distances = []
        for right, bottom in ((0, 0), (1, 0), (0, 1), (1, 1)):
            theirs = inverse @ (other.transform @ (right * other.width, bottom * other.height))
            distances.append(math.dist((right * self.width, bottom * self.height), theirs))
        return max(distances)

    def same_crs(self, other: Self) -> bool:
        """Whether both coordinate systems mean the same, however written, or one of them is unknown."""
        if self.crs is None or other.crs is None or self.crs == other.crs:
            return True
        import pyproj
        import rasterio.crs

        # PROJ looks past the order of axes, which rasters do not follow; GDAL past the spelling of unnamed datums.
        mine, theirs = pyproj.CRS.from_wkt(self.crs), pyproj.CRS.from_wkt(other.crs)
        if mine.equals(theirs, ignore_axis_order=True):
            return True
        return bool(rasterio.crs.CRS.from_wkt(self.crs) == rasterio.crs.CRS.from_wkt(other.crs))

    def bounds_in(self, crs: str | None) -> tuple[float, float, float, float]:
        """The box around the grid in another coordinate system (WKT); an empty one where it cannot be transformed."""
        from pyproj import CRS, Transformer
        from pyproj.exceptions import ProjError

        try:
            there = Transformer.from_crs(CRS.from_wkt(self.crs or ""), CRS.from_wkt(crs or ""), always_xy=True)
            left, bottom, right, top = there.transform_bounds(*self.bounds)
        except ProjError:
            return math.inf, math.inf, -math.inf, -math.inf
        return left, bottom, right, top

    def overlaps(self, other: Self) -> bool:
        """Whether the boxes around both share more than a pixel; False where one has no place on the ground."""
        if not (self.is_georeferenced and other.is_georeferenced):
            return False
        theirs = other.bounds
        if not self.same_crs(other):
            theirs = other.bounds_in(self.crs)
        mine = self.bounds
        width = min(mine[2], theirs[2]) - max(mine[0], theirs[0])
        height = min(mine[3], theirs[3]) - max(mine[1], theirs[1])
        pixel = abs(self.transform.determinant) ** 0.5
        return bool(width > pixel and height > pixel)  # neighbours that only touch share no pixel

    def window_on(self, other: Self) -> Window:
        """The pixels around the ground of another grid, one to spare on each side; of size 0 where it lies elsewhere.

        Both have a place on the ground.
        """
        left, bottom, right, top = other.bounds if self.same_crs(other) else other.bounds_in(self.crs)
        corners = [~self.transform @ (x, y) for x in (left, right) for y in (bottom, top)]
        if not all(math.isfinite(value) for corner in corners for value in corner):
            return self.window  # where it lies cannot be told
        cols, rows = zip(*corners, strict=True)
        row, col = math.floor(min(rows)), math.floor(min(cols))
        around = Window(row, col, math.ceil(max(rows)) - row, math.ceil(max(cols)) - col)
        return around.expand(1).intersect(self.window)


# Maps true to area or shape are off by less in length; Mercator's lengths grow to twice the ground's at 60 degrees.
_LENGTH_ERROR = 0.02


def _distance_m(crs: str | None, a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance of two close points in metres: as in the map's plane, or along the ellipsoid where that is distorted."""
    from pyproj import CRS, Transformer
    from pyproj.exceptions import ProjError

    system = CRS.from_wkt(crs or "")
    geod, geographic = system.get_geod(), system.geodetic_crs
    if system.is_geographic:
        if geod is None:
            raise GridError("The geographic coordinate system names no ellipsoid; lengths cannot be computed.")
        return float(geod.line_length([a[0], b[0]], [a[1], b[1]]))
    plane = math.dist(a, b) * (system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0)
    if geod is None or geographic is None:
        return plane
    try:
        to_degrees = Transformer.from_crs(system, geographic, always_xy=True)
    except ProjError:  # a projection that goes one way only
        return plane
    ground = float(geod.line_length(*to_degrees.transform([a[0], b[0]], [a[1], b[1]])))
    distorted = math.isfinite(ground) and abs(ground - plane) > _LENGTH_ERROR * plane
    return ground if distorted else plane


def spread(length: int, size: int, step: int) -> list[int]:
    """Starts of the fewest windows of ``size`` that cover ``length`` with steps of at most ``step``, evenly spread.

    A single window starts at 0 where ``size >= length``.

    >>> spread(10, 4, 3)
    [0, 3, 6]
    """
    if size < 1 or step < 1:
        raise GridError(f"Window size and step must be at least 1 pixel; given {size} and {step}.")
    if length <= size:
        return [0]
    count = math.ceil((length - size) / step) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def tiles(window: Window, height: int, width: int) -> Iterator[Window]:
    """Cut a window row by row into tiles without overlap; those at the far edges are smaller."""
    for row in range(window.row, window.row_stop, height):
        for col in range(window.col, window.col_stop, width):
            yield Window(row, col, min(height, window.row_stop - row), min(width, window.col_stop - col))
