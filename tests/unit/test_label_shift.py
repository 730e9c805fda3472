"""The shares of classes on the ground, from a classifier that errs, and what they change."""

import numpy as np
import numpy.typing as npt
import pytest

from sparsecover.models.label_shift import (
    LEAST_PLACES,
    LabelShift,
    class_places,
    estimate_shift,
    piece_weights,
    tell_shares,
)

MIXING = np.array([[0.7, 0.2, 0.1], [0.25, 0.6, 0.15], [0.1, 0.3, 0.6]])
"""Mean answers, a row a true class."""


def answers_of(classes: npt.NDArray[np.int64], spread: float = 6.0, seed: int = 0) -> npt.NDArray[np.float64]:
    """Probabilities that vary from pixel to pixel around the mean answer to its class."""
    random = np.random.default_rng(seed)
    return np.array([random.dirichlet(spread * MIXING[each]) for each in classes])


def parts(*shares: float, number: int = 40) -> npt.NDArray[np.float64]:
    """Sums of answers over parts of the ground that are alike."""
    return np.tile(np.array(shares) @ MIXING, (number, 1))


def estimated(
    classes: npt.NDArray[np.int64], places: npt.NDArray[np.int64], ground: npt.NDArray[np.float64], seed: int = 0
) -> LabelShift:
    return estimate_shift(answers_of(classes), classes, places, ones(classes), np.bincount(classes), ground, seed)


def enough(classes: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> bool:
    return tell_shares(class_places(classes, places))


def ones(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.ones(len(classes))


def even(count: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(3), count)


@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.1, 0.1, 0.8), (1 / 3, 1 / 3, 1 / 3)])
def test_the_shares_of_the_ground_are_found_from_even_labels(shares: tuple[float, ...]) -> None:
    classes = even(400)
    found = estimated(classes, np.arange(1200), parts(*shares))
    np.testing.assert_allclose(found.shares, shares, atol=0.06)
    wanted = 0.5 * np.log(shares)
    np.testing.assert_allclose(found.logits, wanted - wanted.mean(), atol=0.15)
    assert found.logits.sum() == pytest.approx(0)


def test_labels_that_lie_as_the_classes_do_change_nothing() -> None:
    classes = np.repeat([0, 1, 2], (600, 300, 100))
    found = estimated(classes, np.arange(1000), parts(0.6, 0.3, 0.1))
    np.testing.assert_allclose(found.logits, 0, atol=0.05)


def test_an_estimate_that_varies_as_much_as_it_differs_is_not_believed() -> None:
    """A classifier that hardly tells classes apart says nothing of their shares."""
    random = np.random.default_rng(0)
    classes = even(30)
    guesses = random.dirichlet([2, 2, 2], 90)
    counts = np.full(3, 30)
    found = estimate_shift(guesses, classes, np.arange(90), np.ones(90), counts, random.dirichlet([200, 200, 200], 40))
    np.testing.assert_allclose(found.logits, 0, atol=0.3)
    again = estimate_shift(
        np.full((90, 3), 1 / 3), classes, np.arange(90), np.ones(90), counts, np.full((40, 3), 1 / 3)
    )
    np.testing.assert_allclose(again.logits, 0, atol=1e-6)
    np.testing.assert_allclose(again.shares, 1 / 3)


def test_pixels_of_one_place_vary_together() -> None:
    classes = even(20)
    answers, ground, counts = answers_of(classes), parts(0.5, 0.4, 0.1), np.full(3, 20)
    once = estimate_shift(answers, classes, np.arange(60), np.ones(60), counts, ground)
    places = np.arange(60).repeat(9)
    often = estimate_shift(answers.repeat(9, 0), classes.repeat(9), places, np.ones(540), counts, ground)
    np.testing.assert_allclose(often.logits, once.logits)


def test_what_a_pixel_weighs_counts_as_so_many() -> None:
    classes, places = even(30), np.arange(90)
    answers, ground, counts = answers_of(classes), parts(0.5, 0.4, 0.1), np.full(3, 30)
    twice = np.append(np.arange(90), np.arange(45))
    copied = estimate_shift(answers[twice], classes[twice], places[twice], np.ones(135), counts, ground)
    weighed = estimate_shift(answers, classes, places, np.repeat([2.0, 1.0], 45), counts, ground)
    np.testing.assert_allclose(weighed.logits, copied.logits)


def test_a_piece_counts_as_at_most_four_usual_ones() -> None:
    classes = np.repeat([0, 1, 1, 2, 0], (1, 1, 1, 1, 400))
    pieces = np.repeat([1, 2, 3, 4, 5], (1, 1, 1, 1, 400))
    np.testing.assert_allclose(piece_weights(classes, pieces), np.repeat([1, 0.01], (4, 400)))
    shared = np.where(pieces == 4, 5, pieces)  # a class that touches another is a piece of its own
    np.testing.assert_allclose(piece_weights(classes, shared), np.repeat([1, 0.01], (4, 400)))
    np.testing.assert_allclose(piece_weights(np.repeat([0, 1], 50), np.repeat([1, 2], 50)), 1)


@pytest.mark.parametrize("polygons", [25, 35])
def test_of_a_painted_class_each_polygon_counts_as_four_clicks_however_many_there_are(polygons: int) -> None:
    classes = np.concatenate([np.repeat([0, 1], 15), np.full(100 * polygons, 2)])
    pieces = np.concatenate([np.arange(30), 30 + np.repeat(np.arange(polygons), 100)])
    assert piece_weights(classes, pieces)[classes == 2].sum() == pytest.approx(4 * polygons)


def test_a_class_that_lies_in_few_parts_of_the_ground_is_less_believed() -> None:
    classes, even_ground = even(200), parts(0.5, 0.4, 0.1)
    clumped = np.repeat(np.array([[0.6, 0.4, 0.0], [0.0, 0.0, 1.0]]) @ MIXING, (36, 4), axis=0)
    spread_out = np.tile(clumped.mean(0), (40, 1))
    assert len(even_ground) == len(clumped)
    found, sure = (estimated(classes, np.arange(600), ground) for ground in (clumped, spread_out))
    np.testing.assert_allclose(found.shares, sure.shares, atol=0.03)
    assert abs(found.logits[2]) < abs(sure.logits[2])


def test_a_class_without_labels_is_left_as_it_is() -> None:
    classes = even(50)
    given = np.insert(answers_of(classes), 1, 0.001, axis=1)
    ground = np.tile([0.4, 0.001, 0.3, 0.3], (40, 1))
    moved = classes + (classes > 0)
    found = estimate_shift(given, moved, np.arange(150), ones(moved), np.bincount(moved), ground)
    assert (found.shares[1], found.logits[1]) == (0, 0)
    assert found.shares.sum() == pytest.approx(1)


def test_a_labelled_class_that_the_ground_has_none_of_is_shifted_beside_the_others() -> None:
    answers = np.eye(3)[even(50)]  # a classifier that never errs
    found = estimate_shift(
        answers, even(50), np.arange(150), np.ones(150), np.full(3, 50), np.tile([0.7, 0.3, 0.0], (40, 1))
    )
    assert found.logits.sum() == pytest.approx(0)
    assert found.logits[2] < found.logits[1] < found.logits[0]


def test_the_seed_decides_what_is_drawn() -> None:
    classes, ground = even(40), parts(0.5, 0.4, 0.1)
    first, same, other = (estimated(classes, np.arange(120), ground, seed).logits for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_each_class_needs_many_places() -> None:
    classes = even(LEAST_PLACES)
    places = np.arange(len(classes))
    assert enough(classes, places)
    assert enough(classes, places % LEAST_PLACES)  # places may hold several classes
    assert not enough(classes[:-1], places[:-1])
    assert not enough(classes, np.where(classes == 1, 0, places))  # one place, however many pixels
    assert not enough(np.zeros(90, np.int64), np.arange(90))  # one class
    assert not enough(classes, np.where(classes == 1, -1, places))  # what lies nowhere
    assert not enough(classes, np.where(places == 0, -1, places))
    assert enough(np.where(classes == 1, 7, classes), places)  # one class has no labels
