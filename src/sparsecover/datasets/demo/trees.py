"""Woods, hedges and gardens of the demo scene, tree by tree."""

import numpy as np
from scipy import ndimage

from sparsecover.datasets.demo.canvas import (
    BUILDING,
    PIXEL_M,
    WOODLAND,
    Array,
    Canvas,
    Mask,
    Random,
    Spectrum,
    pixel_of,
)

BROADLEAF: Spectrum = (0.045, 0.076, 0.036, 0.36)
YOUNG_LEAF: Spectrum = (0.066, 0.098, 0.045, 0.39)
CONIFER: Spectrum = (0.040, 0.063, 0.039, 0.30)
FOREST_FLOOR: Spectrum = (0.050, 0.058, 0.036, 0.21)


def plant_woods(rng: Random, canvas: Canvas, share: float, keep_off: Mask) -> None:
    """Plant irregular woods on about a share of the scene: a dark floor under crowns, conifers and leaves in stands."""
    relief = canvas.noise(rng, 75, 0.35)
    woods = (relief > np.quantile(relief, 1 - share)) & ~keep_off
    floor = ndimage.binary_erosion(woods, iterations=3)  # the outermost crowns hang over the fields
    canvas.paint(floor, FOREST_FLOOR, 1 + 0.2 * canvas.noise(rng, 3, 0.8), WOODLAND)
    canvas.height[floor] = 1.0
    spots = scatter(rng, canvas, 4.4)
    spots = spots[woods[pixel_of(spots)]]
    stand, age = (canvas.noise(rng, scale_m, 0.3)[pixel_of(spots)] for scale_m in (55, 60))
    conifer = stand + rng.normal(0, 0.3, len(spots)) > 0.7
    radius_m = np.where(conifer, rng.uniform(1.7, 2.7, len(spots)), rng.uniform(2.2, 4.2, len(spots)))
    radius_m *= np.clip(1 + 0.18 * age, 0.6, 1.4)
    for spot, radius, kind in zip(spots, radius_m, conifer, strict=True):
        plant(rng, canvas, spot, float(radius), bool(kind))


def plant_singly(rng: Random, canvas: Canvas, where: Mask, spacing_m: float, share: float) -> None:
    """Plant single trees on some pixels, on a share of the points of a loose lattice."""
    spots = scatter(rng, canvas, spacing_m)
    for spot in spots[where[pixel_of(spots)] & (rng.random(len(spots)) < share)]:
        plant(rng, canvas, spot, rng.uniform(2.6, 4.6), rng.random() < 0.15)


def scatter(rng: Random, canvas: Canvas, spacing_m: float) -> Array:
    """Points [n, 2] in metres on a lattice with that spacing, each moved at random by up to half of it."""
    steps = np.arange(spacing_m / 2, canvas.size_m, spacing_m)
    lattice = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    spots = lattice + rng.uniform(-0.5, 0.5, lattice.shape) * spacing_m
    return np.asarray(np.clip(spots, 0, canvas.size_m - PIXEL_M / 2))


def plant(rng: Random, canvas: Canvas, spot: Array, radius_m: float, conifer: bool) -> None:
    """Stand one tree on the canvas: a lumpy dome or a cone, the higher the broader."""
    part, down, right = canvas.around(spot, 1.3 * radius_m)
    angle = np.arctan2(down, right)
    lobes = 1 + 0.10 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.08 * np.sin(5 * angle + rng.uniform(0, 6))
    way = np.hypot(down, right) / (radius_m * lobes)
    shape = 1 - way if conifer else np.sqrt(np.clip(1 - way**2, 0, 1))
    top_m = radius_m * (3.6 if conifer else 2.4) * rng.uniform(0.85, 1.15)
    crown_m = top_m * (0.45 + 0.55 * shape) + rng.normal(0, 0.22, way.shape)
    seen = (way < 1) & (crown_m > part.height) & (part.cover != BUILDING)
    part.height[seen] = crown_m[seen]
    leaf_depth = (0.80 + 0.25 * shape) * rng.normal(1, 0.10) * rng.normal(1, 0.08, way.shape)
    part.paint(seen, CONIFER if conifer else foliage(rng), leaf_depth, WOODLAND)


def foliage(rng: Random) -> Spectrum:
    """The green of one broadleaf, between old and young leaves."""
    mix = rng.beta(1.2, 2.0)
    red, green, blue, nir = ((1 - mix) * old + mix * young for old, young in zip(BROADLEAF, YOUNG_LEAF, strict=True))
    return red, green, blue, nir
