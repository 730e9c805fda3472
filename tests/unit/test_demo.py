"""The demo scene: the same from the same seed, all classes, honest labels, and too hard for colour alone."""

import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from sklearn.ensemble import RandomForestClassifier

from sparsecover.datasets.demo import CLASSES, LEAST_PX, make_demo, render_demo
from sparsecover.datasets.demo.canvas import PIXEL_M, Canvas, noise, trace
from sparsecover.datasets.demo.photo import AZIMUTH, ELEVATION, shading, shadows
from sparsecover.errors import DataError, OutputError
from sparsecover.labels import burn_labels
from sparsecover.metrics import confusion_matrix, miou
from sparsecover.raster import open_scene

SMALL_PX = 320


@pytest.fixture(scope="module")
def rendered():
    return render_demo(seed=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp("demo"), seed=3, size_px=SMALL_PX)


def burnt(features, shape):
    """Labels burnt by rasterio alone: class indices, 255 elsewhere."""
    shapes = [(feature.geometry, CLASSES.index(feature.name)) for feature in features]
    return rasterize(shapes, out_shape=shape, fill=255, dtype="uint8")


def test_the_same_seed_makes_the_same_scene_and_another_seed_another():
    first, again, other = (render_demo(seed, SMALL_PX) for seed in (5, 5, 6))
    for a, b in zip(first[:3], again[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert [f.geometry.wkt for f in first[3]] == [f.geometry.wkt for f in again[3]]
    assert (first[0] != other[0]).mean() > 0.9


def test_every_class_covers_a_real_share(rendered):
    _, truth, valid, _ = rendered
    shares = np.bincount(truth[valid], minlength=len(CLASSES)) / valid.sum()
    assert len(shares) == len(CLASSES)
    assert (shares > 0.02).all()
    assert shares.max() < 0.75


def test_nodata_is_a_corner_and_nowhere_else(rendered):
    image, _, valid, _ = rendered
    assert (image[:, ~valid] == 0).all()
    assert (image[:, valid] > 0).all()
    assert not valid[-1, -1]
    assert valid[0, 0]
    assert 0.005 < 1 - valid.mean() < 0.1


def test_labels_are_few_and_right(rendered):
    _, truth, valid, features = rendered
    labels = burnt(features, truth.shape)
    labelled = labels != 255
    assert 0.004 < labelled.sum() / valid.sum() <= 0.01
    assert valid[labelled].all()
    assert (labels[labelled] == truth[labelled]).mean() > 0.98


def test_each_class_has_points_and_polygons_all_over_the_scene(rendered):
    _, truth, _, features = rendered
    for name in CLASSES:
        own = [feature.geometry for feature in features if feature.name == name]
        assert sum(geometry.geom_type == "Point" for geometry in own) >= 8
        assert sum(geometry.geom_type != "Point" for geometry in own) >= 6
        spread = np.std([geometry.centroid.coords[0] for geometry in own], axis=0) / truth.shape[0]
        assert (spread > 0.08).all()


def test_labels_do_not_overlap(rendered):
    _, truth, _, features = rendered
    hits = sum(rasterize([feature.geometry], out_shape=truth.shape, dtype="uint8") for feature in features)
    assert hits.max() == 1


def test_colour_alone_does_not_tell_the_classes_apart(rendered):
    image, truth, valid, features = rendered
    labels = burnt(features, truth.shape)
    labelled = labels != 255
    forest = RandomForestClassifier(30, random_state=0).fit(image[:, labelled].T, labels[labelled])
    some = np.zeros_like(valid)
    some[::5, ::5] = valid[::5, ::5]
    score = miou(confusion_matrix(truth[some], forest.predict(image[:, some].T), len(CLASSES)))
    assert 0.4 < score < 0.72  # a network that sees texture and shape passes 0.80


def test_other_seeds_and_sizes_hold_all_classes():
    for seed in (1, 2):
        _, truth, valid, features = render_demo(seed, 480)
        assert set(np.unique(truth[valid])) == set(range(len(CLASSES)))
        assert {feature.name for feature in features} == set(CLASSES)


def test_files_are_georeferenced_and_named(made):
    with rasterio.open(made.scene) as scene, rasterio.open(made.truth) as truth:
        assert scene.crs.to_epsg() == truth.crs.to_epsg() == 32632
        assert scene.transform == truth.transform
        assert scene.res == (PIXEL_M, PIXEL_M)
        assert scene.dtypes == ("uint16",) * 4
        assert scene.descriptions == ("red", "green", "blue", "nir")
        assert (scene.nodata, truth.nodata) == (0, 255)
        np.testing.assert_array_equal((scene.read(1) == 0), truth.read(1) == 255)
        assert set(np.unique(truth.read(1))) <= {*range(len(CLASSES)), 255}


def test_the_label_file_burns_onto_the_truth(made):
    table = gpd.read_file(made.labels)
    assert table.crs.to_epsg() == 4326
    assert set(table[made.field]) == set(CLASSES)
    with rasterio.open(made.truth) as file:
        truth = file.read(1)
    labels = burn_labels(made.labels, open_scene(made.scene).grid, made.field).values
    labelled = labels != 255
    assert 0 < labelled.mean() <= 0.012
    # Classes are in alphabetical order, which is that of the indices of the truth.
    assert (labels[labelled] == truth[labelled]).mean() > 0.97


def test_making_it_again_replaces_it_and_leaves_nothing_else(tmp_path):
    make_demo(tmp_path, seed=1, size_px=LEAST_PX)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = make_demo(tmp_path, seed=2, size_px=LEAST_PX)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(after) == set(before)
    assert {name.split(".")[0] for name in after} == {"scene", "labels", "truth"}
    assert after["scene.tif"] != before["scene.tif"]
    assert len(gpd.read_file(again.labels)) > 20


def test_a_scene_too_small_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least 256"):
        make_demo(tmp_path / "demo", size_px=100)
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(OutputError, match="Choose another"):
        make_demo(tmp_path / "demo", size_px=LEAST_PX)


def test_it_needs_no_torch():
    code = "import sys, sparsecover.datasets.demo; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class TestPainting:
    def test_noise_is_standard_and_as_coarse_as_asked(self):
        fine, coarse = (noise(np.random.default_rng(0), 200, scale_m) for scale_m in (2.0, 20.0))
        for relief in (fine, coarse):
            assert abs(relief.mean()) < 1e-3
            assert abs(relief.std() - 1) < 1e-3
        neighbours = [np.corrcoef(r[:, :-5].ravel(), r[:, 5:].ravel())[0, 1] for r in (fine, coarse)]
        assert neighbours[1] > 0.8 > neighbours[0]

    def test_distances_from_a_straight_course_are_metres(self):
        canvas = Canvas.blank(200)
        line = trace(canvas, np.array([[0.5, -0.2], [0.5, 0.4], [0.5, 1.2]]))
        rows = np.abs(np.arange(200) + 0.5 - 100) * PIXEL_M
        np.testing.assert_allclose(line.distance_m, np.broadcast_to(rows[:, None], (200, 200)), atol=0.51 * PIXEL_M)
        np.testing.assert_allclose(np.abs(line.direction), np.broadcast_to([0, 1], line.points.shape), atol=1e-6)
        assert line.along_m[0, -1] - line.along_m[0, 0] == pytest.approx(200 * PIXEL_M, rel=0.02)

    def test_a_mast_casts_a_shadow_of_its_height_over_the_tangent_away_from_the_sun(self):
        height = np.zeros((101, 101), np.float32)
        height[50, 50] = 12.0
        rows, cols = np.nonzero(shadows(height))
        down, right = rows - 50, cols - 50
        assert np.hypot(down, right).max() * PIXEL_M == pytest.approx(12 / np.tan(ELEVATION), abs=1.5 * PIXEL_M)
        # Azimuth counts from north to east; down is south. The shadow points away from the sun.
        along = down * np.cos(AZIMUTH) - right * np.sin(AZIMUTH)
        assert (np.hypot(down, right) - along < 1).all()

    def test_slopes_towards_the_sun_are_brighter(self):
        canvas = Canvas.blank(64)
        assert shading(canvas) == pytest.approx(1.0)
        ridge = 10 - np.abs(np.arange(64) - 32)[:, None] * 0.2
        canvas.height[:] = np.broadcast_to(ridge, (64, 64))
        light = shading(canvas)
        assert light[45, 32] > 1.1 > 0.9 > light[18, 32]  # the sun is in the south, at the lower edge
