"""Scores from one confusion matrix over the whole set. NumPy only.

Rows are truth, columns are predictions, so a row's sum is what was labelled and a column's sum what was predicted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.errors import DataError

Confusion = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def confusion_matrix(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int, ignore_index: int = 255
) -> Confusion:
    """Count (truth, prediction) pairs over pixels whose truth is not ``ignore_index``.

    Args:
        truth: integer class indices 0..K-1 or ``ignore_index``, any shape.
        prediction: integer class indices, same shape; must be in 0..K-1 wherever truth is labelled.
        num_classes: K.
        ignore_index: truth of unlabelled pixels.

    Returns:
        int64 [K, K], rows truth, columns prediction.

    Raises:
        DataError: different shapes, or an index outside 0..K-1.
    """
    if truth.shape != prediction.shape:
        raise DataError(f"Truth has the shape {truth.shape}, the prediction {prediction.shape}; they must agree.")
    labelled = truth != ignore_index
    rows, columns = truth[labelled].astype(np.int64), prediction[labelled].astype(np.int64)
    for what, values in (("truth", rows), ("prediction", columns)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            wrong = np.unique(values[(values < 0) | (values >= num_classes)])[:5].tolist()
            raise DataError(f"The {what} holds the class indices {wrong}; expected 0 to {num_classes - 1}.")
    return np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(num_classes, num_classes)


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Scores:
    """Element-wise quotient, NaN where the denominator is 0."""
    out = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)
    return out


def iou(confusion: Confusion) -> Scores:
    """Intersection over union, TP / (TP + FP + FN), by class; NaN where absent from truth and prediction."""
    hits = np.diag(confusion)
    return _ratio(hits, confusion.sum(0) + confusion.sum(1) - hits)


def users_accuracy(confusion: Confusion) -> Scores:
    """Share of the pixels mapped as a class that are it (precision), by class; NaN where nothing is mapped so."""
    return _ratio(np.diag(confusion), confusion.sum(0))


def producers_accuracy(confusion: Confusion) -> Scores:
    """Share of a class's pixels that are mapped as it (recall), by class; NaN where the truth has none."""
    return _ratio(np.diag(confusion), confusion.sum(1))


def f1(confusion: Confusion) -> Scores:
    """Harmonic mean of user's and producer's accuracy (Dice), by class; NaN where absent from both."""
    return _ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def accuracy(confusion: Confusion) -> float:
    """Share of labelled pixels that are right; NaN without labelled pixels."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else float("nan")


def miou(confusion: Confusion) -> float:
    """Mean IoU over the classes present in truth or prediction; NaN without labelled pixels."""
    scores = iou(confusion)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


def of_one_class(confusion: Confusion) -> Confusion:
    """The confusion matrix, int64 [K, K], if all of the same pixels were mapped as the most common class among them."""
    constant = np.zeros_like(confusion)
    truth = confusion.sum(1)
    constant[:, truth.argmax()] = truth
    return constant


def kappa(confusion: Confusion) -> float:
    """Cohen's kappa; NaN without labelled pixels or where chance alone explains everything."""
    total = confusion.sum()
    if not total:
        return float("nan")
    chance = float((confusion.sum(0) / total) @ (confusion.sum(1) / total))
    return (accuracy(confusion) - chance) / (1 - chance) if chance < 1 else float("nan")


def summary(confusion: Confusion, names: Sequence[str]) -> dict[str, Any]:
    """The scores of a confusion matrix as plain values for JSON; undefined ones are None."""
    return {
        "miou": finite(miou(confusion)),
        "accuracy": finite(accuracy(confusion)),
        "kappa": finite(kappa(confusion)),
        "per_class_iou": by_name(iou(confusion), names),
        "users_accuracy": by_name(users_accuracy(confusion), names),
        "producers_accuracy": by_name(producers_accuracy(confusion), names),
        "f1": by_name(f1(confusion), names),
        "confusion": confusion.tolist(),
    }


def finite(value: float) -> float | None:
    """The value as a float, or None where it is NaN (JSON has no NaN)."""
    return float(value) if np.isfinite(value) else None


def by_name(scores: Scores, names: Sequence[str]) -> dict[str, float | None]:
    """Scores by class name, None where undefined."""
    return {name: finite(score) for name, score in zip(names, scores, strict=True)}
