"""Label groups, held-out labels and folds."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from pyproj import CRS
from shapely import Point, box

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError
from sparsecover.grid import Grid
from sparsecover.labels import (
    LabelRaster,
    apart_on_ground,
    assign_groups,
    burn_labels,
    hold_out,
    k_folds,
    label_groups,
    near,
)
from sparsecover.labels.holdout import Fold

GRID = Grid(200, 200, CRS.from_epsg(32633).to_wkt(), Affine(1, 0, 0, 0, -1, 200))


def burnt(folder: Path, shapes, classes, **options) -> LabelRaster:
    path = folder / "labels.gpkg"
    gpd.GeoDataFrame({"class": classes}, geometry=shapes, crs=GRID.crs).to_file(path)
    return burn_labels(path, GRID, "class", **options)


def squares(places, side=10):
    """Boxes with their upper left corner at (row, column)."""
    return [box(col, 200 - row - side, col + side, 200 - row) for row, col in places]


SPOTS = [(r, c) for r in range(5, 200, 50) for c in range(5, 200, 25)]


@pytest.fixture
def polygons(tmp_path):
    return burnt(tmp_path, squares(SPOTS), [i % 2 for i in range(len(SPOTS))])


def distance(a: np.ndarray, b: np.ndarray) -> int:
    """Smallest number of rows or columns between pixels of two masks."""
    p, q = np.argwhere(a), np.argwhere(b)
    return int(np.abs(p[:, None] - q[None]).max(axis=2).min())


def test_a_quarter_of_the_polygons_of_each_class(polygons):
    train, held, notes, _ = hold_out(polygons, 2, seed=3)
    assert held.counts(2).tolist() == [400, 400]
    assert train.counts(2).tolist() == [1200, 1200]
    assert not notes
    for number in range(1, 33):  # no polygon is on two sides
        pixels = polygons.groups == number
        assert (held.values[pixels] == UNLABELLED).all() or (train.values[pixels] == UNLABELLED).all()


def test_the_seed_decides(polygons):
    again = [hold_out(polygons, 2, seed=seed)[1].values for seed in (0, 0, 1)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_the_buffer_is_kept(polygons):
    train, held, notes, optimistic = hold_out(polygons, 2, buffer_px=12)
    assert not notes
    assert not optimistic
    assert distance(train.values != UNLABELLED, held.values != UNLABELLED) > 12
    assert (train.counts(2) >= 600).all()


def test_a_buffer_that_leaves_too_little_is_reduced_and_said(polygons):
    train, held, notes, optimistic = hold_out(polygons, 2, buffer_px=150)
    assert len(notes) == 1
    assert "optimistic" in notes[0]
    assert optimistic
    assert (train.counts(2) > 0).all()
    assert (held.counts(2) > 0).all()


def test_a_class_with_one_polygon_is_trained_on_and_noted(tmp_path):
    labels = burnt(tmp_path, squares([(5, 5), (50, 5), (100, 5), (150, 150)]), ["a", "a", "a", "b"])
    train, held, notes, _ = hold_out(labels, 2)
    assert held.counts(2).tolist() == [100, 0]
    assert train.counts(2).tolist() == [200, 100]
    assert any(note.startswith("b: 100 labelled pixels in 1 group(s)") for note in notes)


def test_clicks_close_together_stay_together(tmp_path):
    clusters = [(20, 20), (20, 170), (170, 20), (170, 170), (100, 100)]
    points = [Point(c + dx + 0.5, 200 - r - dy - 0.5) for r, c in clusters for dx in (0, 4) for dy in (0, 4)]
    labels = burnt(tmp_path, points, ["a"] * len(points))
    groups = label_groups(labels, 1, link_px=8)
    assert len(groups.counts) == 5
    train, held, _, _ = hold_out(labels, 1, buffer_px=8)
    assert held.counts(1)[0] % 4 == 0
    assert held.counts(1)[0] + train.counts(1)[0] == 20


@pytest.mark.parametrize("radius_m", [None, 1.0, 0.1])
def test_clicks_are_clustered_with_any_radius(tmp_path, radius_m):
    clusters = [(r, c) for r in (20, 170) for c in (20, 60, 100, 140, 180)]
    points = [Point(c + dx + 0.5, 200 - r - dy - 0.5) for r, c in clusters for dx in (0, 4) for dy in (0, 4)]
    labels = burnt(tmp_path, points, ["a"] * len(points), radius_m=radius_m)
    assert len(label_groups(labels, 1, link_px=8).counts) == 10
    again = labels.resized(GRID.resized(100, 100))
    assert len(label_groups(again, 1, link_px=4).counts) == 10


def test_clicks_all_close_together_are_still_divided(tmp_path):
    points = [Point(50.5 + 3 * i, 100.5) for i in range(12)]
    train, held, notes, _ = hold_out(burnt(tmp_path, points, ["a"] * 12), 1, buffer_px=64)
    assert held.counts(1)[0] > 0
    assert train.counts(1)[0] > 0
    assert any("optimistic" in note for note in notes)


def dense() -> LabelRaster:
    row, col = np.mgrid[:200, :200]
    values = ((row // 20 + col // 20) % 3).astype(np.uint8)
    values[90:110, 90:100] = 3
    values[:, :20] = UNLABELLED
    return LabelRaster(values, GRID)


def test_blocks_of_a_label_raster():
    labels = dense()
    train, held, _, _ = hold_out(labels, 4)
    assert np.array_equal(np.minimum(train.values, held.values), labels.values)
    share = held.counts(4) / labels.counts(4)
    assert (share > 0).all()
    assert share[:3] == pytest.approx(0.25, abs=0.1)


def test_features_on_a_background_go_whole_to_one_block(tmp_path):
    labels = burnt(tmp_path, squares(SPOTS, 18), ["b"] * len(SPOTS), background="a")
    assert label_groups(labels, 2).kind == "block"
    _, held, *_ = hold_out(labels, 2)
    for number in range(1, 33):
        sides = held.values[labels.groups == number] == UNLABELLED
        assert sides.all() or not sides.any()
    assert (held.counts(2) > 0).all()


def test_blocks_of_a_given_size():
    groups = label_groups(dense(), 4, kind="block", block_px=50)
    assert len(groups.counts) == 16
    assert groups.numbers[0, 0] == 0  # unlabelled
    assert len(np.unique(groups.numbers[:50, 20:50])) == 1
    with pytest.raises(LabelError, match="at least 1 pixel"):
        label_groups(dense(), 4, kind="block", block_px=0)
    with pytest.raises(LabelError, match="by feature"):
        label_groups(dense(), 4, kind="feature")


def test_folds_are_disjoint_and_complete(polygons):
    folds = k_folds(polygons, 2, 4)
    held = np.stack([fold[1].values != UNLABELLED for fold in folds])
    assert np.array_equal(held.sum(axis=0), polygons.values != UNLABELLED)
    for train, test, *_ in folds:
        assert not ((train.values != UNLABELLED) & (test.values != UNLABELLED)).any()
        assert test.counts(2).tolist() == [400, 400]


def test_a_class_with_one_group_is_never_held_out_in_folds(tmp_path):
    labels = burnt(tmp_path, squares(SPOTS), ["b"] + ["a"] * (len(SPOTS) - 1))
    for train, held, notes, _ in k_folds(labels, 2, 3):
        assert train.counts(2)[1] == 100
        assert held.counts(2)[1] == 0
        assert any(note.startswith("b:") for note in notes)


def test_arguments_that_cannot_be_meant(polygons, tmp_path):
    with pytest.raises(LabelError, match="between 0 and 1"):
        hold_out(polygons, 2, share=1.0)
    with pytest.raises(LabelError, match="at least 2 folds"):
        k_folds(polygons, 2, 1)
    with pytest.raises(LabelError, match="at least 5 groups"):
        k_folds(burnt(tmp_path, squares(SPOTS[:4]), [1, 1, 2, 2]), 2, 5)
    with pytest.raises(LabelError, match="no labelled pixel"):
        hold_out(LabelRaster(np.full((200, 200), 255, np.uint8), GRID), 2)
    with pytest.raises(LabelError, match="no labelled pixel"):
        label_groups(polygons.keep(np.zeros((200, 200), bool)), 2)


def test_groups_are_assigned_by_shares():
    weights = np.zeros((40, 2))
    weights[:32, 0] = 1
    weights[32:, 1] = 1
    side = assign_groups(weights, [0.5, 0.25, 0.25, 0], seed=0)
    assert [[int((side[part] == s).sum()) for s in range(4)] for part in (slice(0, 32), slice(32, 40))] == [
        [16, 8, 8, 0],
        [4, 2, 2, 0],
    ]


def test_two_groups_go_to_both_sides():
    assert sorted(assign_groups(np.ones((2, 1)), [0.75, 0.25], seed=0)) == [0, 1]
    assert assign_groups(np.ones((1, 1)), [0.75, 0.25], seed=0).tolist() == [0]
    assert assign_groups(np.zeros((1, 1)), [0.75, 0.25], seed=0).tolist() == [-1]


def test_near_is_a_square():
    mask = np.zeros((9, 9), bool)
    mask[4, 0] = True
    expected = np.zeros((9, 9), bool)
    expected[2:7, :3] = True
    assert np.array_equal(near(mask, 2), expected)
    assert near(mask, 0) is mask


def test_thousands_of_scenes_are_not_each_compared_with_all(monkeypatch):
    compared = []
    overlaps = Grid.overlaps
    monkeypatch.setattr(Grid, "overlaps", lambda one, other: compared.append(other) or overlaps(one, other))

    def fold(number: int) -> Fold:
        """A row of scenes of 8 m; the first two share their ground."""
        grid = Grid(8, 8, GRID.crs, Affine(1, 0, 10 * max(0, number - 1), 0, -1, 8))
        train, held = (np.full((8, 8), UNLABELLED, np.uint8) for _ in range(2))
        train[:4, :] = number % 2
        held[7 - 7 * (number == 1), :] = 0
        return Fold(LabelRaster(train, grid), LabelRaster(held, grid), [], False)

    folds = [fold(number) for number in range(60)]
    apart = apart_on_ground(folds, 2, 0)
    assert len(compared) < 4 * len(folds)
    assert (apart[0].train.values[0] == UNLABELLED).all()  # held out in the second
    assert (apart[0].train.values[1:4] == 0).all()
    for before, after in zip(folds[1:], apart[1:], strict=True):
        np.testing.assert_array_equal(before.train.values, after.train.values)
