"""Labels kept aside to measure accuracy: whole groups, class by class, with a buffer around them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from sparsecover.classes import in_words
from sparsecover.errors import LabelError
from sparsecover.labels.arrays import Mask
from sparsecover.labels.groups import LabelGroups, label_groups
from sparsecover.labels.label_raster import LabelRaster


class TooFewGroups(LabelError):
    """Fewer groups of labels than folds; among many scenes that is no mistake."""


class Fold(NamedTuple):
    """Labels to train on and labels kept aside.

    Attributes:
        train, held_out: the two sides; the groups of the second are those that were held out as wholes.
        notes: what had to be done, in plain words.
        optimistic: whether the two lie so close that scores on the held-out labels are too good.
    """

    train: LabelRaster
    held_out: LabelRaster
    notes: list[str]
    optimistic: bool


def hold_out(labels: LabelRaster, num_classes: int, share: float = 0.25, seed: int = 0, buffer_px: int = 0) -> Fold:
    """Split labels into a part to train on and a held-out part, by whole groups and class by class.

    Args:
        share: part of each class's groups to hold out, in (0, 1); at least one group where a class has two.
        buffer_px: training labels at most this many rows and columns from a held-out one are left out. Where that would
            take more than half of a class's training labels the buffer is halved, in the end dropped.

    Returns:
        The two sides, with notes on classes that cannot be validated and on a buffer that was reduced.
    """
    if not 0 < share < 1:
        raise LabelError(f"The share to hold out must lie between 0 and 1; given {share:g}.")
    groups = label_groups(labels, num_classes, link_px=buffer_px)
    side = assign_groups(groups.weights, [1 - share, share], seed)
    fold = _fold(labels, groups, side == 1, num_classes, buffer_px)
    unmeasured = _unmeasured(groups, fold.held_out.counts(num_classes) > 0, labels)
    return fold._replace(notes=fold.notes + unmeasured)


def k_folds(labels: LabelRaster, num_classes: int, k: int, seed: int = 0, buffer_px: int = 0) -> list[Fold]:
    """As ``hold_out``, k times with disjoint held-out parts.

    Together these are all labels but those of classes with a single group, which are always trained on.

    Raises:
        TooFewGroups: fewer groups than ``k``.
    """
    if k < 2:
        raise LabelError(f"Cross-validation needs at least 2 folds; given {k}.")
    groups = label_groups(labels, num_classes, link_px=buffer_px)
    if len(groups.counts) < k:
        raise TooFewGroups(f"{k} folds need at least {k} groups of labels; there are {len(groups.counts)}.")
    side = assign_groups(groups.weights, [1 / k] * k, seed)
    only = (groups.counts > 0).sum(axis=0) == 1
    side[(groups.counts[:, only] > 0).any(axis=1)] = -1  # a class must be trained on before it can be tested
    notes = _unmeasured(groups, ~only, labels)
    folds = [_fold(labels, groups, side == fold, num_classes, buffer_px) for fold in range(k)]
    return [fold._replace(notes=fold.notes + notes) for fold in folds]


def assign_groups(weights: npt.NDArray[np.float64], shares: Sequence[float], seed: int) -> npt.NDArray[np.intp]:
    """The side 0..S-1 of each group, so that every class is divided by ``shares`` as far as whole groups allow.

    Args:
        weights: float64[G, K], how much each group counts for each class.
        shares: S parts that sum to 1.

    Rare classes choose first. Each of a class's groups, from heavy to light, goes to the side that lacks the largest
    part of its share; what else the group holds counts by how rare that is. With a tie the earlier side comes first.
    """
    total = np.maximum(weights.sum(axis=0), 1e-9)
    parts = weights / total
    share = np.asarray(shares, np.float64)
    given = np.zeros((len(share), weights.shape[1]))
    side = np.full(len(weights), -1, np.intp)
    order = np.random.default_rng(seed).permutation(len(weights))
    for k in np.argsort((weights > 0).sum(axis=0), kind="stable"):
        free = order[(side[order] < 0) & (weights[order, k] > 0)]
        # Chance decides among groups that are equally heavy to a quarter.
        for group in free[np.argsort(-np.rint(weights[free, k] * 4), kind="stable")]:
            full = np.where(share > 0, given @ parts[group] / np.maximum(share, 1e-9), np.inf)
            side[group] = np.flatnonzero(full <= full.min() + 1e-9)[0]
            given[side[group]] += parts[group]
    return side


def near(mask: Mask, distance_px: int) -> Mask:
    """Pixels at most ``distance_px`` rows and columns from a True one."""
    if distance_px <= 0:
        return mask
    grown = mask.astype(np.uint8)
    for axis in (0, 1):
        grown = maximum_filter1d(grown, 2 * distance_px + 1, axis=axis, mode="constant")
    return grown.astype(bool)


def apart(labels: LabelRaster, held: Mask, num_classes: int, buffer_px: int) -> tuple[LabelRaster, int]:
    """Training labels outside ``held`` and its buffer, and the buffer's width.

    The buffer is halved, in the end to 0, while it would take more than half of any class's training labels.
    """
    train = labels.keep(~held)
    before = train.counts(num_classes)
    while buffer_px > 0:
        buffered = labels.keep(~near(held, buffer_px))
        if (2 * buffered.counts(num_classes) >= before).all():
            return buffered, buffer_px
        buffer_px //= 2
    return train, 0


def buffer_note(wanted_px: int, kept_px: int) -> list[str]:
    """What to say where the buffer became narrower than wanted."""
    if kept_px == wanted_px:
        return []
    left = f"reduced to {kept_px} pixels" if kept_px else "dropped"
    return [
        f"The buffer of {wanted_px} pixels between training and held-out labels was {left}, since too few training "
        "labels would have been left: the accuracy is optimistic."
    ]


def _fold(labels: LabelRaster, groups: LabelGroups, chosen: Mask, num_classes: int, buffer_px: int) -> Fold:
    """Hold out the chosen groups, bool [G]; each stays one group when scores are resampled."""
    held = groups.where(chosen)
    train, kept_px = apart(labels, held, num_classes, buffer_px)
    numbers = np.where(held, groups.numbers, 0).astype(np.uint32)
    held_out = replace(labels.keep(held), groups=numbers, shapes=None, dropped=None)
    return Fold(train, held_out, buffer_note(buffer_px, kept_px), kept_px < buffer_px)


def _unmeasured(groups: LabelGroups, tested: npt.NDArray[np.bool_], labels: LabelRaster) -> list[str]:
    """A note for each class of which no label is held out."""
    names = [in_words(name) for name in (labels.scheme.names if labels.scheme else map(str, range(len(tested))))]
    missing = np.flatnonzero(groups.counts.any(axis=0) & ~tested)
    return [
        f"{names[k]}: {groups.counts[:, k].sum()} labelled pixels in {np.count_nonzero(groups.counts[:, k])} group(s) "
        "are too few to hold some out; the accuracy of this class is not measured."
        for k in missing
    ]
