"""Partial labels of files: the same as of the array, and by tiles with the whole's budget."""

from pathlib import Path

import numpy as np
import pytest

from layouts import raster
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError
from sparsecover.grid import Window
from sparsecover.labels import LabelFile, MaskFile, mask_file, simulate_file, simulate_labels
from sparsecover.labels.samplers import base, tiling
from sparsecover.labels.samplers.tiling import divide
from sparsecover.labels.simulate import make_budget
from sparsecover.raster.gdal import CACHE_BYTES

SCHEME = ClassScheme.from_names(["a", "b", "c"])
SAMPLERS = ("pixels", "per_class", "points", "scribbles", "polygons")


@pytest.fixture
def labels(tmp_path: Path) -> LabelFile:
    """300 x 420 pixels of three classes, of which the third is in one corner only."""
    values = (np.mgrid[:300, :420][1] // 60 % 2).astype(np.uint8)
    values[:40, :50] = 2
    values[250:] = UNLABELLED
    return LabelFile(MaskFile.open(raster(tmp_path / "mask.tif", values)), SCHEME)


def whole(labels: LabelFile, sampler: str, **options: object) -> np.ndarray:
    out = np.zeros((300, 420), np.uint8)
    for window, values in simulate_file(labels, sampler, **options):
        out[window.slices] = values
    return out


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_file_has_the_labels_of_its_array(labels: LabelFile, sampler: str) -> None:
    values = whole(labels, sampler, fraction=0.02, seed=3, scene_id="x")
    assert np.array_equal(values, simulate_labels(labels.values, sampler, fraction=0.02, seed=3, scene_id="x"))


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on small rasters as on large ones."""
    for name, value in {"WHOLE_PX": 1000, "_TILE_PX": 128, "_BLOCK_PX": 16, "_STRIP_ROWS": 24}.items():
        monkeypatch.setattr(tiling, name, value)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_large_file_has_the_labels_of_its_array(labels: LabelFile, sampler: str, tiled: None) -> None:
    values = whole(labels, sampler, fraction=0.02)
    assert np.array_equal(values, simulate_labels(labels.values, sampler, fraction=0.02))


@pytest.mark.parametrize("budget", [{"fraction": 0.013}, {"n": 7}, {"n": 100_000}])
def test_strips_of_any_height_keep_the_same_pixels_of_each_class(
    labels: LabelFile, budget: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(labels, "per_class", **budget)
    monkeypatch.setattr(tiling, "_STRIP_ROWS", 7)
    assert np.array_equal(whole(labels, "per_class", **budget), expected)


def test_of_equal_hashes_the_first_are_kept(labels: LabelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "pixel_hashes", lambda key, row, col, *shape: np.full(shape, 5, np.uint32))
    monkeypatch.setattr(tiling, "_STRIP_ROWS", 2)
    kept = np.argwhere(whole(labels, "per_class", n=70) == 2)
    assert kept.tolist() == np.argwhere(labels.values == 2)[:70].tolist()


def test_points_of_neighbouring_tiles_keep_their_distance(labels: LabelFile, tiled: None) -> None:
    values = whole(labels, "points", n=60, min_distance_px=9, border_px=3)
    for k in (0, 1):
        places = np.argwhere(values == k)
        apart = np.abs(places[:, None] - places[None]).max(axis=2)[np.triu_indices(60, 1)]
        assert apart.min() >= 9
        for row, col in places:
            assert (labels.values[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4] == k).all()


@pytest.mark.parametrize("sampler", ["points", "scribbles", "polygons"])
def test_the_largest_arrays_in_memory_are_tiles(labels: LabelFile, sampler: str, tiled: None) -> None:
    read: list[int] = []

    def counted(window: Window) -> np.ndarray:
        read.append(window.size)
        return labels.read(window)

    budget = make_budget(sampler, fraction=0.01, n=None, seed=0, scene_id="")
    windows = [window for window, _ in tiling.sample(counted, 300, 420, sampler, budget)]
    assert len(windows) == 3 * 4
    assert max(read) <= 128 * 128


def test_blocks_of_tiles_gone_through_are_not_kept(labels: LabelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    caches: list[int] = []
    environment = mask_file.environment
    monkeypatch.setattr(mask_file, "environment", lambda size: (caches.append(size), environment(size))[1])
    monkeypatch.setattr(mask_file, "_TILE_PX", 100 * 100)
    labels.read(Window(0, 0, 100, 100))
    assert max(caches) < CACHE_BYTES
    labels.read(Window(0, 0, 99, 100))
    assert max(caches) > CACHE_BYTES


@pytest.mark.parametrize("sampler", SAMPLERS[1:])
@pytest.mark.parametrize("budget", [{"fraction": 0.013}, {"n": 7}])
def test_tiles_share_the_budget_exactly(labels: LabelFile, sampler: str, budget: dict, tiled: None) -> None:
    parts = list(simulate_file(labels, sampler, **budget))
    assert sum(window.size for window, _ in parts) == 300 * 420
    values = whole(labels, sampler, **budget)
    kept = values != UNLABELLED
    assert np.array_equal(values[kept], labels.values[kept])
    counts = np.bincount(values[kept], minlength=3)
    if "fraction" in budget:
        assert counts.tolist() == np.rint(labels.counts(3) * 0.013).tolist()
    elif sampler in ("per_class", "points"):
        assert counts.tolist() == [7, 7, 7]
    else:
        assert (counts > 7).all()  # seven strokes or polygons of each class


def test_division_is_exact_and_never_more_than_there_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 30, (9, 4))
        wanted = np.minimum(rng.integers(0, 60, 4), counts.sum(0))
        shares = divide(counts, wanted)
        assert (shares.sum(0) == wanted).all()
        assert (shares <= counts).all()


def test_small_tiles_get_their_turn_when_few_things_are_divided() -> None:
    counts = np.array([[90], [10]])
    shares = [divide(counts, np.array([1]), start)[1, 0] for start in np.linspace(0, 1, 100, endpoint=False)]
    assert sum(shares) == 10


def test_requests_that_cannot_be_meant(labels: LabelFile) -> None:
    for wrong in ({}, {"fraction": 0.1, "n": 3}, {"fraction": 2.0}, {"n": 0}):
        with pytest.raises(LabelError):
            list(simulate_file(labels, "points", **wrong))
    with pytest.raises(LabelError, match="Did you mean 'points'"):
        list(simulate_file(labels, "pointz", n=1))
    with pytest.raises(LabelError, match="no option length_px"):
        list(simulate_file(labels, "points", n=1, length_px=3))
