"""How far the scores might have been off had other places been labelled: a bootstrap over groups of labels.

Pixels of one polygon or block resemble each other, so pixels are not drawn anew, but whole groups are.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
Sums = npt.NDArray[np.int64]

MIN_GROUPS = 10
MIN_GROUPS_PER_CLASS = 3
_RESAMPLES = 1000


def group_sums(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], groups: npt.NDArray[Any], k: int) -> Sums:
    """Count hits, true and predicted pixels by group and class.

    Args:
        truth: class indices [n], 0..K-1.
        prediction: class indices [n], 0..K-1.
        groups: index of each pixel's group [n], from 0.
        k: number of classes K.

    Returns:
        int64 [G, 3, K]: hits, truth, predictions.
    """
    count = int(groups.max()) + 1 if groups.size else 0
    first = groups.astype(np.int64) * k
    hit = truth == prediction
    cells = (first[hit] + truth[hit], first + truth, first + prediction)
    return np.stack([np.bincount(c, minlength=count * k).reshape(count, k) for c in cells], axis=1)


def bootstrap(sums: Sums, seed: int = 0) -> tuple[Interval, Interval] | None:
    """95% percentile intervals of mIoU and accuracy over resampled groups (Efron & Tibshirani 1993, ch. 13).

    Args:
        sums: int64 [G, 3, K], see ``group_sums``.
        seed: of the resampling.

    Returns:
        Intervals (low, high) of mIoU and of accuracy. None where there are fewer than 10 groups, or a class of the
        truth lies in fewer than 3 of them: resampling would then tell more about luck than about the map.
    """
    if _too_few(sums):
        return None
    drawn = _resampled(sums, np.random.default_rng(seed))
    return _percentiles(_mious(drawn)), _percentiles(drawn[:, 0].sum(1) / drawn[:, 1].sum(1))


def bootstrap_gain(sums: Sums, others: Sums, seed: int = 0) -> Interval | None:
    """95% percentile interval of one map's mIoU minus another's, both scored on the same resampled groups.

    Args:
        sums: int64 [G, 3, K] of one map, see ``group_sums``.
        others: the same of the other map, group by group.
        seed: of the resampling.

    Returns:
        (low, high); None where ``bootstrap`` has none.
    """
    if _too_few(sums):
        return None
    own, other = (_mious(_resampled(both, np.random.default_rng(seed))) for both in (sums, others))
    return _percentiles(own - other)


def _too_few(sums: Sums) -> bool:
    """Whether resampling would tell more about luck than about the map."""
    present = (sums[:, 1] > 0).sum(0)
    return len(sums) < MIN_GROUPS or bool((present[present > 0] < MIN_GROUPS_PER_CLASS).any())


def _mious(drawn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean IoU of each draw [resamples, 3, K]."""
    hits, truth, predicted = drawn[:, 0], drawn[:, 1], drawn[:, 2]
    union = truth + predicted - hits
    iou = np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)
    mean: npt.NDArray[np.float64] = np.nanmean(iou, axis=1)
    return mean


def _resampled(sums: Sums, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Sums over groups drawn with replacement, float64 [resamples, 3, K]; one draw at a time bounds the memory."""
    groups = len(sums)
    flat = sums.reshape(groups, -1).astype(np.float64)  # floats multiply by BLAS, and counts stay exact to 2^53
    draws = (np.bincount(random.integers(groups, size=groups), minlength=groups) for _ in range(_RESAMPLES))
    return np.stack([draw @ flat for draw in draws]).reshape(_RESAMPLES, *sums.shape[1:])


def _percentiles(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
