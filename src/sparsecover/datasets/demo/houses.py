"""The village of the demo scene: houses with gardens behind them, farms among the fields, cars on the roads."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from sparsecover.datasets.demo.canvas import (
    BUILDING,
    OPEN_LAND,
    ROAD,
    Array,
    Canvas,
    Line,
    Mask,
    Random,
    Spectrum,
    pixel_of,
)

ROOFS: tuple[tuple[float, Spectrum], ...] = (
    (0.22, (0.250, 0.125, 0.088, 0.265)),  # red tiles
    (0.10, (0.175, 0.122, 0.092, 0.200)),  # brown tiles
    (0.28, (0.170, 0.172, 0.177, 0.182)),  # grey tiles, nearly the colour of worn asphalt
    (0.20, (0.106, 0.110, 0.119, 0.117)),  # slate, nearly the colour of asphalt
    (0.20, (0.298, 0.290, 0.268, 0.328)),  # fibre cement, nearly the colour of gravel
)
SOLAR_PANELS: Spectrum = (0.045, 0.052, 0.085, 0.075)
CAR_PAINTS = (0.05, 0.12, 0.35, 0.5)


@dataclass(frozen=True)
class House:
    """A gabled house: centre in metres down and right, halves of its sides, and where its ridge points to.

    ``angle`` is from down towards right; walls are ``eaves_m`` high and the ridge stands ``ridge_m`` above them.
    """

    centre: Array
    half_length_m: float
    half_width_m: float
    angle: float
    eaves_m: float
    ridge_m: float


def build_village(rng: Random, canvas: Canvas, roads: tuple[Line, Line], village: Mask) -> None:
    """Set houses along both sides of the roads where these run through the village, with sheds behind them."""
    for road in roads:
        walked_m = np.hypot(*np.diff(road.points, axis=0).T).cumsum()
        for side in (-1, 1):
            position_m = rng.uniform(0, 20)
            while position_m < walked_m[-1]:
                step = int(np.searchsorted(walked_m, position_m))
                settle(rng, canvas, road.points[step], road.direction[step], side, village)
                position_m += rng.uniform(19, 28)


def settle(rng: Random, canvas: Canvas, front: Array, ahead: Array, side: int, village: Mask) -> None:
    """One house beside a road, its eaves or its gable towards it, and often a shed in the garden behind."""
    outwards = side * np.array([-ahead[1], ahead[0]])
    centre = front + outwards * rng.uniform(14, 20)
    if not canvas.holds(centre) or not village[pixel_of(centre)]:
        return
    angle = float(np.arctan2(ahead[1], ahead[0])) + rng.normal(0, 0.05) + rng.choice([0, np.pi / 2], p=[0.7, 0.3])
    length, width, eaves, ridge = rng.uniform((6.0, 4.4, 3.0, 2.0), (9.5, 6.2, 5.5, 3.5))
    build(rng, canvas, House(centre, length, width, angle, eaves, ridge))
    if rng.random() < 0.6:
        behind = centre + outwards * rng.uniform(14, 22) + ahead * rng.uniform(-6, 6)
        build(rng, canvas, House(behind, rng.uniform(3.0, 6.0), rng.uniform(2.4, 3.6), angle, 2.4, 0.8))


def build_farms(rng: Random, canvas: Canvas, count: int) -> None:
    """Up to ``count`` farms among the fields: long halls side by side and a house."""
    for _ in range(30 * count):
        centre, angle = rng.uniform(0.07, 0.93, 2) * canvas.size_m, float(rng.uniform(0, np.pi))
        length, width = rng.uniform(14, 22), rng.uniform(6.5, 10)
        if not build(rng, canvas, House(centre, length, width, angle, 5.0, 2.2)):
            continue
        ahead, aside = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        barn = centre + aside * (2.3 * width + 5)
        build(rng, canvas, House(barn, length * 0.8, width * 0.9, angle, 4.5, 2.0))
        build(rng, canvas, House(centre - aside * (width + 14) + 6 * ahead, 7.0, 5.0, angle, 4.5, 3.0))
        count -= 1
        if not count:
            return


def build(rng: Random, canvas: Canvas, house: House) -> bool:
    """Build one house unless something is in the way or the scene ends there; tell whether it stands."""
    reach = float(np.hypot(house.half_length_m, house.half_width_m)) + 2
    if not canvas.holds(house.centre - reach) or not canvas.holds(house.centre + reach):
        return False
    part, down, right = canvas.around(house.centre, reach)
    along, across = turned(down, right, house.angle)
    beyond = np.maximum(np.abs(along) - house.half_length_m, np.abs(across) - house.half_width_m)
    if (part.cover[beyond < 1.5] != OPEN_LAND).any():
        return False
    part.height[beyond < 0] = (house.eaves_m + house.ridge_m * (1 - np.abs(across) / house.half_width_m))[beyond < 0]
    roof(rng, part, beyond < 0, along, across)
    return True


def roof(rng: Random, part: Canvas, inside: Mask, along: Array, across: Array) -> None:
    """Paint a roof: tiles in courses, stains, a pale ridge, and at times solar panels on one side."""
    shares, spectra = zip(*ROOFS, strict=True)
    spectrum = np.array(spectra[rng.choice(len(ROOFS), p=shares)]) * rng.normal(1, 0.12) * rng.normal(1, 0.05, 4)
    tiles = 1 + 0.06 * np.sin(2 * np.pi * across / 1.7) + rng.normal(0, 0.05, along.shape)
    tiles *= 1 + 0.12 * np.sin(along / rng.uniform(2, 5) + rng.uniform(0, 6))
    tiles[np.abs(across) < 0.4] *= 1.15
    part.paint(inside, cast(Spectrum, tuple(spectrum)), tiles, BUILDING)
    if rng.random() < 0.25:
        side = rng.choice([-1, 1]) * across
        panels = (side > 0.8) & (side < side[inside].max() - 0.8) & (np.abs(along) < 0.6 * np.abs(along[inside]).max())
        part.paint(inside & panels, SOLAR_PANELS)


def park_cars(rng: Random, canvas: Canvas, roads: tuple[Line, Line], count: int) -> None:
    """Stand cars on the roads; they belong to the road."""
    for _ in range(count):
        road = roads[rng.integers(len(roads))]
        step = int(rng.integers(len(road.points)))
        ahead = road.direction[step]
        spot = road.points[step] + rng.choice([-1, 1]) * 1.7 * np.array([-ahead[1], ahead[0]])
        part, down, right = canvas.around(spot, 3.5)
        along, across = turned(down, right, float(np.arctan2(ahead[1], ahead[0])))
        body = (np.abs(along) < 2.2) & (np.abs(across) < 0.95) & (part.cover == ROAD)
        part.height[body] = 1.5
        part.paint(body, cast(Spectrum, tuple(np.abs(rng.choice(CAR_PAINTS) * rng.normal(1, 0.15, 4)))))


def turned(down: Array, right: Array, angle: float) -> tuple[Array, Array]:
    """Ways along and across a direction, given as its angle from down towards right."""
    return down * np.cos(angle) + right * np.sin(angle), right * np.cos(angle) - down * np.sin(angle)
