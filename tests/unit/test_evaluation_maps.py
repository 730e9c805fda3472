"""Maps against truth: classes that are named or numbered differently, windows, grids."""

import numpy as np
import pytest

from sparsecover import metrics
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import DataError, GridError
from sparsecover.evaluation import evaluate_map, maps
from sparsecover.grid import Grid, Window
from sparsecover.labels import LabelRaster
from sparsecover.raster import Scene

NAMED = ClassScheme.from_codes({10: "land", 20: "water", 30: "road"})


def scene(codes: np.ndarray, nodata: int = 255, **options) -> Scene:
    return Scene.from_array(codes[None], codes != nodata, name="map", **options)


def truth_of(indices: np.ndarray, groups: np.ndarray | None = None) -> LabelRaster:
    return LabelRaster(indices.astype(np.uint8), Grid(*indices.shape), groups)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Indices of truth (half unlabelled) and map (right in three of four pixels, with a nodata corner)."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, (90, 70)).astype(np.uint8)
    mapped = np.where(random.random(truth.shape) < 0.75, truth, random.integers(0, 3, truth.shape)).astype(np.uint8)
    mapped[:10, :10] = UNLABELLED
    truth[random.random(truth.shape) < 0.5] = UNLABELLED
    return truth, mapped


def test_codes_names_and_strips(pair, monkeypatch):
    monkeypatch.setattr(maps, "_STRIP_ROWS", 16)
    truth, mapped = pair
    other_order = ClassScheme.from_names(["road", "Water", "land"])
    result, notes = evaluate_map(scene(NAMED.encode(mapped)), truth_of(_reordered(truth)), other_order, NAMED)
    hidden = np.where(mapped == UNLABELLED, UNLABELLED, truth)
    expected = metrics.confusion_matrix(hidden, np.where(mapped == UNLABELLED, 0, mapped), 3)
    np.testing.assert_array_equal(result.confusion, expected)
    assert result.scheme.names == NAMED.names
    assert result.unmapped_pixels == int((truth[:10, :10] != UNLABELLED).sum())
    assert notes == []


def _reordered(truth: np.ndarray) -> np.ndarray:
    return np.where(truth == UNLABELLED, UNLABELLED, 2 - np.minimum(truth, 2)).astype(np.uint8)


def test_blocks_give_an_interval_and_groups_of_the_truth_replace_them(pair):
    truth, mapped = pair
    by_block, _ = evaluate_map(scene(NAMED.encode(mapped)), truth_of(truth), NAMED, NAMED)
    assert by_block.groups == 12 * 9 - 1  # one block lies in the corner without data
    low, high = by_block.miou_interval
    assert low < by_block.miou < high
    groups = np.ones(truth.shape, np.int32)
    by_group, _ = evaluate_map(scene(NAMED.encode(mapped)), truth_of(truth, groups), NAMED, NAMED)
    assert by_group.groups == 1
    assert by_group.miou_interval is None


def test_confidence_is_set_against_hits(pair):
    truth, mapped = pair
    certain = np.full(truth.shape, 90, np.uint8)
    result, _ = evaluate_map(
        scene(NAMED.encode(mapped)), truth_of(truth), NAMED, NAMED, confidence=Scene.from_array(certain[None])
    )
    assert result.calibration.mean_confidence == pytest.approx(0.9)
    assert result.calibration.error == pytest.approx(abs(0.9 - result.accuracy), abs=1e-6)


def test_codes_match_where_one_side_has_no_names():
    numbers = ClassScheme.from_codes([10, 20])
    scheme, lookup, notes = maps.unite(numbers, NAMED)
    assert scheme.names == ("land", "water", "road")
    assert scheme.codes == (10, 20, 30)
    assert lookup[:3].tolist() == [0, 1, 2]
    assert lookup[UNLABELLED] == UNLABELLED
    assert any("code 10 has no name; taken as land" in note for note in notes)
    assert any("does not know the class road" in note for note in notes)
    notes = maps.unite(NAMED, numbers)[2]
    assert notes == ["The truth names no classes; its codes are taken as the map's: 10 land, 20 water."]
    corine = ClassScheme.from_codes({1: "111", 2: "112"})
    assert maps.unite(corine, ClassScheme.from_codes([111, 112]))[2] == []  # names that are numbers, found by name


def test_classes_that_only_the_truth_has_count_as_missed():
    codes = np.array([[10, 10, 20, 20]], np.uint8)
    two = ClassScheme.from_codes({10: "land", 20: "water"})
    result, notes = evaluate_map(scene(codes), truth_of(np.array([[0, 2, 1, 255]])), NAMED, two)
    assert result.as_dict()["per_class_iou"] == {"land": 0.5, "water": 1.0, "road": 0.0}
    assert len(notes) == 1


def test_users_codes_behind_names_are_looked_through():
    # Codes above 254 are carried in the map's category names.
    user = ClassScheme.from_codes({1200: "farm", 3400: "wood"})
    in_map = ClassScheme.from_codes(dict(zip(user.map_codes, user.map_names, strict=True)))
    scheme, lookup, _ = maps.unite(in_map, user)
    assert len(scheme) == 2
    assert lookup[:2].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("in_map", "in_truth", "partners"),
    [
        (["Level (1)", "Level (2)"], ["Level (2)", "Level (1)"], [1, 0]),
        (["Level (1)", "Level (2)", "sea"], ["Level (3)", "Level", "Sea (9)"], [3, 4, 2]),
        (["wood", "wood (1)"], ["wood (1)", "wood"], [1, 0]),
        (["Level (1)", "sea"], ["Level (2)", "sea"], [2, 1]),
    ],
)
def test_numbers_that_belong_to_names_keep_classes_apart(in_map, in_truth, partners):
    _, lookup, _ = maps.unite(ClassScheme.from_names(in_map), ClassScheme.from_names(in_truth))
    assert lookup[: len(partners)].tolist() == partners


def test_a_code_of_a_missed_class_does_not_collide():
    scheme, lookup, _ = maps.unite(ClassScheme.from_names(["land", "water"]), ClassScheme.from_names(["ice", "water"]))
    assert scheme.names == ("land", "water", "ice")
    assert scheme.codes == (0, 1, 2)
    assert lookup[:2].tolist() == [2, 1]


def test_nothing_in_common_is_said():
    with pytest.raises(DataError, match=r"no class in common. Map: 10 land.*Truth: 0 lava"):
        maps.unite(NAMED, ClassScheme.from_names(["lava"]))


def test_wrong_inputs_are_named():
    codes, labels = np.full((4, 4), 10, np.uint8), truth_of(np.zeros((4, 4)))
    with pytest.raises(DataError, match="2 bands"):
        evaluate_map(Scene.from_array(np.zeros((2, 4, 4), np.uint8)), labels, NAMED, NAMED)
    with pytest.raises(GridError, match="truth does not lie on the grid"):
        evaluate_map(scene(codes), truth_of(np.zeros((4, 5))), NAMED, NAMED)
    with pytest.raises(GridError, match="confidence does not lie"):
        evaluate_map(scene(codes), labels, NAMED, NAMED, confidence=Scene.from_array(np.zeros((1, 2, 2), np.uint8)))
    with pytest.raises(DataError, match="fractions"):
        evaluate_map(scene(np.full((4, 4), 0.5, np.float32)), labels, NAMED, NAMED)
    with pytest.raises(DataError, match=r"codes \[99\]"):
        evaluate_map(scene(np.full((4, 4), 99, np.uint8)), labels, NAMED, NAMED)


def test_whole_numbers_stored_as_floats_are_codes():
    result, _ = evaluate_map(scene(np.full((4, 4), 20, np.float32)), truth_of(np.ones((4, 4))), NAMED, NAMED)
    assert result.accuracy == 1.0


def test_blocks_do_not_depend_on_the_window():
    grid = Grid(100, 130)
    whole = maps.blocks(grid.window, grid)
    window = Window(37, 20, 40, 90)
    np.testing.assert_array_equal(maps.blocks(window, grid), whole[window.slices])
    assert len(np.unique(whole)) == 12 * 10
