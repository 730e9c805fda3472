"""One round of self-training with class-balanced pseudo-labels (Zou et al. 2018)."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from sparsecover.classes import UNLABELLED
from sparsecover.grid import Window, tiles
from sparsecover.patches import Patch
from sparsecover.training.regularisers.base import check_range
from sparsecover.training.regularisers.suggester import Ground, Suggester, Suggestions

_LEVELS = 2**16
_LEAST_DOUBT = 1e-7  # what float32 tells from certainty


class SelfTraining(Suggester):
    """A first network labels the scenes, and a second one learns from what it was surest of as well.

    Of the pixels that the first network gives to a class, the share with the highest confidence become labels of that
    class: the same share of each, so that no class is crowded out. The training takes twice the time.

    Args:
        weight: of the term.
        share: of the pixels of each class, in (0, 1].
    """

    first_round = True

    def __init__(self, weight: float = 0.5, share: float = 0.2) -> None:
        super().__init__(weight)
        self.share = check_range("share", share, 1e-6, 1)

    def suggest(self, ground: Ground) -> tuple[list[Suggestions], str]:
        """The surest of the first network's classes."""
        predicted = [_predict(ground, number) for number in range(len(ground.pairs))]
        counts = np.zeros((ground.num_classes, _LEVELS), np.int64)
        for classes, confidence in predicted:
            known = classes != UNLABELLED
            cells = classes[known].astype(np.int64) * _LEVELS + confidence[known]
            counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        least = np.append(_least_confidence(counts, self.share), _LEVELS).astype(np.int64)
        found = []
        for classes, confidence in predicted:
            index = np.where(classes == UNLABELLED, ground.num_classes, classes)
            found.append(np.where(confidence >= least[index], classes, np.uint8(UNLABELLED)))
        kept = sum(int((suggested != UNLABELLED).sum()) for suggested in found)
        return found, f"The first network labels {kept:,} pixels, the surest {self.share:.0%} of each class"


def _least_confidence(counts: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.int64]:
    """By class, the lowest level of confidence among the share of its pixels with the highest, int64 [K]."""
    above = counts[:, ::-1].cumsum(1)
    wanted = np.maximum(1, np.floor(share * above[:, -1:]))
    return np.asarray(_LEVELS - 1 - (above >= wanted).argmax(1), np.int64)


def _predict(ground: Ground, number: int) -> tuple[Suggestions, npt.NDArray[np.uint16]]:
    """Classes of a scene's free pixels, 255 elsewhere, and their confidence in 65536 levels."""
    grid = ground.pairs[number][0].grid
    classes = np.full((grid.height, grid.width), UNLABELLED, np.uint8)
    confidence = np.zeros((grid.height, grid.width), np.uint16)
    for tile, probabilities, free in _probabilities(ground, number, grid.window):
        best, index = probabilities.max(0)
        # By the odds: most pixels of a sure network lie within a thousandth of 1.
        odds = torch.logit(best, eps=_LEAST_DOUBT) / -math.log(_LEAST_DOUBT)
        level = ((odds + 1) / 2 * (_LEVELS - 1)).round().to(torch.int32).cpu().numpy()
        classes[tile.slices] = np.where(free, index.cpu().numpy(), UNLABELLED)
        confidence[tile.slices] = np.where(free, level, 0)
    return classes, confidence


@torch.no_grad()
def _probabilities(
    ground: Ground, number: int, whole: Window
) -> Iterator[tuple[Window, torch.Tensor, npt.NDArray[np.bool_]]]:
    """The middle halves of windows of training size: tile, probabilities [K, h, w], and where no label is [h, w]."""
    assert ground.network is not None
    margin = ground.size_px // 4
    step = max(1, ground.size_px - 2 * margin)
    for tile in tiles(whole, step, step):
        sample = ground.read(Patch(number, Window(tile.row, tile.col, step, step).expand(margin)))
        logits = ground.network(torch.from_numpy(sample.image)[None].to(ground.device))[0]
        inner = slice(margin, margin + tile.height), slice(margin, margin + tile.width)
        free = sample.valid[inner] & (sample.labels[inner] == UNLABELLED)
        yield tile, logits[:, *inner].float().softmax(0), free
