"""How many labelled pixels each class has, and what weight in the loss follows."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sparsecover.errors import LabelError, nearest
from sparsecover.labels.arrays import count_values


class Counted(Protocol):
    """Labels that count themselves."""

    def counts(self, num_classes: int) -> npt.NDArray[np.int64]: ...


KINDS = ("inverse", "tempered", "none")

TEMPERED_CAP = 3.0


def class_counts(labels: Iterable[Counted | npt.NDArray[np.uint8]], num_classes: int) -> npt.NDArray[np.int64]:
    """Labelled pixels by class over label rasters or arrays of class indices, int64[K].

    Raises:
        LabelError: a value that is neither below ``num_classes`` nor 255.
    """
    total = np.zeros(num_classes, np.int64)
    for part in labels:
        total += count_values(part, num_classes) if isinstance(part, np.ndarray) else part.counts(num_classes)
    return total


def class_weights(
    counts: Sequence[int] | npt.NDArray[np.int64], kind: str | Sequence[float]
) -> npt.NDArray[np.float32]:
    """Weights of the classes in the loss, float32[K]; a class without labelled pixels has weight 0.

    Args:
        counts: labelled pixels by class.
        kind: ``inverse``: w_c = (1 / f_c) / mean(1 / f_c), with f_c the share of class c in the labelled pixels and the
            mean over the classes present; ``tempered``: w_c = min((median f / f_c) ** 0.5, 3), the median over the
            classes present; ``none``: 1; or the weights themselves.

    Raises:
        LabelError: an unknown kind, a list of another length, weights that are negative, not finite or all 0.

    >>> class_weights([10, 30, 0], "inverse").tolist()
    [1.5, 0.5, 0.0]
    """
    found = np.asarray(counts, np.float64)
    present = found > 0
    if not isinstance(kind, str):
        return np.where(present, _given(kind, len(found)), 0).astype(np.float32)
    if kind not in KINDS:
        raise LabelError(f"There are no class weights {kind!r}. {nearest(kind, KINDS)} Or give a list of numbers.")
    weights = np.zeros(len(found))
    if not present.any():
        return weights.astype(np.float32)
    share = found[present] / found.sum()
    if kind == "inverse":
        weights[present] = (1 / share) / np.mean(1 / share)
    elif kind == "tempered":
        weights[present] = np.minimum(np.sqrt(np.median(share) / share), TEMPERED_CAP)
    else:
        weights[present] = 1
    return weights.astype(np.float32)


def _given(weights: Sequence[float], num_classes: int) -> npt.NDArray[np.float64]:
    given = np.asarray(weights, np.float64)
    if given.shape != (num_classes,):
        raise LabelError(f"{given.size} class weights given for {num_classes} classes; give one for each, in order.")
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise LabelError(f"Class weights must be finite, not negative and not all 0; given {given.tolist()}.")
    return given
