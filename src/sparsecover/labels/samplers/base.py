"""What samplers share: the budget, a hash for each pixel, and the pixels with the smallest hashes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError
from sparsecover.labels.arrays import Indices, count_values

Positions = npt.NDArray[np.intp]

_BLOCK = 2**18  # pixels at a time: the hash's work fits into a core's cache
_BINS = 2**12


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

    def pixels(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Pixels to label of each class: the fraction, at least one of a class that is there; or n, or all."""
        if self.share is not None:
            return np.minimum(self.share[: len(counts)], counts)
        wanted = np.full(len(counts), self.n) if self.fraction is None else np.rint(counts * self.fraction)
        return np.where(counts > 0, np.clip(wanted, 1, counts), 0).astype(np.int64)


class Sampler(Protocol):
    """Class indices uint8[H, W] (255 unlabelled) to a copy in which only some pixels keep their label."""

    def __call__(self, mask: Indices, budget: Budget, **options: Any) -> Indices: ...


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
    """Flat positions of the ``wanted[k]`` pixels of each class k with the smallest hashes, in the order of hashes.

    A first pass counts hashes by their leading bits, the second takes only what may be among the smallest.
    """
    classes = len(wanted)
    histogram = np.zeros((256, _BINS), np.int64)
    for _, labels, hashes in hashed_strips(mask, budget):
        code = labels.astype(np.uint32) * np.uint32(_BINS) + (hashes >> np.uint32(20))
        histogram += np.bincount(code.ravel(), minlength=256 * _BINS).reshape(256, _BINS)
    enough = (np.cumsum(histogram[:classes], axis=1) < wanted[:, None]).sum(axis=1)
    limit = np.zeros(256, np.uint64)
    limit[:classes] = np.where(wanted > 0, (enough + 1) << 20, 0)
    found, dice = [], []
    for part, labels, hashes in hashed_strips(mask, budget):
        row, col = np.nonzero(hashes < limit[labels])
        found.append((row + part.start) * mask.shape[1] + col)
        dice.append(hashes[row, col])
    position, rank = np.concatenate(found), np.concatenate(dice)
    order = np.lexsort((position, rank))
    position = position[order]
    label = mask.reshape(-1)[position]
    taken = np.zeros(len(position), bool)
    for k in range(classes):
        taken[np.flatnonzero(label == k)[: wanted[k]]] = True
    chosen: Positions = position[taken]
    return chosen


def class_totals(mask: Indices, num_classes: int | None = None) -> npt.NDArray[np.int64]:
    """Pixels of each class index, int64[K]; default: up to the highest index there is."""
    counts = count_values(mask, UNLABELLED)
    if num_classes is None:
        num_classes = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    return counts[:num_classes]


def unlabelled_like(mask: Indices) -> Indices:
    """An array of the mask's shape without labels."""
    return np.full(mask.shape, UNLABELLED, np.uint8)


def refuse_unknown_options(options: dict[str, Any], sampler: str) -> None:
    """Raise LabelError for options that a sampler does not have."""
    if options:
        raise LabelError(f"The sampler {sampler!r} has no option {', '.join(sorted(options))}.")


def _mix64(values: npt.NDArray[np.uint64], key: int) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    z = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
