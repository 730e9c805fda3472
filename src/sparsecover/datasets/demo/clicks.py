"""The analyst: a few polygons and points of each class, drawn by hand on the picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from scipy import ndimage
from shapely.geometry import Point
from shapely.geometry.base import BaseGeometry
from skimage import draw, measure

from sparsecover.datasets.demo.canvas import CLASSES, Array, Mask, Random

RADIUS_M = 0.9  # how far a click speaks for its surroundings: 3 x 3 pixels
BORDER_PX = 3  # nobody draws where the picture ends
PLACE_WEIGHT = 6.0  # the whole width of the scene counts like so many standard deviations of colour


@dataclass(frozen=True)
class Feature:
    """One label: a point or polygon in pixels (column, row; a pixel's centre lies at .5), and its class by name."""

    geometry: BaseGeometry
    name: str


@dataclass(frozen=True)
class Habit:
    """How an analyst labels a class: points and polygons on each million pixels, and how far a polygon reaches."""

    points: int
    polygons: int
    reach_px: float


HABITS = {
    "building": Habit(26, 15, 6.0),
    "open land": Habit(184, 43, 4.7),
    "road": Habit(26, 15, 6.0),
    "water": Habit(17, 9, 5.6),
    "woodland": Habit(76, 26, 4.7),
}


def label_by_hand(rng: Random, image: Array, cover: Array, valid: Mask) -> list[Feature]:
    """Polygons, then points, of every class on the valid part of an image [4, H, W] with a cover [H, W].

    They never overlap, and all lie within their class.
    """
    free = ndimage.binary_erosion(valid, iterations=BORDER_PX)
    look = traits(image)
    millions = valid.sum() / 1e6
    features = []
    for points in (False, True):
        for index, name in enumerate(CLASSES):
            habit, where = HABITS[name], cover == index
            for spot in places(rng, where, free, look, millions * (habit.points if points else habit.polygons)):
                geometry = click(free, spot) if points else trace_by_hand(rng, where, free, spot, habit.reach_px)
                features.append(Feature(geometry, name))
    return features


def click(free: Mask, spot: tuple[int, int]) -> Point:
    """A point in a pixel, which is no longer free, nor are those around it."""
    row, col = spot
    free[row - 1 : row + 2, col - 1 : col + 2] = False
    return Point(col + 0.5, row + 0.5)


def traits(image: Array) -> Array:
    """What an analyst goes by: place and colour of each pixel, float32 [6, H, W], in comparable units."""
    colors = np.stack([ndimage.gaussian_filter(band, 1.5) for band in np.log(np.maximum(image, 1, dtype=np.float32))])
    colors = (colors - colors.mean((1, 2), keepdims=True)) / colors.std((1, 2), keepdims=True)
    place = np.mgrid[: image.shape[1], : image.shape[2]] * (PLACE_WEIGHT / image.shape[1])
    return np.concatenate([place, colors]).astype(np.float32)


def places(rng: Random, where: Mask, free: Mask, look: Array, count: float) -> Iterator[tuple[int, int]]:
    """Free pixels of a class, unlike each other; half are near its edge, where one traces or checks what ends there."""
    inner = ndimage.distance_transform_edt(where)
    inside = (inner > 1.5) & free
    half = max(1, round(count / 2))
    for candidates in (inside & (inner < 6), inside):
        for row, col in unlike(rng, np.argwhere(candidates), look, half):
            if free[row, col]:  # what was drawn meanwhile may have taken it
                yield int(row), int(col)


def unlike(rng: Random, candidates: Array, look: Array, count: int) -> Array:
    """Choose pixels [count, 2] out of [n, 2], each the most unlike those before among some drawn at random."""
    chosen = candidates[:0] if not len(candidates) else candidates[rng.integers(len(candidates), size=1)]
    while 0 < len(chosen) < count:
        drawn = candidates[rng.integers(len(candidates), size=12)]
        new, old = (look[:, pixels[:, 0], pixels[:, 1]] for pixels in (drawn, chosen))
        distance = np.linalg.norm(new[:, :, None] - old[:, None], axis=0).min(1)
        chosen = np.concatenate([chosen, drawn[[distance.argmax()]]])
    return chosen


def trace_by_hand(rng: Random, where: Mask, free: Mask, spot: tuple[int, int], reach_px: float) -> BaseGeometry:
    """A hand-drawn polygon about a pixel that keeps to the free pixels of ``where``, which it takes."""
    top, left = (max(0, int(c - 2 * reach_px)) for c in spot)
    window = np.s_[top : spot[0] + int(2 * reach_px), left : spot[1] + int(2 * reach_px)]
    allowed = (where & free)[window]
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False) + rng.uniform(0, 0.6, 9)
    radii = reach_px * rng.uniform(0.75, 1.25, 9)
    corners = np.stack([np.sin(angles), np.cos(angles)], axis=1) * radii[:, None] + np.subtract(spot, (top, left))
    parts, _ = ndimage.label(draw.polygon2mask(allowed.shape, corners) & allowed)
    part = parts == parts[spot[0] - top, spot[1] - left]
    free[window] &= ~ndimage.binary_dilation(part)
    ring = max(measure.find_contours(np.pad(part, 1).astype(float), 0.5), key=len)
    polygon = shapely.Polygon(ring[:, ::-1] + (left - 0.5, top - 0.5)).simplify(0.6)
    return shapely.make_valid(polygon)
