"""Labels spread over the superpixel that they lie in (SLIC: Achanta et al. 2012)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.grid import tiles
from sparsecover.patches import Patch
from sparsecover.patches.batch import Sample
from sparsecover.training.regularisers.base import check_range
from sparsecover.training.regularisers.suggester import Ground, Suggester, Suggestions

_TILE_PX = 512  # superpixels are made where labels are, a tile at a time


class Superpixels(Suggester):
    """Cross-entropy on labels that were spread over superpixels, with a weight that falls to 0 over the training.

    Superpixels with labels of several classes are left out. The log tells how far the labels reached, and the purity:
    how many of the labels that share a superpixel with others agree with its commonest class.

    Args:
        weight: of the term at the start.
        segment_px: pixels of a superpixel, about.
        compactness: 0 follows colour alone; larger values give rounder superpixels.
    """

    def __init__(self, weight: float = 0.4, segment_px: int = 100, compactness: float = 0.1) -> None:
        super().__init__(weight)
        self.segment_px = int(check_range("segment_px", segment_px, 2, 1e6))
        self.compactness = check_range("compactness", compactness, 0, 1e3)

    def weight_at(self, done: float) -> float:
        """The weight, falling linearly."""
        return self.weight * (1 - done)

    def suggest(self, ground: Ground) -> tuple[list[Suggestions], str]:
        """The label of each superpixel that has one class; the labelled pixels themselves are left out."""
        found, total = [], _Spread()
        for number, (scene, labels) in enumerate(ground.pairs):
            suggested = np.full((scene.grid.height, scene.grid.width), UNLABELLED, np.uint8)
            for tile in tiles(scene.grid.window, _TILE_PX, _TILE_PX):
                if (labels.read(tile) != UNLABELLED).any():
                    sample = ground.read(Patch(number, tile))
                    part, spread = spread_labels(sample, self._segments(sample), ground.num_classes)
                    suggested[tile.slices], total = part, total + spread
            found.append(suggested)
        return found, str(total)

    def _segments(self, sample: Sample) -> npt.NDArray[np.int64]:
        """Numbers of the superpixels from 1, [h, w]; 0 on invalid pixels."""
        from skimage.segmentation import slic

        if not sample.valid.any():
            return np.zeros(sample.valid.shape, np.int64)
        count = max(1, int(sample.valid.sum()) // self.segment_px)
        image = np.moveaxis(sample.image, 0, -1) / 2  # from -1..1, so that the compactness means what it usually does
        segments: npt.NDArray[np.int64] = slic(
            image, count, max(self.compactness, 1e-6), convert2lab=False, start_label=1, channel_axis=-1,
            mask=None if sample.valid.all() else sample.valid,
        )  # fmt: skip
        return np.where(sample.valid, segments, 0)


@dataclass(frozen=True)
class _Spread:
    """How far labels were spread."""

    given: int = 0
    reached: int = 0
    segments: int = 0
    conflicts: int = 0
    shared: int = 0
    agreeing: int = 0

    def __add__(self, other: "_Spread") -> "_Spread":
        return _Spread(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        text = (
            f"Superpixels spread {self.given:,} labels to {self.reached:,} more pixels in {self.segments:,} of them; "
            f"{self.conflicts:,} with labels of several classes are left out"
        )
        if not self.shared:
            return text
        return f"{text}; of the labels that share a superpixel {self.agreeing / self.shared:.1%} agree"


def spread_labels(sample: Sample, segments: npt.NDArray[np.int64], num_classes: int) -> tuple[Suggestions, _Spread]:
    """Give each unlabelled pixel of a segment the label of its labelled ones, where these agree.

    Args:
        sample: labels uint8 [h, w] and valid mask.
        segments: numbers [h, w] from 1; 0 belongs to none.
        num_classes: K.
    """
    labelled = (sample.labels != UNLABELLED) & (segments > 0)
    cells = segments[labelled] * num_classes + sample.labels[labelled]
    counts = np.bincount(cells, minlength=(int(segments.max()) + 1) * num_classes).reshape(-1, num_classes)
    classes, totals = (counts > 0).sum(1), counts.sum(1)
    label = np.where(classes == 1, counts.argmax(1), UNLABELLED).astype(np.uint8)
    suggested = np.where(sample.valid & (sample.labels == UNLABELLED), label[segments], np.uint8(UNLABELLED))
    several = totals > 1
    return suggested, _Spread(
        given=int(totals.sum()),
        reached=int((suggested != UNLABELLED).sum()),
        segments=int((classes == 1).sum()),
        conflicts=int((classes > 1).sum()),
        shared=int(totals[several].sum()),
        agreeing=int(counts.max(1)[several].sum()),
    )
