"""Resampling along rows and columns with weights that do not depend on the window read."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Taps:
    """For each of n output positions, k input positions (counted from ``first``) and their weights, both [n, k]."""

    first: int
    length: int
    index: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float64]


def axis_taps(start: int, stop: int, n_out: int, n_in: int, nearest: bool = False) -> Taps:
    """Which of ``n_in`` pixels make up the pixels ``start`` to ``stop`` of ``n_out`` over the same ground.

    Going down, a pixel is the mean of what it covers, weighted by length; going up, it is interpolated linearly
    between centres, constant beyond the outermost.
    """
    out = np.arange(start, stop)[:, None]
    scale = n_in / n_out
    if nearest:
        index = np.floor((out + 0.5) * scale).astype(np.intp)
        weight = np.ones(index.shape)
    elif scale > 1:
        left, right = out * scale, (out + 1) * scale
        index = np.floor(left).astype(np.intp) + np.arange(math.ceil(scale) + 1)
        weight = np.clip(np.minimum(right, index + 1) - np.maximum(left, index), 0, None) / scale
    else:
        centre = (out + 0.5) * scale - 0.5
        index = np.floor(centre).astype(np.intp) + np.arange(2)
        weight = 1 - np.abs(centre - index)
    index = np.clip(index, 0, n_in - 1)
    first, last = (int(index.min()), int(index.max())) if index.size else (0, -1)
    return Taps(first, last - first + 1, index - first, weight)


def resample(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], rows: Taps, cols: Taps
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Values [C, H, W] (0 where invalid) and valid [H, W] to [C, h, w] and [h, w].

    Only valid pixels count; a pixel is valid where at least half of its weight is. Integers are rounded.
    """
    exact_in_float32 = values.dtype.itemsize <= 2 or values.dtype == np.float32
    work = np.float32 if exact_in_float32 else np.float64
    total = _along_columns(_along_rows(values, rows, work), cols)
    share = _along_columns(_along_rows(valid[None], rows, work), cols)[0]
    kept = share >= 0.5
    total /= np.where(kept, share, 1)
    total[:, ~kept] = 0
    if values.dtype.kind in "iu":
        np.rint(total, out=total)
    return total.astype(values.dtype, copy=False), kept


# Taps are added one after the other: matrix products may sum in an order that changes with the window's size.
def _along_rows(values: npt.NDArray[Any], taps: Taps, work: type[np.floating[Any]]) -> npt.NDArray[Any]:
    weight = taps.weight.astype(work)
    total = np.zeros((len(values), len(taps.index), values.shape[2]), work)
    for k in range(taps.index.shape[1]):
        total += values[:, taps.index[:, k]] * weight[:, k, None]
    return total


def _along_columns(values: npt.NDArray[Any], taps: Taps) -> npt.NDArray[Any]:
    weight = taps.weight.astype(values.dtype)
    total = np.zeros((*values.shape[:2], len(taps.index)), values.dtype)
    for k in range(taps.index.shape[1]):
        total += values[:, :, taps.index[:, k]] * weight[:, k]
    return total
