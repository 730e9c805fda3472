"""How common classes are on the ground, by classifiers that are each fitted without a part of the labelled places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsecover.models.label_shift import LabelShift, class_places, estimate_shift, piece_weights
from sparsecover.models.places import NOWHERE, Integers, number_places

Classifier = Callable[[Tensor], Tensor]
"""Samples [n, F] to probabilities [n, K]."""

_FOLDS = 4
_MOST = 8_000  # samples, views included


@dataclass(frozen=True)
class Samples:
    """Labelled pixels, each once a view.

    Attributes:
        columns: what is known of each, [n, F].
        classes: int64 [n].
        spots: the piece of labels and the place that each belongs to, int64 [n, 2].
    """

    columns: Tensor
    classes: Tensor
    spots: Tensor

    def __getitem__(self, chosen: Tensor) -> "Samples":
        """Those of some indices, or where a mask is true."""
        return Samples(self.columns[chosen], self.classes[chosen], self.spots[chosen])

    @classmethod
    def together(cls, parts: Sequence["Samples"]) -> "Samples":
        """All as one."""
        columns, classes, spots = zip(*((part.columns, part.classes, part.spots) for part in parts), strict=True)
        return cls(torch.cat(columns), torch.cat(classes), torch.cat(spots))

    @property
    def class_places(self) -> dict[int, int]:
        """In how many places each class lies that has labels."""
        return class_places(self.classes.cpu().numpy(), self.spots[:, 1].cpu().numpy())


def number_spots(labels: Tensor, numbered: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Piece and place of each pixel of some windows, int64 [N, 2, h, w], and up to where they are numbered then.

    Args:
        labels: int [N, h, w], 255 where unlabelled.
        numbered: pieces and places of the windows before.
    """
    pieces, places, spots = *numbered, []
    for window in labels.cpu().numpy():
        piece, place = number_places(window)
        spots.append(np.stack([piece + pieces, np.where(place == NOWHERE, NOWHERE, place + places)]))
        pieces, places = pieces + int(piece.max()) + 1, places + int(place.max()) + 1
    return torch.from_numpy(np.stack(spots).astype(np.int64)), (pieces, places)


def cross_fitted_shift(
    fit: Callable[[Samples], Classifier], samples: Samples, ground: Tensor, window: Tensor, num_classes: int, seed: int
) -> LabelShift:
    """The shift by answers to samples of classifiers not fitted to their places, and by these to the ground.

    Args:
        fit: a classifier of samples; it draws from torch's generator.
        samples: whose places ``tell_shares``.
        ground: columns [m, F] of pixels of the ground, at least one.
        window: that each of these lies in, from 0, int64 [m], on the CPU.
        num_classes: K.
        seed: of the folds, the fits and the draws.
    """
    torch.manual_seed(seed)
    classes, (pieces, places) = samples.classes.cpu().numpy(), samples.spots.T.cpu().numpy()
    weights = piece_weights(classes, pieces)
    some = _some(classes, places)
    drawn, fold = samples[some], _folds(places[some.numpy()])
    answers = torch.zeros(len(some), num_classes)
    over = torch.zeros(int(window.max()) + 1, num_classes)
    for held in (fold == number for number in range(_FOLDS)):
        classifier = fit(drawn[~held])
        answers[held] = classifier(drawn[held].columns).cpu()
        over.index_add_(0, window, classifier(ground).cpu())  # on the CPU, where the order of sums is always the same
    told, chosen = (fold >= 0).numpy(), some.numpy()
    return estimate_shift(
        answers.numpy()[told],
        classes[chosen][told],
        places[chosen][told],
        weights[chosen][told],
        np.bincount(classes, weights, minlength=num_classes).astype(np.float64),
        over[over.sum(1) > 0].numpy(),
        seed,
    )


def _some(classes: Integers, places: Integers) -> Tensor:
    """Indices of at most about ``_MOST`` samples, drawn evenly; each class keeps one in each place."""
    order = torch.randperm(len(classes))
    pairs = (classes * (places.max() + 2) + places)[order.numpy()]
    kept = torch.arange(len(order)) < _MOST
    kept[np.unique(pairs, return_index=True)[1]] = True
    return order[kept]


def _folds(places: Integers) -> Tensor:
    """The fit that each sample is held out of, from 0; -1, of none, for those that lie nowhere."""
    known, number = np.unique(places, return_inverse=True)
    fold = torch.randperm(len(known)) % _FOLDS
    fold[torch.from_numpy(known == NOWHERE)] = -1
    return fold[torch.from_numpy(number)]
