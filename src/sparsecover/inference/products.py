"""From blended probabilities to the arrays of the output files, and the statistics printed with them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.classes import NODATA_CODE, ClassScheme
from sparsecover.errors import ModelError
from sparsecover.grid import Grid, Window
from sparsecover.inference.planes import Planes, functions, to_host
from sparsecover.inference.streaming import Blended
from sparsecover.inference.threads import alongside

Arrays = dict[str, npt.NDArray[Any]]

# Percentages are rounded half up. Sums of weights differ from 1 in the last digit, so exact halves (eight equal
# classes give 12.5%) would otherwise be rounded up and down at random.
_HALF = 0.5 + 1e-4
_WAITING_BLOCKS = 2
_DIGITS = 6  # of hectares and means: further ones depend on the order of summing


@dataclass(frozen=True)
class MapStrip:
    """Finished rows of all outputs.

    Attributes:
        window: where they lie in the scene.
        arrays: by output: ``map`` (codes), ``confidence``, ``probabilities`` [K, h, w], ``entropy``; empty where there
            is no data at all.
        counts: pixels of each class, int64 [K].
        confidence_sum: sum of the mapped class's probability.
    """

    window: Window
    arrays: Arrays
    counts: npt.NDArray[np.int64]
    confidence_sum: float


@dataclass(frozen=True)
class Products:
    """Which outputs to make, and how.

    Attributes:
        scheme: the classes.
        encodings: dtype by output, for ``confidence``, ``probabilities`` and ``entropy`` as far as wanted.
        threshold: of a binary network: probability from which a pixel is the positive class (the higher code).
    """

    scheme: ClassScheme
    encodings: Mapping[str, str]
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and len(self.scheme) != 2:
            raise ModelError(
                f"A threshold was given, but the network has {len(self.scheme)} classes "
                f"({', '.join(self.scheme.names)}); it needs two. Leave it out: the likeliest class is mapped."
            )

    def encode(self, blended: Blended) -> MapStrip:
        """Make the arrays of all outputs for a block; nodata where it is not valid.

        Raises:
            ModelError: the network gave NaN.
        """
        window, probabilities, valid = blended
        if not valid.any():
            return MapStrip(window, {}, np.zeros(len(self.scheme), np.int64), 0.0)
        best, index = self._decide(probabilities)
        chosen, indices = to_host(best), np.where(valid, to_host(index), np.uint8(NODATA_CODE))
        picked = chosen[valid]
        total = float(picked.sum(dtype=np.float64))
        if math.isnan(total):
            raise ModelError(
                f"The network gives NaN in rows {window.row} to {window.row_stop}. Its weights are damaged or its "
                "input overflows; check the scene's values and the checkpoint."
            )
        counts = np.bincount(indices.ravel(), minlength=256)[: len(self.scheme)].astype(np.int64)
        arrays: Arrays = {"map": self.scheme.encode(indices)}
        for name, encoding in self.encodings.items():
            values = _LAYERS[name](probabilities, best)
            arrays[name] = _encode(values, valid, encoding)
        return MapStrip(window, arrays, counts, total)

    def strips(self, blocks: Iterator[Blended]) -> Iterator[MapStrip]:
        """Encode blocks, while the next are computed, and join each row of them."""
        encoded = alongside(self.encode, blocks, _WAITING_BLOCKS)
        for _, row in groupby(encoded, key=lambda block: block.window.row):
            yield _joined(list(row))

    def _decide(self, probabilities: Planes) -> tuple[Planes, Planes]:
        """Probability and index (uint8) of the mapped class; of equals the first."""
        xp = functions(probabilities)
        best, index = probabilities[0], xp.zeros_like(probabilities[0], dtype=xp.uint8)
        if self.threshold is not None:
            positive = int(np.argmax(self.scheme.codes))
            is_positive = probabilities[positive] >= self.threshold
            best = xp.where(is_positive, probabilities[positive], probabilities[1 - positive])
            return best, xp.asarray(is_positive if positive else ~is_positive, dtype=xp.uint8)
        for k in range(1, len(probabilities)):
            index = xp.where(probabilities[k] > best, k, index)
            best = xp.maximum(best, probabilities[k])
        return best, index


def _joined(blocks: Sequence[MapStrip]) -> MapStrip:
    """Blocks side by side as one strip."""
    first, last = blocks[0].window, blocks[-1].window
    window = Window(first.row, first.col, first.height, last.col_stop - first.col)
    arrays: Arrays = {}
    for name, example in next((block.arrays for block in blocks if block.arrays), {}).items():
        nodata = np.nan if example.dtype == np.float32 else NODATA_CODE
        joined = arrays[name] = np.full((*example.shape[:-1], window.width), nodata, example.dtype)
        for block in blocks:
            if block.arrays:
                joined[..., block.window.relative_to(window).slices[1]] = block.arrays[name]
    counts = np.sum([block.counts for block in blocks], axis=0)
    return MapStrip(window, arrays, counts, sum(block.confidence_sum for block in blocks))


def _entropy(probabilities: Planes) -> Planes:
    """Shannon entropy over classes as a share of the largest possible, 0 (certain) to 1 (no idea)."""
    xp = functions(probabilities)
    logs = xp.log(xp.clip(probabilities, 1e-12, 1))
    return -(probabilities * logs).sum(0) / math.log(max(2, len(probabilities)))


# What a layer shows, from the probabilities [K, h, w] and that of the mapped class [h, w].
_LAYERS: dict[str, Callable[[Planes, Planes], Planes]] = {
    "confidence": lambda _, best: best,
    "probabilities": lambda probabilities, _: probabilities,
    "entropy": lambda probabilities, _: _entropy(probabilities),
}


def _encode(values: Planes, valid: npt.NDArray[np.bool_], encoding: str) -> npt.NDArray[Any]:
    """Shares 0..1 as percent 0..100 (uint8, nodata 255), or as they are (float32, nodata NaN)."""
    xp = functions(values)
    if encoding == "float32":
        return np.where(valid, to_host(xp.clip(values, 0, 1)), np.float32(np.nan))
    percent = xp.asarray(xp.clip(values * 100 + _HALF, 0, 100), dtype=xp.uint8)
    return np.where(valid, to_host(percent), np.uint8(NODATA_CODE))


class Tally:
    """Statistics of a map, added up strip by strip."""

    def __init__(self, scheme: ClassScheme, grid: Grid) -> None:
        self._scheme, self._grid = scheme, grid
        self._pixels = np.zeros(len(scheme), np.int64)
        self._area_ha = np.zeros(len(scheme))
        self._confidence = 0.0

    def add(self, window: Window, counts: npt.NDArray[np.int64], confidence_sum: float = 0.0) -> None:
        """Count a strip. Its own pixel area is taken: in degrees it shrinks towards the poles."""
        self._pixels += counts
        self._area_ha += counts * (self._grid.crop(window).pixel_area_ha or 0.0)
        self._confidence += confidence_sum

    def restart(self) -> "Tally":
        """An empty tally that keeps the mean confidence, for a map that was changed afterwards."""
        fresh = Tally(self._scheme, self._grid)
        fresh._confidence = self._confidence
        return fresh

    def as_dict(self) -> dict[str, Any]:
        """Plain values: pixels, hectares (None without a coordinate system) and share by class; mean confidence."""
        total = int(self._pixels.sum())
        has_area = self._grid.pixel_area_ha is not None
        classes = [
            {
                "code": code,
                "name": name,
                "pixels": int(pixels),
                "area_ha": round(float(area), _DIGITS) if has_area else None,
                "share": pixels / total if total else None,
            }
            for code, name, pixels, area in zip(
                self._scheme.codes, self._scheme.names, self._pixels.tolist(), self._area_ha, strict=True
            )
        ]
        return {
            "pixels": total,
            "nodata_pixels": self._grid.window.size - total,
            "area_ha": round(float(self._area_ha.sum()), _DIGITS) if has_area else None,
            "mean_confidence": round(self._confidence / total, _DIGITS) if total else None,
            "classes": classes,
        }
