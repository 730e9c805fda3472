"""The flat part of the demo scene: fields, water and roads."""

from dataclasses import dataclass

import numpy as np

from sparsecover.datasets.demo.canvas import (
    OPEN_LAND,
    ROAD,
    WATER,
    Array,
    Canvas,
    Floats,
    Line,
    Mask,
    Random,
    Spectrum,
    trace,
)


@dataclass(frozen=True)
class Crop:
    """What grows on a field: share of the fields, spectrum, and how strongly rows and patches show."""

    share: float
    spectrum: Spectrum
    row_m: float = 0.0
    rows: float = 0.0
    patches: float = 0.1
    grain: float = 0.05


# Crops are as green as trees, gravel as pale as some roofs: what tells them apart is texture and shape.
CROPS = (
    Crop(0.24, (0.060, 0.098, 0.044, 0.43), row_m=2.6, rows=0.10, patches=0.10),  # winter wheat
    Crop(0.19, (0.054, 0.088, 0.041, 0.38), row_m=3.4, rows=0.20, patches=0.12),  # sugar beet
    Crop(0.16, (0.085, 0.120, 0.056, 0.38), patches=0.14, grain=0.08),  # meadow
    Crop(0.10, (0.225, 0.232, 0.060, 0.45), row_m=2.8, rows=0.05, patches=0.09),  # rape in flower
    Crop(0.17, (0.175, 0.150, 0.115, 0.330), row_m=3.0, rows=0.08, patches=0.12),  # brown soil
    Crop(0.14, (0.240, 0.220, 0.160, 0.400), row_m=3.8, rows=0.06, patches=0.10),  # pale, dry soil
)
GRASS: Spectrum = (0.086, 0.116, 0.057, 0.36)
ASPHALT: Spectrum = (0.122, 0.121, 0.124, 0.135)
WORN_ASPHALT: Spectrum = (0.182, 0.179, 0.173, 0.202)
GRAVEL: Spectrum = (0.290, 0.270, 0.238, 0.325)
DEEP_WATER: Spectrum = (0.030, 0.042, 0.048, 0.022)
MUDDY_WATER: Spectrum = (0.072, 0.080, 0.066, 0.036)
GREEN_WATER: Spectrum = (0.036, 0.060, 0.044, 0.040)
PAINT: Spectrum = (0.40, 0.40, 0.39, 0.40)
WHEEL_TRACKS: Spectrum = (0.14, 0.115, 0.085, 0.24)
GARDENS = (GRASS, (0.095, 0.128, 0.058, 0.40), (0.058, 0.086, 0.044, 0.34), (0.19, 0.16, 0.12, 0.27))


@dataclass(frozen=True)
class Parcels:
    """The plain cut into blocks of parallel strips.

    Attributes:
        index: int [H, W], 0..``count`` - 1.
        across_m: float32 [H, W], way across the strips.
        edge_m: float32 [H, W], distance from the strip's edge.
        border_m: float32 [H, W], distance from the block's border.
        pair: int [H, W], which two blocks meet at that border.
    """

    index: Array
    count: int
    across_m: Floats
    edge_m: Floats
    border_m: Floats
    pair: Array


def cut_parcels(rng: Random, canvas: Canvas) -> Parcels:
    """Cut the plain into convex blocks about 190 m across, and those into strips 26 to 62 m wide."""
    down, right = canvas.positions_m()
    per_side = max(2, round(canvas.size_m / 190))
    cells = np.moveaxis(np.mgrid[:per_side, :per_side], 0, -1).reshape(-1, 2)
    seeds = (cells + rng.uniform(0.12, 0.88, cells.shape)) * canvas.size_m / per_side
    squared = np.stack([(down - y) ** 2 + (right - x) ** 2 for y, x in seeds])
    block, other = np.argpartition(squared, 1, axis=0)[:2]
    nearer, farther = (np.take_along_axis(squared, i[None], 0)[0] for i in (block, other))
    block, other = np.where(nearer <= farther, (block, other), (other, block))
    apart = np.hypot(*np.moveaxis(seeds[block] - seeds[other], -1, 0))
    border = np.abs(farther - nearer) / (2 * apart)
    angle = rng.uniform(0, np.pi, len(seeds))[block]
    across = down * np.cos(angle) - right * np.sin(angle)
    cuts = np.cumsum(rng.uniform(26, 62, 100)) - 1.5 * canvas.size_m
    strip = np.searchsorted(cuts, across)
    edge = np.minimum(np.minimum(across - cuts[strip - 1], cuts[strip] - across), border)
    pair = np.minimum(block, other) * len(seeds) + np.maximum(block, other)
    index = block * len(cuts) + strip
    across_m, edge_m, border_m = (np.asarray(way, np.float32) for way in (across, edge, border))
    return Parcels(index, len(seeds) * len(cuts), across_m, edge_m, border_m, pair)


def sow(rng: Random, canvas: Canvas, parcels: Parcels) -> None:
    """Paint a crop on every parcel: its colour, its rows, the tractor's lanes, and patches of better and worse soil."""
    crop = rng.choice(len(CROPS), parcels.count, p=[c.share for c in CROPS])[parcels.index]
    traits = np.array([(c.row_m or 1.0, c.rows, c.patches, c.grain) for c in CROPS], np.float32)
    row_m, rows, patches, grain = np.moveaxis(traits[crop], -1, 0)
    growth = 1 + patches * canvas.noise(rng, 14, 0.6) + grain * canvas.noise(rng, 1.2, 0.6)
    growth += rows * np.sin(2 * np.pi * parcels.across_m / row_m + 0.35 * canvas.noise(rng, 8, 0.2))
    growth = np.clip(growth, 0.4, 1.6) * rng.normal(1, 0.06, parcels.count).astype(np.float32)[parcels.index]
    spectra = np.array([c.spectrum for c in CROPS], np.float32)
    tint = rng.normal(1, 0.02, (parcels.count, 4)).astype(np.float32)
    for band in range(4):
        canvas.reflectance[band] = spectra[crop, band] * tint[parcels.index, band] * growth
    # Two wheels 1.9 m apart every 18 m; the soil shows where they run.
    wheel = np.abs(np.abs(parcels.across_m % 18.0 - 9.0) - 0.95)
    lanes = np.where(rows > 0, 0.7 * np.exp(-((wheel / 0.4) ** 2)), 0)
    for band, soil in zip(canvas.reflectance, WHEEL_TRACKS, strict=True):
        band += lanes * (soil - band)
    canvas.paint(parcels.edge_m < 0.7, GRASS, growth)


def flood(rng: Random, canvas: Canvas) -> Floats:
    """Paint a river from the upper to the lower edge and ponds; return the distance from the shore [H, W] in metres."""
    down = np.linspace(-0.2, 1.2, 9)
    right = rng.uniform(0.3, 0.7) + rng.uniform(-0.25, 0.25) * (down - 0.5) + rng.normal(0, 0.055, 9)
    river = trace(canvas, np.stack([down, right], axis=1))
    shore_m = river.distance_m - 10.5 - 2.2 * canvas.noise(rng, 25, 0.4)
    down_m, right_m = canvas.positions_m()
    wobble_m = 3.0 * canvas.noise(rng, 18, 0.3)
    for _ in range(3):
        y, x = rng.uniform(0.08, 0.92, 2) * canvas.size_m
        radius_m, stretch = rng.uniform(11, 22), rng.uniform(0.7, 1.4)
        pond_m = np.hypot((down_m - y) * stretch, (right_m - x) / stretch) - radius_m
        shore_m = np.minimum(shore_m, pond_m - wobble_m)
    fill(rng, canvas, np.asarray(shore_m, np.float32), river.distance_m < 30)
    return np.asarray(shore_m, np.float32)


def fill(rng: Random, canvas: Canvas, shore_m: Floats, flowing: Mask) -> None:
    """Paint water where the distance from the shore is negative: mud, algae where it stands, ripples, a grassy bank."""
    bank, wet = shore_m < 4.5, shore_m < 0
    canvas.paint(bank, GRASS, 1 + 0.2 * canvas.noise(rng, 4, 0.8))
    canvas.height[bank] = np.clip(shore_m[bank] / 3, -1.2, 0)
    mud = np.clip(0.35 + 0.3 * canvas.noise(rng, 60, 0.3) + 0.25 * np.exp(np.minimum(shore_m, 0) / 3) * flowing, 0, 1)
    algae = np.clip(np.where(flowing, 0.15, 0.5 + 0.4 * canvas.noise(rng, 45, 0.5)), 0, 1)
    ripples = 1 + 0.05 * canvas.noise(rng, 2.0, 0.3)
    for band, deep, muddy, green in zip(canvas.reflectance, DEEP_WATER, MUDDY_WATER, GREEN_WATER, strict=True):
        water = ((deep * (1 - mud) + muddy * mud) * (1 - algae) + green * algae) * ripples
        band[wet] = water[wet]
    canvas.cover[wet] = WATER


def pave(rng: Random, canvas: Canvas, parcels: Parcels, shore_m: Floats) -> tuple[Line, Line]:
    """Paint tracks along the blocks' borders and two roads; return the main road and the lane that forks off it."""
    wear = 1 + 0.10 * canvas.noise(rng, 9, 0.7) + 0.05 * canvas.noise(rng, 1.0, 0.6)
    kept = rng.random(int(parcels.pair.max()) + 1) < 0.65
    canvas.paint((parcels.border_m < 2.3) & kept[parcels.pair] & (shore_m > 3), GRAVEL, wear, ROAD)
    main, lane = survey(rng, canvas)
    verges = (main.distance_m < 6.7) | (lane.distance_m < 5.4)
    canvas.paint(verges & (shore_m > 0), GRASS, 1 + 0.15 * canvas.noise(rng, 3, 0.7), OPEN_LAND)
    lay_asphalt(rng, canvas, lane, 3.2, WORN_ASPHALT, wear)
    lay_asphalt(rng, canvas, main, 4.5, ASPHALT, wear)
    return main, lane


def survey(rng: Random, canvas: Canvas) -> tuple[Line, Line]:
    """Courses of a main road from the left to the right edge and of a lane that forks off to the upper or lower one."""
    right = np.linspace(-0.2, 1.2, 8)
    main = trace(canvas, np.stack([rng.uniform(0.3, 0.7) + rng.normal(0, 0.04, 8), right], axis=1))
    side = rng.choice([0.3, 0.7]) + rng.uniform(-0.1, 0.1)
    fork = main.points[np.argmin(np.abs(main.points[:, 1] - side * canvas.size_m))] / canvas.size_m
    down = np.linspace(fork[0], rng.choice([-0.2, 1.2]), 6)
    bends = np.concatenate([[0, 0], rng.normal(0, 0.05, 4)])
    return main, trace(canvas, np.stack([down, fork[1] + bends], axis=1))


def lay_asphalt(rng: Random, canvas: Canvas, road: Line, half_width_m: float, surface: Spectrum, wear: Floats) -> None:
    """Paint a road in stretches of newer and older surface, with a dashed line along its middle."""
    stretch = np.floor(road.along_m / 70).astype(int)
    age = rng.normal(1, 0.16, int(stretch.max()) + 1).astype(np.float32)[stretch]
    on_road = road.distance_m < half_width_m
    canvas.paint(on_road, surface, wear * age, ROAD)
    canvas.height[on_road] = 0.0
    canvas.paint((road.distance_m < 0.35) & (road.along_m % 12 < 5), PAINT)


def lay_gardens(rng: Random, canvas: Canvas, roads: tuple[Line, Line], village: Mask) -> None:
    """Divide the village's open land into plots of lawn, beds and trodden ground, in two rows along the roads."""
    main, lane = roads
    nearer = main.distance_m < lane.distance_m
    along_m, away_m = (
        np.where(nearer, a, b) for a, b in ((main.along_m, lane.along_m), (main.distance_m, lane.distance_m))
    )
    plot = 4 * np.floor(along_m / 11).astype(int) + 2 * (away_m > 27) + nearer
    count = int(plot.max()) + 1
    kind = rng.choice(len(GARDENS), count, p=(0.4, 0.3, 0.2, 0.1))[plot]
    shade = rng.normal(1, 0.1, count)[plot] * (1 + 0.16 * canvas.noise(rng, 2.5, 0.7))
    where = village & (canvas.cover == OPEN_LAND)
    for band, spectrum in zip(canvas.reflectance, np.transpose(GARDENS), strict=True):
        band[where] = (spectrum[kind] * shade)[where]
