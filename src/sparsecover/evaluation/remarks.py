"""What a reader should notice in the scores, in plain sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover import metrics
from sparsecover.classes import in_words
from sparsecover.evaluation.assessment import Assessment

FEW_PIXELS = 100
"""Below this many pixels a share says little."""

_LEAST_FOR_MIXUPS = 30  # a class that is mostly missed should be named even where its labels are few
_MIXED_SHARE = 0.1
_MOST_MIXUPS = 3
_UNEVEN_SHARE = 0.1


def remarks(assessment: Assessment, mapped: npt.NDArray[np.integer[Any]] | None = None) -> list[str]:
    """Sentences on what no skill would reach, classes without or with few held-out pixels, labels that lie
    unevenly, mix-ups, confidence and unmapped labels.

    Args:
        assessment: of the map.
        mapped: pixels of each class in the map, integers [K]; None if unknown.
    """
    return [
        *without_skill(assessment.confusion, assessment.scheme.names, "the same held-out labels"),
        *_thin(assessment),
        *([] if mapped is None else _uneven(assessment, mapped)),
        *_mixups(assessment),
        *_confidence(assessment),
        *_unmapped(assessment),
    ]


def without_skill(confusion: metrics.Confusion, names: Sequence[str], ground: str) -> list[str]:
    """What a map of the most common class alone would score, in a sentence; none without pixels.

    Args:
        confusion: int64 [K, K], rows are the truth.
        names: of the classes.
        ground: what was scored, in words that follow "on".
    """
    constant = metrics.of_one_class(confusion)
    if not constant.any():
        return []
    pixels = confusion.sum(1)
    alone = int((pixels == pixels.max()).sum()) == 1
    most = f"all of {in_words(names[int(pixels.argmax())])}, the most common class," if alone else "all of one class"
    return [
        f"A map {most} would have a mean IoU of {metrics.miou(constant):.3f} and an "
        f"accuracy of {metrics.accuracy(constant):.3f} on {ground}."
    ]


def _thin(assessment: Assessment) -> list[str]:
    pixels = dict(zip(_names(assessment), assessment.confusion.sum(1).tolist(), strict=True))
    sentences = []
    if absent := [name for name, n in pixels.items() if n == 0]:
        sentences.append(f"No held-out pixel of {_and(absent)}: how well it is mapped is not known.")
    if few := [f"{name} ({n})" for name, n in pixels.items() if 0 < n < FEW_PIXELS]:
        sentences.append(f"Few held-out pixels of {_and(few)}: a handful of labels decides these figures.")
    return sentences


def _uneven(assessment: Assessment, mapped: npt.NDArray[np.integer[Any]]) -> list[str]:
    """Where labels were given evenly to unequal classes, most figures are not those of the ground.

    The map is compared with itself, on the labels and on the whole: a difference comes from where the labels lie.
    """
    held = assessment.confusion.sum(0)
    if not (held.any() and mapped.any()):
        return []
    labels, whole = held / held.sum(), mapped / mapped.sum()
    most = int(np.abs(labels - whole).argmax())
    if abs(labels[most] - whole[most]) < _UNEVEN_SHARE:
        return []
    return [
        f"The map shows {_names(assessment)[most]} on {labels[most]:.0%} of the held-out labels and {whole[most]:.0%} "
        "of the whole: classes are not as common among the labels as on the ground. Mean IoU, accuracy and user's "
        "accuracy depend on that, and would be others for labels at random places; producer's accuracy does not, where "
        "each label was chosen by what stands there."
    ]


def _mixups(assessment: Assessment) -> list[str]:
    """The most frequent confusions by share of the true class, among classes with enough pixels for a share."""
    names, pixels = _names(assessment), assessment.confusion.sum(1, keepdims=True)
    shares = np.where(pixels >= _LEAST_FOR_MIXUPS, assessment.confusion / np.maximum(pixels, 1), 0)
    np.fill_diagonal(shares, 0)
    largest = np.argsort(shares, axis=None)[::-1][:_MOST_MIXUPS]
    cells = [np.unravel_index(i, shares.shape) for i in largest]
    found = [(names[t], names[m], shares[t, m]) for t, m in cells if shares[t, m] >= _MIXED_SHARE]
    return [f"{share:.0%} of the held-out pixels of {true} are mapped as {mapped}." for true, mapped, share in found]


def _confidence(assessment: Assessment) -> list[str]:
    calibration = assessment.calibration
    if calibration is None or assessment.scored_pixels < FEW_PIXELS:
        return []
    stated, right = calibration.mean_confidence, assessment.accuracy
    if abs(stated - right) < 0.02:
        verdict = "which fits"
    else:
        verdict = "less often than it says" if stated > right else "more often than it says"
    return [
        f"On the held-out labels the map states a confidence of {stated:.1%} on average and is right in {right:.1%}, "
        f"{verdict} (expected calibration error {calibration.error:.3f})."
    ]


def _unmapped(assessment: Assessment) -> list[str]:
    n = assessment.unmapped_pixels
    return [f"{n:,} held-out pixels lie where the map holds no data; they are not scored."] if n else []


def _names(assessment: Assessment) -> list[str]:
    return [in_words(name) for name in assessment.scheme.names]


def _and(items: list[str], most: int = 8) -> str:
    shown = items[:most] + ([f"{len(items) - most} more"] if len(items) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
