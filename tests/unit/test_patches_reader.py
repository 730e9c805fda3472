"""Windows to arrays and batches."""

import numpy as np
import pytest
import torch

from sparsecover.classes import UNLABELLED
from sparsecover.errors import DataError, GridError, SceneError
from sparsecover.grid import Grid, Window
from sparsecover.labels import LabelRaster
from sparsecover.normalize import Normalizer
from sparsecover.patches import Patch, PatchReader, ResidentReader, cache_pairs, check_pairs, collate, fits_device
from sparsecover.raster import Scene

NORMALIZER = Normalizer("dtype", (10.0, 10.0), (2.0, 4.0))


def make_pair(height: int = 40, width: int = 50, bands: int = 2) -> tuple[Scene, LabelRaster]:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 200, (bands, height, width), dtype=np.uint8)
    valid = np.ones((height, width), bool)
    valid[5:8] = False
    scene = Scene.from_array(values, valid, name="field")
    return scene, LabelRaster(rng.integers(3, size=(height, width), dtype=np.uint8), scene.grid)


def test_values_are_normalised_and_labels_follow_validity() -> None:
    scene, labels = make_pair()
    sample = PatchReader([(scene, labels)], NORMALIZER)(Patch(0, Window(2, 3, 16, 16)))
    values, valid = scene.read(Window(2, 3, 16, 16))
    expected = (values.astype(float) - 10) / np.array([2.0, 4.0])[:, None, None]
    np.testing.assert_allclose(sample.image[:, valid], expected[:, valid], rtol=1e-6)
    assert sample.image.dtype == np.float32
    assert (sample.image[:, ~valid] == 0).all()
    assert (sample.labels[~valid] == UNLABELLED).all()
    assert (sample.labels[valid] == labels.read(Window(2, 3, 16, 16))[valid]).all()
    assert "field" in sample.name
    assert "rows from 2" in sample.name


def test_outside_the_scene_is_neither_valid_nor_labelled() -> None:
    sample = PatchReader([make_pair()], NORMALIZER)(Patch(0, Window(30, 40, 32, 32)))
    assert not sample.valid[10:].any()
    assert not sample.valid[:, 10:].any()
    assert (sample.labels[~sample.valid] == UNLABELLED).all()
    assert (sample.image[:, ~sample.valid] == 0).all()


def test_only_own_labels_count() -> None:
    sample = PatchReader([make_pair()], NORMALIZER)(Patch(0, Window(10, 0, 20, 20), Window(20, 5, 10, 8)))
    labelled = sample.labels != UNLABELLED
    assert labelled[10:, 5:13].all()
    assert labelled.sum() == 80


def test_reading_leaves_the_labels_as_they_were() -> None:
    scene, labels = make_pair()
    before = labels.values.copy()
    PatchReader([(scene, labels)], NORMALIZER)(Patch(0, labels.grid.window, Window(0, 0, 2, 2)))
    assert (labels.values == before).all()


def test_batches_stand_side_by_side() -> None:
    reader = PatchReader([make_pair()], NORMALIZER)
    patches = [Patch(0, Window(0, 0, 16, 16)), Patch(0, Window(8, 8, 16, 16))]
    batch = collate([reader(p) for p in patches])
    assert (batch.images.shape, batch.images.dtype) == ((2, 2, 16, 16), torch.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((2, 16, 16), torch.uint8)
    assert batch.valid.dtype == torch.bool
    np.testing.assert_array_equal(batch.images[1].numpy(), reader(patches[1]).image)
    assert batch.channels_last().images.is_contiguous(memory_format=torch.channels_last)


def test_the_cache_holds_scenes_as_stored_and_says_so() -> None:
    pair = make_pair()
    held, reason = cache_pairs([pair], "auto")
    assert "memory" in reason
    assert held[0][0].dtype == np.uint8
    for ours, theirs in zip(held[0][0].read(), pair[0].read(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    streamed, reason = cache_pairs([pair], "none")
    assert streamed[0][0] is pair[0]
    assert "files" in reason


def test_a_scene_too_large_for_memory_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 1000

    monkeypatch.setattr("psutil.virtual_memory", Little)
    pair = make_pair()
    assert cache_pairs([pair], "auto")[0][0][0] is pair[0]


class Broken(Scene):
    def read(self, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        raise SceneError("field cannot be read at row 0")


def test_an_unreadable_window_stops_or_is_noted() -> None:
    scene, labels = make_pair()
    broken = Broken(scene.name, scene.source)
    with pytest.raises(SceneError):
        PatchReader([(broken, labels)], NORMALIZER)(Patch(0, Window(0, 0, 8, 8)))
    unreadable: set[str] = set()
    sample = PatchReader([(broken, labels)], NORMALIZER, unreadable)(Patch(0, Window(0, 0, 8, 8)))
    assert (sample.labels == UNLABELLED).all()
    assert unreadable == {"field cannot be read at row 0"}


def test_pairs_that_do_not_fit_are_refused() -> None:
    scene, labels = make_pair()
    with pytest.raises(DataError, match="at least one"):
        check_pairs([])
    with pytest.raises(DataError, match="3 bands"):
        check_pairs([(scene, labels), make_pair(bands=3)])
    other = LabelRaster(np.zeros((40, 51), np.uint8), Grid(40, 51))
    with pytest.raises(GridError, match="40 x 51"):
        check_pairs([(scene, other)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_a_reader_on_the_device_gives_the_same_batches(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for height, width in ((40, 50), (20, 16)):  # the second is smaller than the window
        values = rng.integers(0, 200, (2, height, width)).astype(dtype)
        valid = rng.random((height, width)) < 0.9
        labels = rng.integers(0, 3, (height, width)).astype(np.uint8)
        pairs.append((Scene.from_array(values, valid), LabelRaster(labels, Grid(height, width))))
    normalizer = Normalizer("percentile", (100.0, 90.0), (40.0, 17.0), 1.5)
    patches = [Patch(0, Window(5, 7, 24, 24)), Patch(1, Window(0, 0, 24, 24)), Patch(0, Window(30, 40, 24, 24)),
               Patch(0, Window(8, 8, 24, 24), own=Window(10, 12, 6, 9))]  # fmt: skip
    expected = PatchReader(pairs, normalizer).batch(patches)
    found = ResidentReader(pairs, normalizer, "cpu").batch(patches)
    assert torch.allclose(found.images, expected.images, atol=1e-6)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.valid, expected.valid)
    assert found.names == expected.names


def test_pairs_go_to_the_device_when_asked_or_when_a_gpu_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [make_pair()]
    assert fits_device(pairs, "device", "cpu")
    assert not fits_device(pairs, "auto", "cpu")
    for free, fits in ((10**9, True), (1000, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 10**10))
        assert fits_device(pairs, "auto", "cuda") is fits
        assert not fits_device(pairs, "memory", "cuda")
