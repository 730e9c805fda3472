"""The camera: sunlight, shadows and haze over the painted ground, then the sensor's blur, noise and numbers."""

import numpy as np
from scipy import ndimage

from sparsecover.datasets.demo.canvas import PIXEL_M, WATER, Array, Canvas, Floats, Mask, Random

AZIMUTH, ELEVATION = np.radians(155.0), np.radians(52.0)
SKYLIGHT = (0.22, 0.25, 0.29, 0.19)  # light from the sky as a share of sunlight: shadows are blue and dark in infrared
HAZE = (0.006, 0.009, 0.014, 0.003)
SCALE = 10_000  # digital numbers are reflectance times this
NODATA = 0


def photograph(rng: Random, canvas: Canvas, valid: Mask) -> Array:
    """The scene as the sensor delivers it, uint16 [4, H, W]; 0 where not valid."""
    sunlight = shading(canvas) * ~shadows(canvas.height)
    sunlight = ndimage.gaussian_filter(sunlight, 0.5) * cloud_shade(rng, canvas)
    image = np.empty((4, *canvas.cover.shape), np.uint16)
    vapour = 1 + 0.15 * canvas.noise(rng, 150, 0.0)
    for band in range(4):
        light = sunlight * (1 - SKYLIGHT[band]) + SKYLIGHT[band]
        radiance = canvas.reflectance[band] * light + HAZE[band] * vapour
        radiance = ndimage.gaussian_filter(radiance, 0.55)
        noise = rng.standard_normal(radiance.shape, dtype=np.float32)
        radiance += noise * (0.0022 + 0.018 * radiance)
        image[band] = np.clip(radiance * SCALE, 1, 65_535)
    image[:, ~valid] = NODATA
    return image


def shading(canvas: Canvas) -> Floats:
    """Lambert's cosine of the sun on the ground's slope, 1 on level ground; water is level."""
    relief = ndimage.gaussian_filter(np.where(canvas.cover == WATER, -1.2, canvas.height), 0.7)
    down, right = np.gradient(relief, PIXEL_M)
    towards_down, towards_right = -np.cos(AZIMUTH), np.sin(AZIMUTH)
    facing = np.tan(ELEVATION) - down * towards_down - right * towards_right
    cosine = facing / np.sqrt(1 + down**2 + right**2) / np.tan(ELEVATION)
    return np.asarray(np.clip(cosine, 0.2, 1.7), np.float32)


def shadows(height: Floats) -> Mask:
    """Where something nearer to the sun stands in its way: walk towards the sun pixel by pixel."""
    towards = -np.cos(AZIMUTH), np.sin(AZIMUTH)
    rise = PIXEL_M * np.tan(ELEVATION)
    reach = int(np.ptp(height) / rise) + 1
    padded = np.pad(height, reach, mode="edge")
    size = height.shape
    horizon = np.full(size, -np.inf, np.float32)
    for step in range(1, reach + 1):
        row, col = (reach + round(step * t) for t in towards)
        np.maximum(horizon, padded[row : row + size[0], col : col + size[1]] - step * rise, out=horizon)
    return np.asarray(horizon > height + 0.15)


def cloud_shade(rng: Random, canvas: Canvas) -> Floats:
    """Share of sunlight that thin clouds let through, 0.68 to 1 with soft edges."""
    cloud = canvas.noise(rng, 170, 0.1)
    return np.asarray(1 - 0.32 * ndimage.gaussian_filter(np.clip(1.6 * (cloud - 0.7), 0, 1), 4), np.float32)
