"""Partial labels of files: the same as of the array, and by tiles with the whole's budget."""

from pathlib import Path

import numpy as np
import pytest

from layouts import raster
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError
from sparsecover.labels import LabelFile, MaskFile, simulate_file, simulate_labels, simulate_windows
from sparsecover.labels.simulate_windows import divide

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


@pytest.mark.parametrize("sampler", SAMPLERS[1:])
@pytest.mark.parametrize("budget", [{"fraction": 0.013}, {"n": 7}])
def test_tiles_share_the_budget_exactly(
    labels: LabelFile, sampler: str, budget: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate_windows, "WHOLE_PX", 1000)
    monkeypatch.setattr(simulate_windows, "_TILE_PX", 128)
    parts = list(simulate_file(labels, sampler, **budget))
    assert len(parts) == 3 * 4
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


def test_requests_that_cannot_be_meant(labels: LabelFile) -> None:
    for wrong in ({}, {"fraction": 0.1, "n": 3}, {"fraction": 2.0}, {"n": 0}):
        with pytest.raises(LabelError):
            list(simulate_file(labels, "points", **wrong))
    with pytest.raises(LabelError, match="Did you mean 'points'"):
        list(simulate_file(labels, "pointz", n=1))
    with pytest.raises(LabelError, match="no option length_px"):
        list(simulate_file(labels, "points", n=1, length_px=3))
