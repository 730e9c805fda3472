"""Normalisation: what the statistics mean, and that invalid pixels have no part in them."""

import tracemalloc

import numpy as np
import pytest

from sparsecover import normalize
from sparsecover.errors import ConfigError, DataError
from sparsecover.normalize import KINDS, Normalizer, fit_normalizer

RNG = np.random.default_rng(0)
VALID = np.ones((40, 50), bool)
VALID[:, :10] = False


def scene(dtype: str) -> np.ndarray:
    values = RNG.normal(500, 50, (3, 40, 50)).astype(dtype)
    values[:, ~VALID] = 0  # a value far from all others: it would move every statistic
    return values


def fitted(kind: str, values: np.ndarray) -> Normalizer:
    return fit_normalizer(kind, [(values, VALID)], values.dtype, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_pixels_become_zero_and_output_is_float32(kind: str) -> None:
    values = scene("uint16")
    out = fitted(kind, values)(values, VALID)
    assert out.dtype == np.float32
    assert (out[:, ~VALID] == 0).all()
    assert np.isfinite(out).all()


def test_zscore_has_mean_0_and_deviation_1_over_valid_pixels() -> None:
    values = scene("float32")
    out = fitted("zscore", values)(values, VALID)[:, VALID]
    np.testing.assert_allclose(out.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(out.std(1), 1, atol=1e-3)


def test_percentile_sends_1st_and_99th_to_minus_1_and_1() -> None:
    values = scene("float64")
    out = fitted("percentile", values)(values, VALID)[:, VALID]
    np.testing.assert_allclose(np.percentile(out, [1, 99], axis=1), [[-1] * 3, [1] * 3], atol=1e-3)


def test_percentile_is_not_moved_by_an_outlier_and_cuts_it() -> None:
    values = scene("float32")
    before = fitted("percentile", values)
    values[0, 5, 20] = 1e9
    after = fitted("percentile", values)
    assert after.scale[0] == pytest.approx(before.scale[0], rel=0.1)
    assert after(values, VALID).max() == after.clip


def test_dtype_divides_by_the_largest_value_of_the_type() -> None:
    values = np.full((3, 40, 50), 65535, np.uint16)
    assert fitted("dtype", values)(values, VALID).max() == 1


def test_large_offsets_keep_their_digits() -> None:
    values = (20_000_000 + RNG.integers(0, 100, (3, 40, 50))).astype(np.int32)
    out = fitted("minmax", values)(values, VALID)[:, VALID]
    expected = (values[:, VALID] - 20_000_000) / 99
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_constant_band_becomes_zero_not_nan() -> None:
    values = np.full((3, 40, 50), 7, np.uint8)
    assert (fitted("zscore", values)(values, VALID) == 0).all()


def test_round_trip_through_plain_values() -> None:
    normalizer = fitted("percentile", scene("uint16"))
    assert Normalizer.from_dict(normalizer.as_dict()) == normalizer
    assert normalizer.select([2, 0]).offset == (normalizer.offset[2], normalizer.offset[0])


def test_many_bands_stay_within_the_memory_bound() -> None:
    values = RNG.normal(size=(224, 400, 400)).astype(np.float32)
    valid = np.ones((400, 400), bool)
    normalizer = fit_normalizer("percentile", [(values, valid)], values.dtype, 224)
    assert len(normalizer.offset) == 224
    assert normalizer.scale[0] == pytest.approx(2.33, abs=0.1)  # 99th percentile of the standard normal


def test_what_is_below_the_limit_is_taken_whole() -> None:
    samples = [(scene("uint16"), VALID), (scene("float32"), np.ones_like(VALID)), (scene("uint8"), ~VALID)]
    pixels = np.concatenate([values[:, valid] for values, valid in samples], axis=1).astype(np.float64)
    zscore = fit_normalizer("zscore", samples, np.uint16, 3)
    assert zscore.offset == tuple(pixels.mean(1))  # to the last bit
    assert zscore.scale == tuple(pixels.std(1))


def test_many_samples_are_thinned_alike_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    count, side, bands, limit = 300, 100, 4, 40_000
    monkeypatch.setattr(normalize, "_SAMPLE_LIMIT", limit)
    valid = np.ones((side, side), bool)
    samples = ((np.full((bands, side, side), float(number)), valid) for number in range(count))
    tracemalloc.start()
    try:
        normalizer = fit_normalizer("zscore", samples, np.float64, bands)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sample_bytes = bands * side * side * 8
    assert peak < 5 * limit * 8 + 3 * sample_bytes < count * sample_bytes / 10
    np.testing.assert_allclose(normalizer.offset, (count - 1) / 2, rtol=0.02)
    np.testing.assert_allclose(normalizer.scale, count / np.sqrt(12), rtol=0.02)


def test_no_column_of_a_picture_decides_alone_where_samples_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalize, "_SAMPLE_LIMIT", 2_000)
    stripes = np.broadcast_to(np.arange(1024.0), (1, 64, 1024)).copy()
    samples = [(stripes, np.ones((64, 1024), bool))] * 8
    normalizer = fit_normalizer("zscore", samples, np.float64, 1)
    assert abs(normalizer.offset[0] - 511.5) < 60
    assert abs(normalizer.scale[0] - 1024 / np.sqrt(12)) < 40


def test_samples_of_another_number_of_bands_are_refused() -> None:
    with pytest.raises(DataError, match="A sample has 2 bands; expected 3"):
        fit_normalizer("zscore", [(scene("uint8"), VALID), (scene("uint8")[:2], VALID)], np.uint8, 3)


def test_mistakes_are_explained() -> None:
    with pytest.raises(ConfigError, match="percentile"):
        fit_normalizer("percentil", [], np.uint8, 3)
    with pytest.raises(DataError, match="only nodata"):
        fit_normalizer("zscore", [(scene("uint8"), np.zeros((40, 50), bool))], np.uint8, 3)
    with pytest.raises(DataError, match="percentile or zscore"):
        fitted("dtype", scene("float32"))
    with pytest.raises(DataError, match="2 bands given"):
        fitted("zscore", scene("float32"))(scene("float32")[:2], VALID)


def test_statistics_come_from_training_windows_alone(tmp_path) -> None:
    from sparsecover.config import Config
    from sparsecover.grid import Grid
    from sparsecover.labels import LabelRaster
    from sparsecover.patches import plan_patches
    from sparsecover.raster import Scene
    from sparsecover.training.preparing import scene_normalizer

    values = np.full((1, 64, 64), 10.0, np.float32)
    values[:, :, 32:] = 1000.0  # no training label lies here
    labels = np.full((64, 64), 255, np.uint8)
    labels[5, 5] = 0
    raster = LabelRaster(labels, Grid(64, 64))
    plan = plan_patches([raster], num_classes=1, size_px=32)
    normalizer = scene_normalizer([Scene.from_array(values)], plan, Config.from_dict({"normalize": "minmax"}))
    assert normalizer.offset == (10.0,)
    assert normalizer.scale == (1.0,)
