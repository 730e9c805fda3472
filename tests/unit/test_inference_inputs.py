"""Scenes that do not quite fit: bands, scale, resolution, areas, unreadable blocks."""

import re
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from inference_parts import UTM, checkpoint, class_scene, grid, pixel_checkpoint, scene, whole

from sparsecover.errors import GridError, LabelError, ModelError, SceneError
from sparsecover.grid import Window
from sparsecover.inference import Settings, predict, predict_strips
from sparsecover.inference.area import Area
from sparsecover.inference.job import Job
from sparsecover.inference.matching import at_training_resolution, check_scale, match_bands
from sparsecover.normalize import Normalizer, fit_normalizer
from sparsecover.raster import Scene, open_scene


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_bands_are_reordered_by_name():
    image = scene(names=("green", "nir", "red"))
    matched, notes = match_bands(image, ("red", "green"))
    assert [band.name for band in matched.bands] == ["red", "green"]
    assert np.array_equal(matched.read()[0], image.read()[0][[2, 0]])
    assert "red, green" in notes[0]


def test_bands_in_the_right_order_or_without_names_are_left_alone():
    assert match_bands(scene(), ("red", "green"))[1] == []
    unnamed = scene(names=("band_1", "band_2"))
    assert match_bands(unnamed, ("red", "green")) == (unnamed, [])


def test_other_band_names_are_noted():
    (note,) = match_bands(scene(names=("nir", "green")), ("red", "green"))[1]
    assert "nir for red" in note


def test_another_number_of_bands_says_which_are_wanted():
    with pytest.raises(ModelError, match=r"3 bands \(a, b, c\).*wants 2: red, green"):
        match_bands(scene(names=("a", "b", "c")), ("red", "green"))


@pytest.mark.parametrize("kind", ["percentile", "zscore", "minmax", "dtype"])
def test_values_as_in_training_raise_no_doubt(kind):
    image = scene()
    normalizer = fit_normalizer(kind, [image.read()], np.uint8, 2)
    assert check_scale(image, normalizer) == []


@pytest.mark.parametrize("factor", [1 / 255, 40.0])
@pytest.mark.parametrize("kind", ["percentile", "zscore", "minmax"])
def test_values_of_another_scale_are_noted_with_figures(kind, factor):
    image = scene(names=("red", "green"))
    normalizer = fit_normalizer(kind, [image.read()], np.uint8, 2)
    other = Scene.from_array((image.read()[0] * factor).astype(np.float32), image.read()[1], name="other")
    notes = check_scale(other, normalizer)
    assert len(notes) == 2
    here = [float(number) for number in re.search(r"holds (\S+) to (\S+) ", notes[0]).groups()]
    np.testing.assert_allclose(here, np.percentile(other.read()[0][0][other.read()[1]], [2, 98]), rtol=0.1)


def test_resolution_within_ten_percent_is_left_alone():
    for pixel_m in (9.1, 10.9):
        image = scene(pixel_m=pixel_m)
        assert at_training_resolution(image, pixel_checkpoint(resolution_m=10.0)) == (image, [])
    assert at_training_resolution(scene(pixel_m=3.0), pixel_checkpoint())[1] == []


def test_another_resolution_is_resampled_and_written_on_the_own_grid(tmp_path):
    classes = np.zeros((60, 80), np.uint8)
    classes[:, 40:] = 2
    classes[:20, :20] = 255
    image = class_scene(classes, pixel_m=5.0)
    model = pixel_checkpoint(resolution_m=10.0)
    resized, notes = at_training_resolution(image, model)
    assert (resized.grid.height, resized.grid.width) == (30, 40)
    assert "5 m" in notes[0]
    product = predict(image, model, tmp_path / "m.tif")
    got = read(product.map)[0]
    codes = np.where(classes == 255, 255, np.where(classes == 2, 7, 1))
    away = np.ones((60, 80), bool)
    away[:, 37:43] = False  # the edge between classes is interpolated
    assert np.array_equal(got[away], codes[away])
    assert product.notes[-1] == notes[0]
    native = predict(image, model, tmp_path / "n.tif", native=True)
    assert np.array_equal(read(native.map)[0], codes)
    assert native.notes == ()


def picture(height, width, **changes):
    """Classes 0 and 2 left and right, without a coordinate system."""
    classes = np.zeros((1, height, width), np.uint8)
    classes[:, :, width // 2 :] = 2
    return replace(Scene.from_array(classes), **changes)


@pytest.mark.parametrize(("resize", "rows", "cols"), [(0.5, 30, 40), (2.0, 120, 160), ([20, 20], 20, 20)])
def test_pictures_without_resolution_are_resized_as_the_trainings_were(tmp_path, resize, rows, cols):
    image, model = picture(60, 80), pixel_checkpoint(config={"data": {"resize": resize}})
    working, (note,) = at_training_resolution(image, model)
    assert (working.grid.height, working.grid.width) == (rows, cols)
    assert f"60 x 80 pixels are resized to {rows} x {cols}" in note
    assert at_training_resolution(working, model) == (working, [])  # of a data set that was resized already
    product = predict(image, model, tmp_path / "m.tif")
    assert product.notes[-1] == note
    got = open_scene(product.map).read()[0][0]
    assert got.shape == (60, 80)
    assert (got[:, :36] == 1).all()
    assert (got[:, 44:] == 7).all()
    assert predict(image, model, tmp_path / "n.tif", native=True).notes == ()


def test_metres_count_more_than_how_files_were_resized():
    model = pixel_checkpoint(config={"data": {"resize": 0.5}}, resolution_m=10.0)
    image = scene(pixel_m=10.0)
    assert at_training_resolution(image, model) == (image, [])
    assert at_training_resolution(picture(60, 80), model)[0].grid.height == 30


def test_pictures_much_smaller_than_the_trainings_are_refused():
    with pytest.raises(GridError, match="--native"):
        at_training_resolution(picture(10, 10), pixel_checkpoint(config={"data": {"resize": [256, 256]}}))


@pytest.mark.parametrize(("height", "width"), [(900, 900), (20, 100)])
def test_pictures_much_larger_or_of_another_shape_are_refused(height, width):
    model = pixel_checkpoint(config={"data": {"resize": [100, 100]}})
    with pytest.raises(GridError, match=f"has {height} x {width} pixels.*size or shape"):
        at_training_resolution(picture(height, width), model)


def test_a_share_fits_pictures_of_any_size():
    model = pixel_checkpoint(config={"data": {"resize": 0.05}})
    assert at_training_resolution(picture(200, 400), model)[0].grid.width == 20


@pytest.mark.parametrize("pixel_m", [4.3, 21.0])
def test_resampled_predictions_do_not_depend_on_the_region(pixel_m):
    image, model = scene(75, 90, pixel_m=pixel_m), replace(checkpoint(), resolution_m=10.0)
    probabilities, valid = whole(predict_strips(image, model, batch_size=1), (75, 90))
    area = Window(13, 21, 40, 33)
    blocks = predict_strips(image, model, batch_size=1, area=area)
    got, kept = whole([b._replace(window=b.window.relative_to(area)) for b in blocks], (40, 33))
    assert np.array_equal(kept, valid[area.slices])
    assert np.array_equal(got, probabilities[:, *area.slices])
    np.testing.assert_allclose(got[:, kept].sum(0), 1, atol=1e-5)


def test_resolutions_far_apart_are_refused():
    with pytest.raises(GridError, match="--native"):
        at_training_resolution(scene(pixel_m=100.0), pixel_checkpoint(resolution_m=0.5))


def test_bounds_and_polygons_as_area(tmp_path):
    image, model = scene(nodata_corner=False), checkpoint()
    everywhere = read(predict(image, model, tmp_path / "all.tif").map)[0]
    left, top = 400_000, 5_500_000
    box = (left + 100, top - 600, left + 500, top - 200)  # columns 10 to 50, rows 20 to 60
    inside = np.zeros(everywhere.shape, bool)
    inside[20:60, 10:50] = True
    expected = np.where(inside, everywhere, 255)
    by_bounds = predict(image, model, tmp_path / "bounds.tif", area=box)
    assert np.array_equal(read(by_bounds.map)[0], expected)
    assert by_bounds.statistics["pixels"] == 1600
    file = tmp_path / "area.gpkg"
    geopandas.GeoDataFrame(geometry=[shapely.box(*box)], crs=UTM).to_crs(4326).to_file(file)
    by_file = predict(image, model, tmp_path / "file.tif", area=file)
    assert (read(by_file.map)[0] != expected).sum() < 50  # the box's edges are bent a little by the projection


def test_areas_that_cannot_be_meant(tmp_path):
    image, model = scene(), checkpoint()
    with pytest.raises(GridError, match="outside the scene"):
        predict(image, model, tmp_path / "m.tif", area=(0.0, 0.0, 1.0, 1.0))
    with pytest.raises(LabelError, match="does not exist"):
        predict(image, model, tmp_path / "m.tif", area=tmp_path / "none.gpkg")
    file = tmp_path / "points.gpkg"
    geopandas.GeoDataFrame(geometry=[shapely.Point(400_100, 5_499_900)], crs=UTM).to_file(file)
    with pytest.raises(LabelError, match="no polygon on the scene, but point"):
        predict(image, model, tmp_path / "m.tif", area=file)
    assert [path.name for path in tmp_path.iterdir()] == ["points.gpkg"]


FIELD = shapely.box(400_100, 5_499_400, 400_500, 5_499_800)


def polygons(path, crs=UTM, outline=FIELD, **options):
    frame = geopandas.GeoDataFrame(geometry=[outline], crs=crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path, **options)
    return path


def test_an_area_is_read_as_labels_are(tmp_path):
    place = scene().grid
    expected = Area.open(place, FIELD.bounds).mask(place.window)
    layers = polygons(polygons(tmp_path / "two.gpkg", layer="roads", outline=FIELD.buffer(90)), layer="field")
    for file in (polygons(tmp_path / "area.parquet"), Path(f"{layers}|layername=field")):
        assert np.array_equal(Area.open(place, file).mask(place.window), expected)
    with pytest.raises(LabelError, match=r"area of interest .*has the layers roads, field; choose one"):
        Area.open(place, layers)
    with pytest.raises(LabelError, match=r"area of interest .*does not exist"):
        Area.open(place, tmp_path / "none.gpkg|layername=field")


def test_areas_in_a_wrong_coordinate_system_are_explained(tmp_path):
    place = scene().grid
    with pytest.raises(LabelError, match=r"area of interest .*says its coordinates are degrees"):
        Area.open(place, polygons(tmp_path / "degrees.gpkg", crs=4326))
    with pytest.raises(GridError, match=r"outside the scene.*span \(\d+, -\d.*coordinate systems are right"):
        Area.open(place, polygons(tmp_path / "south.gpkg", crs=32733))


def test_a_scene_without_a_place_takes_bounds_and_no_file(tmp_path):
    nowhere = replace(scene().grid, crs=None, transform=Affine.identity())
    with pytest.raises(LabelError, match=r"no coordinate system.*left,bottom,right,top"):
        Area.open(nowhere, polygons(tmp_path / "area.gpkg"))
    assert Area.open(nowhere, (10, 20, 50, 60)).mask(nowhere.window).sum() == 1600


@pytest.fixture
def broken_scene(tmp_path):
    """A tiled file of 3 x 3 blocks whose middle block cannot be decoded."""
    path = tmp_path / "broken.tif"
    values = np.random.default_rng(0).integers(40, 160, (2, 384, 384)).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=384, width=384, count=2, dtype="uint8", tiled=True, blockxsize=128,
        blockysize=128, compress="deflate", interleave="pixel", crs="EPSG:32633",
        transform=grid(1, 1).transform,
    ) as dataset:  # fmt: skip
        dataset.write(values)
        dataset.descriptions = ("red", "green")
    with rasterio.open(path) as dataset:
        place = int(
            dataset.tags(ns="TIFF", bidx=1).get("BLOCK_OFFSET_1_1")
            or dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1)
        )
    damaged = bytearray(path.read_bytes())
    damaged[place : place + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    return path


def test_an_unreadable_block_is_named(tmp_path, broken_scene):
    with pytest.raises(SceneError, match=r"rows \d+ to \d+, columns \d+ to \d+ of .*broken\.tif"):
        predict(open_scene(broken_scene), checkpoint(patch=64), tmp_path / "m.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.tif"]


def test_an_unreadable_block_can_be_taken_as_nodata(tmp_path, broken_scene, caplog):
    model = checkpoint(patch=96)
    product = predict(open_scene(broken_scene), model, tmp_path / "m.tif", on_read_error="nodata")
    unread = read(product.map)[0] == 255
    expected = np.zeros((384, 384), bool)
    expected[128:256, 128:256] = True
    assert np.array_equal(unread, expected)
    (told,) = caplog.messages  # though several windows hold the block
    assert re.search(r"as nodata.*rows \d+ to \d+, columns \d+ to \d+ of .*broken\.tif", told)


def test_a_normaliser_without_a_known_range_raises_no_doubt():
    assert check_scale(scene(), Normalizer("none", (0.0, 0.0), (1.0, 1.0))) == []


def test_numbered_bands_keep_the_order_that_was_asked_for():
    image = scene(names=("band_1", "band_2", "band_3"))
    swapped = image.select([3, 1])
    assert match_bands(image, ("band_1", "band_3"))[0].bands == image.select([1, 3]).bands
    assert match_bands(swapped, ("band_1", "band_3")) == (swapped, [])


def test_another_area_in_the_same_file_is_another_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = []
    for right in (400_300, 400_400):
        outline = shapely.box(400_000, 5_499_500, right, 5_500_000)
        geopandas.GeoDataFrame(geometry=[outline], crs=UTM).to_file("area.geojson")
        job = Job.plan(scene(), checkpoint(), Settings(area=Path("area.geojson")))
        keys.append(job.key)
    assert keys[0] != keys[1]
    assert job.settings.area == tmp_path / "area.geojson"  # which workers find wherever they run
