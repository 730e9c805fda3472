"""Labels that lie in one place."""

import numpy as np
import numpy.typing as npt
import pytest

from sparsecover.classes import UNLABELLED
from sparsecover.models.places import NOWHERE, number_places


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 10)


def clicks(*spots: tuple[int, int]) -> npt.NDArray[np.uint8]:
    labels = np.full((25, 40), UNLABELLED, np.uint8)
    labels[tuple(zip(*spots, strict=True))] = 1
    return labels


def test_clicks_in_one_square_lie_in_one_place() -> None:
    labels = clicks((0, 0), (9, 9), (0, 10), (24, 39))
    piece, place = number_places(labels)
    assert sorted(piece[labels == 1]) == [1, 2, 3, 4]
    assert place[labels == 1].tolist() == [0, 1, 0, 11]  # rows first
    assert (piece[labels != 1].max(), place[labels != 1].max()) == (0, NOWHERE)


def test_a_piece_over_a_border_lies_in_one_place_and_takes_nothing_else_with_it() -> None:
    labels = clicks((2, 2), (2, 17))
    labels[7:12, 8:15], labels[12, 15] = 0, 2  # the second class touches by a corner
    piece, place = number_places(labels)
    assert len({*piece[7:12, 8:15].ravel(), piece[12, 15]}) == 1
    assert {*place[7:12, 8:15].ravel(), place[12, 15]} == {0}
    assert (place[2, 2], place[2, 17]) == (0, 1)


@pytest.mark.parametrize("reach", [(11, 1), (1, 11), (25, 40)])
def test_what_is_larger_than_a_square_lies_in_no_place(reach: tuple[int, int]) -> None:
    labels = clicks((24, 0))
    labels[: reach[0], : reach[1]] = 0
    assert set(number_places(labels)[1][labels == 0]) == {NOWHERE}


def test_without_labels_there_is_no_place() -> None:
    piece, place = number_places(np.full((3, 3), UNLABELLED, np.uint8))
    assert (piece.max(), place.max()) == (0, NOWHERE)
