"""What samplers share: the budget, a hash for each pixel, and the pixels with the smallest hashes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.labels.arrays import Indices, Mask, count_values

Positions = npt.NDArray[np.intp]

_BLOCK = 2**18  # pixels at a time: the hash's work fits into a core's cache
_BINS = 2**12
_LOW_BITS = np.uint32(20)  # of 32: what the number of a bin leaves


@dataclass(frozen=True)
class Budget:
    """How much to label: a fraction of the labelled pixels, or a number of things per class; and by which dice.

    ``key`` stands for seed and scene; ``origin`` is the row and column of the mask's first pixel in its scene;
    ``share`` is what a tile of a larger scene has of the whole scene's budget, by class.
    """

    fraction: float | None
    n: int | None
    key: int
    origin: tuple[int, int] = (0, 0)
    share: tuple[int, ...] | None = None

    def at(self, row: int, col: int) -> Self:
        """The same for a part of the mask whose first pixel this is."""
        return replace(self, origin=(self.origin[0] + row, self.origin[1] + col))

    def pixels(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Pixels to label of each class: the fraction, at least one of a class that is there; or n, or all."""
        if self.share is not None:
            return np.minimum(self.share[: len(counts)], counts)
        wanted = np.full(len(counts), self.n) if self.fraction is None else np.rint(counts * self.fraction)
        return np.where(counts > 0, np.clip(wanted, 1, counts), 0).astype(np.int64)


Sampler = Callable[..., Indices]
"""Class indices uint8[H, W] (255 unlabelled) and a budget to a copy in which only some pixels keep their label.

Parameters that can be given by keyword only are its options, each a ``Size`` or a ``Distance``.
"""


def scene_key(seed: int, scene_id: str) -> int:
    """64 bits from a seed and a scene's name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{scene_id}".encode(), digest_size=8).digest(), "little")


def pixel_hashes(key: int, row: int, col: int, height: int, width: int) -> npt.NDArray[np.uint32]:
    """A hash for each pixel of a window that depends on ``key``, its row and its column alone, uint32[h, w]."""
    rows = _mix64(np.arange(row, row + height, dtype=np.int64).view(np.uint64) * np.uint64(2) + np.uint64(1), key)
    cols = _mix64(np.arange(col, col + width, dtype=np.int64).view(np.uint64) * np.uint64(2), key)
    hashes = rows.astype(np.uint32)[:, None] ^ cols.astype(np.uint32)
    scratch = np.empty_like(hashes)
    # The two multiplications and three shifts with the least bias that a search by Chris Wellons (2018) found.
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        np.right_shift(hashes, np.uint32(shift), out=scratch)
        np.bitwise_xor(hashes, scratch, out=hashes)
        if factor != 1:
            np.multiply(hashes, np.uint32(factor), out=hashes)
    return hashes


def hashed_strips(mask: Indices, budget: Budget) -> Iterator[tuple[slice, Indices, npt.NDArray[np.uint32]]]:
    """Row slices of a mask with its labels and hashes there."""
    height, width = mask.shape
    rows = max(1, _BLOCK // max(width, 1))
    for start in range(0, height, rows):
        part = slice(start, min(start + rows, height))
        size = (part.stop - start, width)
        yield part, mask[part], pixel_hashes(budget.key, budget.origin[0] + start, budget.origin[1], *size)


def smallest(mask: Indices, wanted: npt.NDArray[np.int64], budget: Budget) -> Positions:
    """Flat positions of the ``wanted[k]`` pixels of each class k with the smallest hashes, in the order of hashes."""
    cut = find_cut(lambda: [(0, mask)], lambda _: wanted, budget)
    found, dice = [], []
    for part, labels, hashes in hashed_strips(mask, budget):
        row, col = np.nonzero(cut.keep(labels, hashes))
        found.append((row + part.start) * mask.shape[1] + col)
        dice.append(hashes[row, col])
    chosen: Positions = np.concatenate(found)[np.argsort(np.concatenate(dice), kind="stable")]
    return chosen


Strips = Callable[[], Iterable[tuple[int, Indices]]]
"""Goes through a raster once: the first row and the labels of strips as wide as it is, from the top."""


@dataclass(frozen=True)
class Cut:
    """Which hashes are small enough: those below ``limit[k]``, and the first ``ties[k]`` pixels that have just that.

    ``keep`` uses the ties up, so that strips have to come in turn.
    """

    limit: npt.NDArray[np.uint32]
    ties: npt.NDArray[np.int64]

    def keep(self, labels: Indices, hashes: npt.NDArray[np.uint32]) -> Mask:
        """Where the pixels of the next strip are kept, bool[h, w]."""
        limit = self.limit[labels]
        kept: Mask = hashes < limit
        for row, col in np.argwhere(hashes == limit):
            k = labels[row, col]
            kept[row, col] = self.ties[k] > 0
            self.ties[k] -= 1
        return kept


def find_cut(strips: Strips, wanted: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]], budget: Budget) -> Cut:
    """The cut that keeps exactly as many pixels of each class as ``wanted`` makes of their counts, int64[K].

    A first pass counts hashes by their leading bits; the second sorts only those among which the cut must lie, one in
    a few thousand.
    """
    histogram = _histogram(strips, budget)
    left = np.zeros(256, np.int64)
    number = wanted(histogram.sum(axis=1))
    left[: len(number)] = number
    last = np.zeros(256, np.uint32)
    for k in np.flatnonzero(left):
        below = np.cumsum(histogram[k])
        last[k] = np.searchsorted(below, left[k])
        left[k] -= below[last[k]] - histogram[k, last[k]]
    near: list[list[npt.NDArray[np.uint32]]] = [[] for _ in left]
    for labels, hashes in _hashed(strips, budget):
        undecided = (hashes >> _LOW_BITS) == last[labels]
        code, dice = labels[undecided], hashes[undecided]
        for k in np.flatnonzero((left > 0) & (np.bincount(code, minlength=256) > 0)):
            near[k].append(dice[code == k])
    cut = Cut(np.zeros(256, np.uint32), np.zeros(256, np.int64))
    for k in np.flatnonzero(left):
        ranked = np.sort(np.concatenate(near[k]))
        cut.limit[k] = ranked[left[k] - 1]
        cut.ties[k] = left[k] - np.searchsorted(ranked, cut.limit[k])
    return cut


def _histogram(strips: Strips, budget: Budget) -> npt.NDArray[np.int64]:
    """Labelled pixels by class and by the leading bits of their hashes, int64[255, bins]."""
    flat = np.zeros(UNLABELLED * _BINS, np.int64)
    for labels, hashes in _hashed(strips, budget):
        labelled = labels != UNLABELLED
        code = labels[labelled].astype(np.uint32) * np.uint32(_BINS) + (hashes[labelled] >> _LOW_BITS)
        counts = np.bincount(code)  # of the classes there are: few of all that there may be
        flat[: len(counts)] += counts
    return flat.reshape(UNLABELLED, _BINS)


def _hashed(strips: Strips, budget: Budget) -> Iterator[tuple[Indices, npt.NDArray[np.uint32]]]:
    for row, labels in strips():
        for _, values, hashes in hashed_strips(labels, budget.at(row, 0)):
            yield values, hashes


def class_totals(mask: Indices, num_classes: int | None = None) -> npt.NDArray[np.int64]:
    """Pixels of each class index, int64[K]; default: up to the highest index there is."""
    counts = count_values(mask, UNLABELLED)
    if num_classes is None:
        num_classes = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    return counts[:num_classes]


def unlabelled_like(mask: Indices) -> Indices:
    """An array of the mask's shape without labels."""
    return np.full(mask.shape, UNLABELLED, np.uint8)


def _mix64(values: npt.NDArray[np.uint64], key: int) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    z = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
