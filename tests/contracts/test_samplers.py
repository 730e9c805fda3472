"""What every sampler of partial labels promises."""

from inspect import signature

import numpy as np
import pytest

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError
from sparsecover.labels import SAMPLERS, simulate_file, simulate_labels

BY_FRACTION = sorted(SAMPLERS)
BY_NUMBER = sorted(set(SAMPLERS) - {"pixels"})


def scene() -> np.ndarray:
    """Regions of five classes, thin and large ones, an unlabelled part, and a class of three pixels."""
    row, col = np.mgrid[:160, :200]
    mask = ((row // 40) * 2 + col // 70).astype(np.uint8) % 4
    mask[row == col] = 1
    mask[100:120, 50:120] = UNLABELLED
    mask[10:11, 20:23] = 4
    return mask


MASK = scene()
NOTHING = None  # in place of labels: what looks at it fails
TOTAL = np.bincount(MASK[MASK != UNLABELLED], minlength=5)


def kept(values: np.ndarray) -> np.ndarray:
    return np.bincount(values[values != UNLABELLED], minlength=5)


@pytest.mark.parametrize("sampler", BY_FRACTION)
@pytest.mark.parametrize("fraction", [0.002, 0.1])
def test_labels_are_those_of_the_mask_or_none(sampler, fraction):
    values = simulate_labels(MASK, sampler, fraction=fraction)
    assert values.dtype == np.uint8
    assert values.shape == MASK.shape
    labelled = values != UNLABELLED
    assert labelled.any()
    assert np.array_equal(values[labelled], MASK[labelled])


@pytest.mark.parametrize("sampler", BY_FRACTION)
def test_all_is_all(sampler):
    part = MASK[70:120, 40:100]
    assert np.array_equal(simulate_labels(part, sampler, fraction=1.0), part)


@pytest.mark.parametrize("sampler", BY_NUMBER)
@pytest.mark.parametrize("fraction", [0.002, 0.05, 0.4])
def test_the_budget_is_met_to_the_pixel(sampler, fraction):
    expected = np.maximum(1, np.rint(TOTAL * fraction)).astype(int)
    assert kept(simulate_labels(MASK, sampler, fraction=fraction)).tolist() == expected.tolist()


def test_the_budget_of_pixels_is_met_by_chance():
    share = kept(simulate_labels(MASK, "pixels", fraction=0.1)).sum() / TOTAL.sum()
    assert share == pytest.approx(0.1, abs=0.006)


@pytest.mark.parametrize("sampler", BY_NUMBER)
def test_every_class_is_sampled_by_number(sampler):
    counts = kept(simulate_labels(MASK, sampler, n=5))
    assert (counts > 0).all()
    assert counts[4] == 3  # there are no more
    if sampler in ("per_class", "points"):
        assert counts.tolist() == [5, 5, 5, 5, 3]


@pytest.mark.parametrize("sampler", BY_FRACTION)
def test_seed_and_scene_decide(sampler):
    def draw(**options):
        return simulate_labels(MASK, sampler, fraction=0.05, **options)

    assert np.array_equal(draw(seed=1, scene_id="a"), draw(seed=1, scene_id="a"))
    assert not np.array_equal(draw(seed=1, scene_id="a"), draw(seed=2, scene_id="a"))
    assert not np.array_equal(draw(seed=1, scene_id="a"), draw(seed=1, scene_id="b"))


@pytest.mark.parametrize("sampler", BY_FRACTION)
def test_the_mask_is_left_alone_and_any_integer_type_will_do(sampler):
    before = MASK.copy()
    expected = simulate_labels(MASK, sampler, fraction=0.05)
    assert np.array_equal(MASK, before)
    signed = MASK.astype(np.int32)
    signed[MASK == UNLABELLED] = -1
    assert np.array_equal(simulate_labels(signed, sampler, fraction=0.05), expected)


@pytest.mark.parametrize("sampler", BY_FRACTION)
def test_nothing_labelled_gives_nothing(sampler):
    empty = np.full((20, 30), UNLABELLED, np.uint8)
    assert (simulate_labels(empty, sampler, fraction=0.5) == UNLABELLED).all()


@pytest.mark.parametrize("sampler", BY_FRACTION)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 3)])
def test_tiny_masks(sampler, size):
    values = simulate_labels(np.zeros(size, np.uint8), sampler, fraction=1.0)
    assert (values == 0).all()


@pytest.mark.parametrize("sampler", BY_FRACTION)
def test_unknown_options_are_refused(sampler):
    with pytest.raises(LabelError, match="no option colour"):
        simulate_labels(MASK, sampler, fraction=0.5, colour="red")


OPTIONS = [
    (sampler, option.name)
    for sampler in BY_FRACTION
    for option in signature(SAMPLERS[sampler]).parameters.values()
    if option.kind is option.KEYWORD_ONLY
]


@pytest.mark.parametrize(("sampler", "option"), OPTIONS)
@pytest.mark.parametrize("value", [-1, 0.5, "3", None])
def test_values_of_options_that_cannot_be_meant_are_refused_before_labels_are_looked_at(sampler, option, value):
    with pytest.raises(LabelError, match=rf"{option} of the sampler '{sampler}' must be .* at least .*; given"):
        simulate_labels(NOTHING, sampler, fraction=0.5, **{option: value})
    with pytest.raises(LabelError, match=option):
        simulate_file(NOTHING, sampler, fraction=0.5, **{option: value})


@pytest.mark.parametrize(("sampler", "option"), OPTIONS)
def test_options_may_be_as_small_as_they_are_said_to_be(sampler, option):
    """A length, a width or a size of nothing is refused; a distance of nothing is none."""
    if option in ("min_distance_px", "border_px"):
        values = simulate_labels(MASK, sampler, fraction=0.01, **{option: 0})
        assert kept(values).tolist() == np.maximum(1, np.rint(TOTAL * 0.01)).astype(int).tolist()
        return
    with pytest.raises(LabelError, match="at least 1; given 0"):
        simulate_labels(NOTHING, sampler, fraction=0.5, **{option: 0})
    values = simulate_labels(MASK, sampler, fraction=0.01, **{option: 1})
    assert kept(values).tolist() == np.maximum(1, np.rint(TOTAL * 0.01)).astype(int).tolist()


@pytest.mark.parametrize("sampler", BY_FRACTION)
def test_fractions_next_to_nothing(sampler):
    counts = kept(simulate_labels(MASK, sampler, fraction=1e-11))
    assert counts.tolist() == [0 if sampler == "pixels" else 1] * 5


@pytest.mark.parametrize(
    "arguments",
    [
        {"sampler": "pixel", "fraction": 0.1},
        {"sampler": "pixels"},
        {"sampler": "pixels", "n": 5},
        {"sampler": "points", "n": 5, "fraction": 0.1},
        {"sampler": "points", "n": 0},
        {"sampler": "pixels", "fraction": 0.0},
        {"sampler": "pixels", "fraction": 1.5},
        {"sampler": "points", "n": 5, "origin": (10, 0)},
    ],
)
def test_requests_that_cannot_be_meant(arguments):
    with pytest.raises(LabelError):
        simulate_labels(MASK, **arguments)


def test_masks_that_are_none():
    for mask in (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2)), np.array([[300]]), np.array([[-2]])):
        with pytest.raises(LabelError):
            simulate_labels(mask, "pixels", fraction=0.5)


def test_points_keep_their_distance_to_each_other_and_to_borders():
    values = simulate_labels(MASK, "points", n=6, min_distance_px=12, border_px=3)
    for k in range(4):
        places = np.argwhere(values == k)
        apart = np.abs(places[:, None] - places[None]).max(axis=2)
        assert apart[~np.eye(len(places), dtype=bool)].min() >= 12
        for row, col in places:
            around = MASK[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4]
            assert (around == k).all()


def test_strokes_are_connected_and_longer_than_wide():
    from skimage.measure import label, regionprops

    mask = np.zeros((200, 200), np.uint8)
    values = simulate_labels(mask, "scribbles", n=1, length_px=80, width_px=3)
    (stroke,) = regionprops(label(values == 0, connectivity=2))
    assert stroke.area >= 80
    assert stroke.axis_major_length > 3 * 3


def test_polygons_are_compact_and_of_the_size_asked_for():
    from skimage.measure import label, regionprops

    mask = np.zeros((300, 300), np.uint8)
    values = simulate_labels(mask, "polygons", n=6, size_px=20)
    patches = regionprops(label(values == 0))
    assert len(patches) == 6
    for patch in patches:
        assert patch.area < 21 * 21
        assert patch.area > 60
        assert patch.axis_major_length < 24
