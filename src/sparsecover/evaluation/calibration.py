"""Does a stated confidence of 80% mean right in 80 of 100 pixels?"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Sums over scored pixels in 15 bins of confidence of equal width.

    Attributes:
        pixels: int64 [15], pixels whose confidence falls into the bin.
        confidence: float64 [15], sum of their confidences (0..1).
        hits: int64 [15], how many of them are mapped right.
    """

    pixels: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    hits: npt.NDArray[np.int64]

    @classmethod
    def of(cls, confidence: npt.NDArray[np.floating[Any]], hit: npt.NDArray[np.bool_]) -> Self:
        """From the confidence [n] (0..1) of pixels and whether each is right, bool [n]."""
        # Bins are open below and closed above, so that full confidence falls into the last one.
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        return cls(
            np.bincount(bins, minlength=BINS),
            np.bincount(bins, weights=confidence, minlength=BINS).astype(np.float64, copy=False),
            np.bincount(bins[hit], minlength=BINS),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(self.pixels + other.pixels, self.confidence + other.confidence, self.hits + other.hits)

    @property
    def error(self) -> float:
        """Expected calibration error, sum_b n_b/n |accuracy_b - confidence_b| (Naeini et al. 2015); NaN if empty."""
        total = int(self.pixels.sum())
        return float(np.abs(self.hits - self.confidence).sum() / total) if total else float("nan")

    @property
    def bins(self) -> list[tuple[float, float, int]]:
        """Mean confidence, accuracy and pixels of every bin that has pixels."""
        rows = zip(self.pixels, self.confidence, self.hits, strict=True)
        return [(float(c / n), float(h / n), int(n)) for n, c, h in rows if n]

    @property
    def mean_confidence(self) -> float:
        """Mean confidence of all scored pixels; NaN without pixels."""
        total = int(self.pixels.sum())
        return float(self.confidence.sum() / total) if total else float("nan")
