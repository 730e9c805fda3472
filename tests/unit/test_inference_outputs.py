"""Calmer maps and polygons."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_parts import class_scene, grid, pixel_checkpoint

from sparsecover.classes import ClassScheme
from sparsecover.errors import GridError, OutputError
from sparsecover.grid import Grid, Window, tiles
from sparsecover.inference import predict
from sparsecover.inference.generalising import generalise, majority, scratch_map
from sparsecover.inference.products import Products
from sparsecover.inference.streaming import Blended
from sparsecover.raster import Scene


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()[0]


def slow_majority(codes, side):
    half, out = side // 2, codes.copy()
    for row, col in np.ndindex(codes.shape):
        if codes[row, col] == 255:
            continue
        around = codes[max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1]
        found, counts = np.unique(around[around != 255], return_counts=True)
        best = found[counts == counts.max()]
        out[row, col] = codes[row, col] if codes[row, col] in best else best[0]
    return out


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6), side=st.sampled_from([1, 3, 5, 7]), height=st.integers(1, 20), width=st.integers(1, 20)
)
def test_majority_is_the_most_frequent_code_around(seed, side, height, width):
    codes = np.random.default_rng(seed).choice([1, 2, 7, 255], (height, width)).astype(np.uint8)
    expected = slow_majority(codes, side)
    assert np.array_equal(majority(codes, Window(0, 0, height, width), side), expected)
    for tile in tiles(Window(0, 0, height, width), 6, 7):
        assert np.array_equal(majority(codes, tile, side), expected[tile.slices])


def test_minimum_mapping_unit_merges_small_areas_into_the_largest_neighbour(tmp_path):
    classes = np.zeros((40, 40), np.uint8)
    classes[:, 30:] = 2
    classes[5:8, 5:8] = 1  # 9 pixels of 0.01 ha
    classes[20:24, 20:24] = 1  # 16 pixels
    classes[10, 10] = 255  # a hole without data is not an area
    options = {"min_area_ha": 0.10, "confidence": False}
    product = predict(class_scene(classes), pixel_checkpoint(), tmp_path / "m.tif", **options)
    expected = np.array([1, 2, 7], np.uint8)[np.where(classes == 255, 0, classes)]
    expected[5:8, 5:8] = 1
    expected[10, 10] = 255
    assert np.array_equal(read(product.map), expected)
    assert [row["pixels"] for row in product.statistics["classes"]] == [1200 - 16 - 1, 16, 400]
    assert product.statistics["mean_confidence"] > 0.9


def test_a_unit_in_hectares_needs_a_coordinate_system(tmp_path):
    flat = Scene.from_array(np.zeros((1, 20, 20), np.uint8))
    with pytest.raises(GridError, match="coordinate system"):
        predict(flat, pixel_checkpoint(), tmp_path / "m.tif", min_area_ha=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "options", "complaint"),
    [
        (13_000, {"probabilities": "float32"}, "before compression, and only"),
        (21_000, {"majority_px": 3}, "and 0 MiB for scratch files, and only"),
        (41_000, {"majority_px": 3, "min_area_ha": 0.1}, "for scratch files"),
    ],
)
def test_room_for_all_files_together_is_looked_for_before_the_work(tmp_path, monkeypatch, free, options, complaint):
    import sparsecover.raster.writer as writer

    monkeypatch.setattr(writer, "_free_bytes", lambda folder: free)
    image = class_scene(np.zeros((100, 100)))
    with pytest.raises(OutputError, match=complaint):
        predict(image, pixel_checkpoint(), tmp_path / "m.tif", reporter=pytest.fail, **options)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(writer, "_free_bytes", lambda folder: free + 5_000)
    assert predict(image, pixel_checkpoint(), tmp_path / "m.tif", **options).map.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk here that is always full")
def test_a_disk_that_fills_with_scratch_files_is_named():
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space"):
        scratch_map(Path("/dev"), "full", grid(4, 4))


def test_filter_comes_before_the_unit(tmp_path):
    codes = np.full((9, 9), 1, np.uint8)
    codes[4, 4] = 2
    calm = generalise(codes, grid(9, 9), tmp_path, 3, None)
    assert (calm == 1).all()
    assert np.array_equal(generalise(codes, Grid(9, 9), tmp_path, 1, None), codes)


def test_polygons_cover_each_class_exactly(tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (6, 8)).repeat(5, 0).repeat(5, 1).astype(np.uint8)
    classes[:7, :9] = 255
    product = predict(class_scene(classes), pixel_checkpoint(), tmp_path / "m.tif", polygons=True)
    assert product.polygons == tmp_path / "m_polygons.gpkg"
    table = geopandas.read_file(product.polygons)
    assert table.crs.to_epsg(min_confidence=20) == 32633 or table.crs.is_projected
    codes = np.array([1, 2, 7])
    for index, code in enumerate(codes):
        pixels = (classes == index).sum()
        rows = table[table.code == code]
        assert rows.area.sum() == pytest.approx(pixels * 100)
        assert set(rows.name) == {f"class {code}"}
    burnt = rasterio.features.rasterize(
        zip(table.geometry, table.code, strict=True),
        classes.shape,
        255,
        transform=grid(30, 40).transform,
        dtype="uint8",
    )
    assert np.array_equal(burnt, read(product.map))


def test_polygons_of_a_map_without_data_are_an_empty_layer(tmp_path):
    product = predict(class_scene(np.full((20, 20), 255)), pixel_checkpoint(), tmp_path / "m.tif", polygons=True)
    table = geopandas.read_file(product.polygons)
    assert len(table) == 0
    assert {"code", "name"} <= set(table.columns)


def test_many_polygons_are_written_in_parts(tmp_path, monkeypatch):
    import sparsecover.inference.polygons as polygons

    monkeypatch.setattr(polygons, "_AT_ONCE", 70)
    classes = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.uint8)
    product = predict(class_scene(classes), pixel_checkpoint(), tmp_path / "m.tif", polygons=tmp_path / "p.gpkg")
    table = geopandas.read_file(tmp_path / "p.gpkg")
    assert len(table) > 50
    assert table.area.sum() == pytest.approx(400 * 100)
    assert product.polygons == tmp_path / "p.gpkg"


@pytest.mark.parametrize("threshold", [None, 0.6])
def test_arrays_and_tensors_are_encoded_alike(threshold):
    """On an accelerator the same functions work on tensors."""
    rng = np.random.default_rng(0)
    scheme = ClassScheme.from_names("ab" if threshold else "abcde")
    probabilities = rng.dirichlet(np.ones(len(scheme)), (30, 40)).transpose(2, 0, 1).astype(np.float32)
    valid = rng.random((30, 40)) > 0.2
    encodings = {"confidence": "uint8", "probabilities": "float32", "entropy": "uint8"}
    products = Products(scheme, encodings, threshold)
    window = Window(0, 0, 30, 40)
    by_array = products.encode(Blended(window, probabilities, valid))
    by_tensor = products.encode(Blended(window, torch.from_numpy(probabilities), valid))
    assert by_array.arrays["map"].dtype == by_tensor.arrays["map"].dtype == np.uint8
    assert by_array.counts.tolist() == by_tensor.counts.tolist()
    for name, array in by_array.arrays.items():
        np.testing.assert_allclose(array.astype(float), by_tensor.arrays[name].astype(float), atol=1e-6)
