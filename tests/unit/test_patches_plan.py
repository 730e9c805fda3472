"""Which windows are trained on."""

import numpy as np
import pytest

from sparsecover.classes import UNLABELLED
from sparsecover.errors import ConfigError, DataError
from sparsecover.grid import Grid, Window
from sparsecover.labels import LabelRaster
from sparsecover.patches import PatchPlan, plan_patches


def raster(height: int, width: int, points: dict[tuple[int, int], int]) -> LabelRaster:
    values = np.full((height, width), UNLABELLED, np.uint8)
    for place, label in points.items():
        values[place] = label
    return LabelRaster(values, Grid(height, width))


def dense(height: int, width: int, classes: int = 2) -> LabelRaster:
    values = np.random.default_rng(0).integers(classes, size=(height, width), dtype=np.uint8)
    return LabelRaster(values, Grid(height, width))


SPARSE = raster(300, 400, {(5, 5): 0, (290, 390): 1, (150, 200): 1, (151, 200): 1})


def labels_in(plan: PatchPlan, sample: int) -> np.ndarray:
    patch = plan[sample]
    values = plan.labels[patch.pair].read(patch.window)
    return values[values != UNLABELLED]


@pytest.mark.parametrize("sampling", ["labels", "balanced", "random", "grid"])
def test_a_sample_depends_on_seed_and_number_alone(sampling: str) -> None:
    def plan(seed: int = 4) -> PatchPlan:
        return plan_patches([SPARSE, dense(200, 200)], num_classes=2, size_px=64, sampling=sampling, seed=seed)

    first, second = plan(), plan()
    order = np.random.default_rng(0).permutation(60).tolist()
    asked_in_disorder = {i: second[i] for i in order}
    assert [first[i] for i in range(60)] == [asked_in_disorder[i] for i in range(60)]
    assert [first[i] for i in range(60)] != [plan(5)[i] for i in range(60)]


@pytest.mark.parametrize("sampling", ["labels", "balanced", "random", "grid"])
def test_every_window_holds_a_label_and_lies_inside(sampling: str) -> None:
    plan = plan_patches([SPARSE], num_classes=2, size_px=64, sampling=sampling)
    for i in range(50):
        assert labels_in(plan, i).size
        assert plan[i].window.intersect(SPARSE.grid.window) == plan[i].window


def test_labels_are_met_as_often_as_there_are_labelled_pixels() -> None:
    plan = plan_patches([SPARSE], num_classes=2, size_px=32, sampling="labels", seed=1)
    first_class = sum(0 in labels_in(plan, i) for i in range(600))
    assert 100 < first_class < 200  # one pixel in four


def test_balanced_sampling_meets_classes_evenly() -> None:
    plan = plan_patches([SPARSE], num_classes=3, size_px=32, sampling="balanced", seed=1)
    first_class = sum(0 in labels_in(plan, i) for i in range(600))
    assert 250 < first_class < 350


def test_a_drawn_label_has_context_on_all_sides() -> None:
    plan = plan_patches([raster(500, 500, {(250, 250): 0})], num_classes=1, size_px=64, sampling="labels")
    windows = [plan[i].window for i in range(100)]
    assert all(16 <= 250 - w.row < 48 and 16 <= 250 - w.col < 48 for w in windows)
    assert len({(w.row, w.col) for w in windows}) > 50


def test_random_windows_prefer_large_scenes_and_leave_unlabelled_ones_out() -> None:
    empty = raster(3000, 3000, {})
    plan = plan_patches([dense(100, 100), empty, dense(200, 200)], num_classes=2, size_px=32, sampling="random")
    pairs = [plan[i].pair for i in range(500)]
    assert set(pairs) == {0, 2}
    assert 0.7 < pairs.count(2) / 500 < 0.9  # four fifths of the labelled scenes' pixels


def test_a_grid_epoch_holds_each_tile_once_in_another_order() -> None:
    plan = plan_patches([dense(128, 192)], num_classes=2, size_px=64, per_epoch=6, sampling="grid")
    epochs = [[plan[i].own for i in range(e * 6, e * 6 + 6)] for e in range(2)]
    assert set(epochs[0]) == set(epochs[1]) == {Window(r, c, 64, 64) for r in (0, 64) for c in (0, 64, 128)}
    assert epochs[0] != epochs[1]


def test_the_tiling_owns_each_labelled_pixel_once_and_stays_inside() -> None:
    labels = dense(150, 100)
    seen = np.zeros((150, 100), int)
    for patch in plan_patches([labels], num_classes=2, size_px=64).tiling():
        assert patch.own is not None
        assert patch.window.intersect(labels.grid.window) == patch.window
        assert patch.own.intersect(patch.window) == patch.own
        seen[patch.own.slices] += 1
    assert (seen == 1).all()


def test_scenes_smaller_than_the_window_are_padded() -> None:
    plan = plan_patches([dense(20, 100)], num_classes=2, size_px=64, sampling="random")
    assert all(plan[i].window.row == 0 and 0 <= plan[i].window.col <= 36 for i in range(20))
    assert plan[0].window.height == 64


@pytest.mark.parametrize(
    ("labels", "classes", "sampling", "reason"),
    [
        (dense(512, 512), 2, "random", "100%"),
        (raster(1024, 1024, {(9, 9): 0, (700, 700): 1}), 2, "labels", "scarce"),
        (raster(1024, 1024, {(9, 9): 0} | {(700, c): 1 for c in range(9)}), 2, "balanced", "uneven"),
    ],
)
def test_auto_sampling_says_why(labels: LabelRaster, classes: int, sampling: str, reason: str) -> None:
    plan = plan_patches([labels], num_classes=classes)
    assert plan.sampling == sampling
    assert reason in plan.reason


def test_auto_sampling_seeks_a_rare_class() -> None:
    values = np.zeros((2560, 2560), np.uint8)
    values[10:20, 10:20] = 1
    assert plan_patches([LabelRaster(values, Grid(2560, 2560))], num_classes=2).sampling == "balanced"


@pytest.mark.parametrize(("side", "size"), [(20, 32), (100, 112), (256, 256), (5000, 256)])
def test_auto_size_follows_the_scenes(side: int, size: int) -> None:
    assert plan_patches([raster(side, 2 * side, {(0, 0): 0})], num_classes=1).size_px == size


def test_class_counts_are_exact() -> None:
    labels = [dense(130, 70, 3), SPARSE]
    plan = plan_patches(labels, num_classes=4, size_px=32)
    expected = sum(np.bincount(r.values[r.values != UNLABELLED], minlength=4) for r in labels)
    assert plan.class_counts.tolist() == list(expected)


def test_the_digest_tells_labels_and_settings_apart() -> None:
    def digest(labels: LabelRaster = SPARSE, **settings: int) -> str:
        return plan_patches([labels], num_classes=2, **({"size_px": 64} | settings)).digest()

    moved = raster(300, 400, {(5, 6): 0, (290, 390): 1, (150, 200): 1, (151, 200): 1})
    assert digest() == digest()
    assert len({digest(), digest(moved), digest(seed=1), digest(size_px=32), digest(per_epoch=7)}) == 5


def test_what_cannot_be_planned_is_explained() -> None:
    with pytest.raises(DataError, match="labelled pixel"):
        plan_patches([raster(10, 10, {})], num_classes=2)
    with pytest.raises(DataError, match="class index 5"):
        plan_patches([raster(10, 10, {(1, 1): 5})], num_classes=2)
    with pytest.raises(ConfigError, match="balanced"):
        plan_patches([SPARSE], num_classes=2, sampling="ballanced")
    with pytest.raises(ConfigError, match="at least 1"):
        plan_patches([SPARSE], num_classes=2, size_px=0)


def test_the_covered_part_of_a_small_version_holds_the_training_tiles() -> None:
    labels = raster(100, 200, {(5, 5): 0, (90, 190): 1})
    plan = plan_patches([labels], num_classes=2, size_px=50, sampling="grid")
    whole = plan.covered(0, 100, 200)
    assert whole.sum() == 2 * 50 * 50
    assert whole[5, 5]
    assert whole[90, 190]
    assert plan.covered(0, 10, 20).sum() == 2 * 5 * 5
    assert plan.covered(0, 1, 1).all()
