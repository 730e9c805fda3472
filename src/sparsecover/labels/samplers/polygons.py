"""Small hand-sized polygons drawn inside regions."""

import math

import numpy as np
from scipy.ndimage import label
from skimage.draw import polygon

from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, Positions
from sparsecover.labels.samplers.grow import grow
from sparsecover.labels.samplers.options import Size


def polygons(mask: Indices, budget: Budget, *, size_px: Size = 16) -> Indices:
    """Keep ``n`` polygons in each class, or polygons that hold exactly the rounded ``fraction`` of its pixels.

    Args:
        size_px: largest diameter of a polygon; it is cut where its region ends.
    """

    def patch(mask: Indices, row: int, col: int, generator: np.random.Generator) -> Positions:
        return _patch(mask, row, col, generator, size_px / 2)

    return grow(mask, budget, patch, max(1, size_px * size_px // 2), 2 * size_px)


def _patch(mask: Indices, row: int, col: int, generator: np.random.Generator, radius: float) -> Positions:
    """A polygon of six to nine corners around the start, from the middle outwards, without parts that are cut off."""
    corners = int(generator.integers(6, 10))
    angle = (np.arange(corners) + generator.uniform(0, 0.8, corners)) * (2 * math.pi / corners)
    reach = radius * generator.uniform(0.6, 1.0, corners)
    outline = row + reach * np.sin(angle), col + reach * np.cos(angle)
    inside = polygon(*outline, mask.shape)  # type: ignore[no-untyped-call]
    rows, cols = (np.append(axis, start) for axis, start in zip(inside, (row, col), strict=True))
    top, left = rows.min(), cols.min()
    same = np.zeros((int(rows.max() - top) + 1, int(cols.max() - left) + 1), bool)
    same[rows - top, cols - left] = mask[rows, cols] == mask[row, col]
    regions, _ = label(same)
    rows, cols = np.nonzero(regions == regions[row - top, col - left])
    order = np.argsort((rows + top - row) ** 2 + (cols + left - col) ** 2, kind="stable")
    positions: Positions = ((rows + top) * mask.shape[1] + cols + left)[order]
    return positions
