"""What the painters of the demo scene share: the canvas, lines over the ground, and noise to vary things with."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

PIXEL_M = 0.6
CLASSES = ("building", "open land", "road", "water", "woodland")
BUILDING, OPEN_LAND, ROAD, WATER, WOODLAND = range(5)

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spectrum = tuple[float, float, float, float]
Random = np.random.Generator


@dataclass(frozen=True)
class Canvas:
    """The ground, or a rectangle of it, as it is painted; all arrays are changed in place.

    Attributes:
        cover: uint8 [H, W], index into ``CLASSES``.
        height: float32 [H, W], metres above the plain.
        reflectance: float32 [4, H, W] in 0..1: red, green, blue, near infrared.
    """

    cover: npt.NDArray[np.uint8]
    height: Floats
    reflectance: Floats

    @classmethod
    def blank(cls, size_px: int) -> "Canvas":
        """A square of open land, flat and black."""
        shape = (size_px, size_px)
        return cls(np.full(shape, OPEN_LAND, np.uint8), np.zeros(shape, np.float32), np.zeros((4, *shape), np.float32))

    @property
    def size_px(self) -> int:
        """Height and width."""
        return int(self.cover.shape[0])

    @property
    def size_m(self) -> float:
        """Height and width on the ground."""
        return self.size_px * PIXEL_M

    def positions_m(self) -> tuple[Floats, Floats]:
        """Distance of each pixel's centre from the upper and from the left edge."""
        steps = (np.arange(self.size_px, dtype=np.float32) + 0.5) * np.float32(PIXEL_M)
        down, right = np.meshgrid(steps, steps, indexing="ij")
        return down, right

    def holds(self, spot: Array) -> bool:
        """Whether a point, in metres down and right, lies on the canvas."""
        return bool(((spot >= 0) & (spot < self.size_m)).all())

    def around(self, spot: Array, reach_m: float) -> tuple["Canvas", Array, Array]:
        """The part of the canvas about a point, and its pixels' ways down and right from there in metres."""
        first, last = (
            np.clip((spot + way) / PIXEL_M, 0, self.size_px).astype(int) for way in (-reach_m, reach_m + PIXEL_M)
        )
        rows, cols = (slice(a, b) for a, b in zip(first, last, strict=True))
        part = Canvas(self.cover[rows, cols], self.height[rows, cols], self.reflectance[:, rows, cols])
        ways = ((np.arange(a, b) + 0.5) * PIXEL_M - c for a, b, c in zip(first, last, spot, strict=True))
        down, right = np.meshgrid(*ways, indexing="ij")
        return part, down, right

    def noise(self, rng: Random, scale_m: float, roughness: float = 0.5) -> Floats:
        """``noise`` of the canvas's size."""
        return noise(rng, self.size_px, scale_m, roughness)

    def paint(self, where: Mask, spectrum: Spectrum, factor: Array | float = 1.0, cover: int | None = None) -> None:
        """Give pixels a spectrum times a factor (a number or [H, W]) and, where given, a cover."""
        scale = factor[where] if isinstance(factor, np.ndarray) else factor
        for band, value in zip(self.reflectance, spectrum, strict=True):
            band[where] = value * scale
        if cover is not None:
            self.cover[where] = cover


def pixel_of(spots: Array) -> tuple[Array, Array]:
    """Rows and columns of points [..., 2] in metres."""
    rows, cols = np.moveaxis((spots / PIXEL_M).astype(int), -1, 0)
    return rows, cols


def noise(rng: Random, size_px: int, scale_m: float, roughness: float = 0.5) -> Floats:
    """Random relief [size_px, size_px] with mean 0 and standard deviation 1 and features of about ``scale_m``.

    With a ``roughness`` of 0 there are only rounded blobs; towards 1 they carry ever more fine detail (their
    spectrum falls off with a lower power of the frequency).
    """
    white = fft.rfft2(rng.standard_normal((size_px, size_px), dtype=np.float32))
    rows, cols = fft.fftfreq(size_px, PIXEL_M)[:, None], fft.rfftfreq(size_px, PIXEL_M)[None]
    cycles = (rows**2 + cols**2) * (2 * scale_m) ** 2
    falloff = (1 + cycles) ** (-1.5 + roughness)
    relief = fft.irfft2(white * falloff.astype(np.float32), s=(size_px, size_px))
    relief -= relief.mean()
    return np.asarray(relief / relief.std(), np.float32)


@dataclass(frozen=True)
class Line:
    """A course over the ground, with the way from every pixel to it.

    Attributes:
        points: float [n, 2], metres down and right, closer together than pixels.
        distance_m: float32 [H, W] from the nearest point.
        nearest: int [H, W], index of that point.
    """

    points: Array
    distance_m: Floats
    nearest: Array

    @cached_property
    def direction(self) -> Array:
        """Unit vectors [n, 2] along the course, down and right."""
        steps = np.gradient(self.points, axis=0)
        return np.asarray(steps / np.hypot(*steps.T)[:, None])

    @cached_property
    def along_m(self) -> Floats:
        """Way along the course up to the point nearest to each pixel."""
        steps = np.hypot(*np.diff(self.points, axis=0, prepend=self.points[:1]).T)
        return np.asarray(np.cumsum(steps)[self.nearest], np.float32)


def trace(canvas: Canvas, corners: Array) -> Line:
    """The smooth course through corners [n, 2], given as shares of the scene's size, down and right."""
    count = 4 * canvas.size_px
    knots, steps = np.arange(len(corners)), np.linspace(0, len(corners) - 1, count)
    points = np.stack([np.interp(steps, knots, axis) for axis in corners.T], axis=1) * canvas.size_m
    points = ndimage.gaussian_filter1d(points, count / len(corners) / 2.5, axis=0, mode="nearest")
    pixels = np.floor(points / PIXEL_M).astype(int)
    inside = ((pixels >= 0) & (pixels < canvas.size_px)).all(1)
    index = np.full(canvas.cover.shape, -1)
    index[tuple(pixels[inside].T)] = np.flatnonzero(inside)
    distance, (rows, cols) = ndimage.distance_transform_edt(index < 0, return_indices=True)
    return Line(points, np.asarray(distance * PIXEL_M, np.float32), index[rows, cols])
