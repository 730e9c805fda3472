"""How common classes are on the ground, and how far a classifier should mind: labels seldom lie as the classes do.

Clicks are about as many of each class, and a classifier of clicks calls rare classes too often. Its mean answer over
the ground is a mixture of its mean answers to each class, which are known from places that it was not fitted to; so the
shares of the classes follow (Lipton, Wang & Smola 2018, with probabilities in place of decisions). From a few places
that is wild: it is done again and again with places and ground drawn anew, and what of the difference to the labels is
not larger than it varies is left out (the positive part of James & Stein 1961).

A polygon among clicks counts as a few of them: its pixels teach one field, and no one who paints says how common fields
are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

LEAST_PLACES = 20
"""Places of each class from which on the estimate was better than none; docs/technical-report.md has the trials."""

_MOST_OF_PIECE = 4  # times what the usual piece of labels has
_DRAWS = 100
_TOWARDS_LABELS = 0.03  # weight of the labels' own shares in least squares, where the answers hardly tell
_LEAST_SHARE = 0.05  # of an even share
_EXPONENT = 0.5  # of how much more common a class is: class weights temper the shares in the labels alike


@dataclass(frozen=True)
class LabelShift:
    """What an estimate came to.

    Attributes:
        shares: of the classes on the ground, float [K], sum 1; 0 of a class without labels.
        logits: to be added to the classifier's, float [K]; mean 0 over the classes with labels.
    """

    shares: Floats
    logits: Floats


def class_places(classes: Integers, places: Integers) -> dict[int, int]:
    """In how many places each class lies that has labels.

    Args:
        classes, places: of labelled pixels, int [n]; a place below 0 is none.
    """
    pairs = np.unique(np.stack([classes, places])[:, places >= 0], axis=1)
    return {int(each): int(np.count_nonzero(pairs[0] == each)) for each in np.unique(classes)}


def tell_shares(counts: Mapping[int, int]) -> bool:
    """Whether there are two classes or more, and each lies in at least ``LEAST_PLACES`` places."""
    return len(counts) > 1 and min(counts.values()) >= LEAST_PLACES


def piece_weights(classes: Integers, pieces: Integers) -> Floats:
    """What each labelled pixel counts for, float [n]: 1, or less in pieces that have many times the usual one's.

    The usual one is that of the class whose pieces are small, so that no class passes for common by being painted.

    Args:
        classes: of labelled pixels, int [n].
        pieces: connected pieces of labels that these belong to, int [n]; with classes that touch, each is one.
    """
    pairs, of_pair, counts = np.unique(np.stack([classes, pieces]), axis=1, return_inverse=True, return_counts=True)
    usual = min(np.median(counts[pairs[0] == each]) for each in np.unique(classes))
    weights: Floats = np.minimum(1, _MOST_OF_PIECE * usual / counts)[of_pair.reshape(-1)]
    return weights


def estimate_shift(
    answers: Floats,
    classes: Integers,
    places: Integers,
    weights: Floats,
    labels: Floats,
    ground: Floats,
    seed: int = 0,
) -> LabelShift:
    """Estimate the shares of the classes on the ground and what they mean for a classifier.

    Args:
        answers: probabilities of labelled pixels, float [n, K], from classifiers that were not fitted to their places.
        classes: of these pixels, int [n].
        places: of these pixels, int [n]; drawn together.
        weights: of these pixels, float [n].
        labels: weights of all labelled pixels, summed by class [K]; of each class some are among those above.
        ground: sums of probabilities over parts of the ground, float [parts, K].
        seed: of the draws.
    """
    known = np.flatnonzero(labels)
    given = labels[known] / labels[known].sum()
    draws = _draws(answers[:, known], np.searchsorted(known, classes), places, weights, ground[:, known], seed)
    found = np.array([_unmixed(mixing, mean, given) for mixing, mean in draws])
    shares, logits = np.zeros(len(labels)), np.zeros(len(labels))
    shares[known] = found.mean(0)
    more = np.log(np.maximum(found, _LEAST_SHARE / len(known)) / given)
    believed = _EXPONENT * _believed(more - more.mean(1, keepdims=True))
    logits[known] = believed - believed.mean()
    return LabelShift(shares, logits)


def _draws(
    answers: Floats, classes: Integers, places: Integers, weights: Floats, ground: Floats, seed: int
) -> Iterator[tuple[Floats, Floats]]:
    """Mean answers [K, K], a column a true class, of places drawn with replacement (of a class not drawn, of all), and
    those to the ground [K], of parts drawn likewise.
    """
    ids = np.unique(places, return_inverse=True)[1]
    number, random = ids.max() + 1, np.random.default_rng(seed)
    sums = np.zeros((number, answers.shape[1], answers.shape[1]))  # by place, true class, answer
    counts = np.zeros((number, answers.shape[1]))
    np.add.at(sums, (ids, classes), weights[:, None] * answers)
    np.add.at(counts, (ids, classes), weights)
    whole = sums.sum(0) / counts.sum(0)[:, None]
    for _ in range(_DRAWS):
        drawn = np.bincount(random.integers(number, size=number), minlength=number)
        total = drawn @ counts
        mixed = np.tensordot(drawn, sums, 1) / np.where(total > 0, total, 1)[:, None]
        over = ground[random.integers(len(ground), size=len(ground))].sum(0)
        yield np.where(total[:, None] > 0, mixed, whole).T, over / over.sum()


def _unmixed(mixing: Floats, mean: Floats, labels: Floats) -> Floats:
    """The shares q >= 0, sum 1, for which ``mixing @ q`` is nearest to the mean answer, drawn towards the labels'."""
    count, towards = len(labels), np.sqrt(_TOWARDS_LABELS)
    rows = np.vstack([mixing, towards * np.eye(count), np.full((1, count), 100.0)])  # 100: the sum is kept
    shares: Floats = nnls(rows, np.concatenate([mean, towards * labels, [100.0]]))[0]
    shares /= shares.sum()
    return shares


def _believed(draws: Floats) -> Floats:
    """Means over draws [n, K], made smaller by the share of their square that their variance is."""
    mean = draws.mean(0)
    square = np.maximum(np.square(mean), np.finfo(np.float64).tiny)
    believed: Floats = mean * np.maximum(0, 1 - draws.var(0) / square)
    return believed
