"""Scribbles: strokes that stay inside a region and run along its middle."""

import math
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers.base import Budget, Positions
from sparsecover.labels.samplers.grow import grow
from sparsecover.labels.samplers.options import Size

_TURNS = (-0.5, -0.25, 0.0, 0.25, 0.5)  # radians a hand may turn in one pixel


def scribbles(mask: Indices, budget: Budget, *, length_px: Size = 60, width_px: Size = 3) -> Indices:
    """Keep ``n`` strokes in each class, or strokes that hold exactly the rounded ``fraction`` of its pixels.

    Args:
        length_px: length of a stroke in pixels; it ends earlier where the region does.
        width_px: width of the brush.
    """

    def stroke(mask: Indices, row: int, col: int, generator: np.random.Generator) -> Positions:
        return _stroke(mask, row, col, generator, length_px, width_px)

    return grow(mask, budget, stroke, length_px * width_px, length_px)


def _stroke(
    mask: Indices, row: int, col: int, generator: np.random.Generator, length_px: int, width_px: int
) -> Positions:
    """A walk that turns towards the middle of the region, and the brush along it."""
    top, left = max(0, row - length_px), max(0, col - length_px)
    near = mask[top : row + length_px + 1, left : col + length_px + 1] == mask[row, col]
    room = distance_transform_edt(np.pad(near, 1))[1:-1, 1:-1]
    y, x = row - top + 0.5, col - left + 0.5
    heading = generator.uniform(0, 2 * math.pi)
    path = [(int(y), int(x))]
    for _ in range(length_px):
        turns = [heading + turn for turn in _TURNS]
        ahead = [(y + math.sin(turn), x + math.cos(turn)) for turn in turns]
        scores = [_room(room, *place) for place in ahead] + generator.uniform(0, 0.5, len(ahead))
        best = int(np.argmax(scores))
        heading, (y, x) = turns[best], ahead[best]
        if _room(room, y, x) < 1:
            break
        path.append((int(y), int(x)))
    brush = [(i, j) for i in _reach(width_px) for j in _reach(width_px) if 4 * (i * i + j * j) <= width_px * width_px]
    drawn = dict.fromkeys((i + di, j + dj) for i, j in path for di, dj in brush)
    inside = [(i, j) for i, j in drawn if 0 <= i < near.shape[0] and 0 <= j < near.shape[1] and near[i, j]]
    rows, cols = np.array(inside).T
    positions: Positions = (rows + top) * mask.shape[1] + cols + left
    return positions


def _reach(width_px: int) -> range:
    return range(-(width_px // 2), width_px // 2 + 1)


def _room(room: np.ndarray[Any, Any], y: float, x: float) -> float:
    """Distance to the region's border, 0 outside."""
    i, j = math.floor(y), math.floor(x)
    inside = 0 <= i < room.shape[0] and 0 <= j < room.shape[1]
    return float(room[i, j]) if inside else 0.0
