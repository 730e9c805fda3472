"""Classifiers fitted without a part of the labelled places, and what they say of the ground."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sparsecover.classes import UNLABELLED
from sparsecover.models.cross_fitting import Classifier, Samples, cross_fitted_shift, number_spots
from sparsecover.models.places import NOWHERE


def test_spots_of_all_windows_are_numbered_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 4)
    labels = torch.full((2, 8, 8), UNLABELLED)
    labels[:, 0, 0], labels[:, 0, 7], labels[:, 7, 0] = 0, 1, 1
    first, numbered = number_spots(labels, (0, 0))
    second, _ = number_spots(labels, numbered)
    found = torch.cat([first, second]).movedim(1, -1)[torch.cat([labels, labels]) != UNLABELLED]
    assert first.shape == (2, 2, 8, 8)
    for kind in found.T:
        assert len(kind.unique()) == len(kind) == 12
    assert set(first[:, 1][labels == UNLABELLED].tolist()) == {NOWHERE}


def spread(count: int, per_place: int = 1) -> Samples:
    """As many samples of three classes; the column tells the class."""
    classes = torch.arange(3).repeat_interleave(count)
    place = torch.arange(3 * count) // per_place
    return Samples(torch.eye(3)[classes], classes, torch.stack([torch.arange(3 * count), place], 1))


def fits(seen: list[Samples]) -> Callable[[Samples], Classifier]:
    """Remembers what each classifier was fitted to; they all know the class."""

    def fit(some: Samples) -> Classifier:
        seen.append(some)
        return lambda columns: columns

    return fit


def ground_of(*shares: int) -> tuple[Tensor, Tensor]:
    classes = torch.arange(3).repeat_interleave(torch.tensor(shares)).repeat(10)
    return torch.eye(3)[classes], torch.arange(10).repeat_interleave(sum(shares))


def test_no_classifier_is_fitted_to_a_place_that_it_answers_to() -> None:
    samples, asked = spread(40, per_place=2), list[Samples]()
    answered: list[tuple[int, Tensor]] = []

    def fit(some: Samples) -> Classifier:
        asked.append(some)
        return lambda columns: answered.append((len(asked), columns)) or columns  # type: ignore[func-returns-value]

    shift = cross_fitted_shift(fit, samples, *ground_of(6, 3, 1), num_classes=3, seed=0)
    assert len(asked) == 4
    for some in asked:
        fitted, rest = set(some.spots[:, 1].tolist()), set(samples.spots[:, 1].tolist())
        assert len(some.classes) == 2 * len(fitted)  # both of each place
        assert len(rest - fitted) == 15
    held = [len(columns) for _, columns in answered[::2]]
    assert sum(held) == 120
    np.testing.assert_allclose(shift.shares, [0.6, 0.3, 0.1], atol=0.03)


def test_what_lies_nowhere_is_fitted_to_and_not_answered_to() -> None:
    samples, asked = spread(30), list[Samples]()
    large = torch.arange(500) + 100
    field = Samples(
        torch.eye(3)[torch.ones(500).long()], torch.ones(500).long(), torch.stack([large * 0 + 99, large * 0 - 1], 1)
    )
    shift = cross_fitted_shift(fits(asked), Samples.together([samples, field]), *ground_of(6, 3, 1), 3, 0)
    assert all((some.spots[:, 1] == NOWHERE).sum() == 500 for some in asked)
    np.testing.assert_allclose(shift.shares, [0.6, 0.3, 0.1], atol=0.03)
    plain = cross_fitted_shift(fits([]), samples, *ground_of(6, 3, 1), 3, 0)
    np.testing.assert_allclose(shift.logits, plain.logits, atol=0.15)  # as four clicks more of its class


def test_of_very_many_samples_every_class_keeps_one_in_each_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.cross_fitting._MOST", 50)
    samples, asked = spread(4000, per_place=100), list[Samples]()
    cross_fitted_shift(fits(asked), samples, *ground_of(1, 1, 1), num_classes=3, seed=0)
    drawn = Samples.together(asked)  # each sample is in three of four
    assert 120 <= len(drawn.classes) / 3 <= 50 + 120
    assert len(drawn.spots[:, 1].unique()) == 120


def test_a_class_without_labels_stays_as_it_is() -> None:
    samples = spread(40)
    columns, window = ground_of(6, 3, 1)
    wider = Samples(torch.nn.functional.pad(samples.columns, (0, 1)), samples.classes, samples.spots)
    shift = cross_fitted_shift(fits([]), wider, torch.nn.functional.pad(columns, (0, 1)), window, 4, 0)
    assert (shift.shares[3], shift.logits[3]) == (0, 0)
