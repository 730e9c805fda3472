"""Codes of label rasters counted and turned to class indices: by table where their type is small, as in most masks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparsecover.classes import UNLABELLED
from sparsecover.labels.arrays import Indices, Mask

Codes = npt.NDArray[np.integer[Any]]

_PIECE = 2**18  # codes at a time: NumPy widens positions in a table to eight bytes, and a core's cache holds these


def count_codes(codes: Codes, where: Mask) -> dict[int, int]:
    """How often each code occurs where ``where`` is True.

    >>> count_codes(np.array([3, -1, 3], np.int16), np.array([True, True, False]))
    {3: 1, -1: 1}
    """
    chosen = codes[where]
    every = _all_codes(codes.dtype)
    if every is None:
        return {int(code): int(n) for code, n in pd.Series(chosen).value_counts(sort=False).items()}
    counts = np.zeros(len(every), np.int64)
    for _, piece in _pieces(_as_positions(chosen)):
        counts += np.bincount(piece, minlength=len(every))
    return {int(every[i]): int(counts[i]) for i in np.flatnonzero(counts)}


def look_up(codes: Codes, index: Mapping[int, int]) -> tuple[Indices, Mask]:
    """The index of each code, 255 where it has none, and where that is."""
    keys = np.array(sorted(index), np.int64)
    values = np.array([index[int(key)] for key in keys], np.uint8)
    every = _all_codes(codes.dtype)
    if every is None or codes.size < every.size:
        return _search(codes, keys, values)
    indices, strange = _search(every, keys, values)
    found, unknown = np.empty(codes.size, np.uint8), np.empty(codes.size, bool)
    for start, piece in _pieces(_as_positions(codes)):
        part = slice(start, start + len(piece))
        found[part], unknown[part] = indices[piece], strange[piece]
    return found.reshape(codes.shape), unknown.reshape(codes.shape)


def _search(codes: Codes, keys: npt.NDArray[np.int64], values: Indices) -> tuple[Indices, Mask]:
    if not len(keys):
        return np.full(codes.shape, UNLABELLED, np.uint8), np.ones(codes.shape, bool)
    position = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
    strange = keys[position] != codes
    return np.where(strange, np.uint8(UNLABELLED), values[position]), strange


def _all_codes(dtype: np.dtype[Any]) -> Codes | None:
    """Every code of a type of one or two bytes at the position that ``_as_positions`` gives it."""
    if dtype.itemsize > 2:
        return None
    return np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype)


def _pieces(positions: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    flat = positions.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        yield start, flat[start : start + _PIECE]


def _as_positions(codes: Codes) -> npt.NDArray[np.unsignedinteger[Any]]:
    return codes.view(f"u{codes.dtype.itemsize}")
