"""predict and predict_strips: values, outputs, names, statistics, refusals."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from inference_parts import checkpoint, class_scene, grid, pixel_checkpoint, scene, whole

from sparsecover.checkpoint import save_checkpoint
from sparsecover.errors import ConfigError, GridError, ModelError, OutputError, SceneError
from sparsecover.grid import Window
from sparsecover.inference import predict, predict_many, predict_strips
from sparsecover.raster import Scene


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_one_window_gives_just_what_the_network_gives():
    image, model = scene(32, 32), checkpoint()
    got, valid = whole(predict_strips(image, model), (32, 32))
    values, expected_valid = image.read()
    with torch.inference_mode():
        logits = model.model()(torch.from_numpy(model.normalizer(values, expected_valid))[None])
    expected = torch.softmax(logits, 1)[0].numpy()
    assert np.array_equal(valid, expected_valid)
    np.testing.assert_allclose(got[:, valid], expected[:, valid], atol=1e-5)


def test_inner_pixels_are_those_of_the_whole_scene_at_once():
    """Context is 3 pixels, so that with interior blending windows see all that a pixel depends on."""
    image, model = scene(100, 120), checkpoint()
    got, valid = whole(predict_strips(image, model, blend="interior", overlap=8), (100, 120))
    with torch.inference_mode():
        logits = model.model()(torch.from_numpy(model.normalizer(*image.read()))[None])
    expected = torch.softmax(logits, 1)[0].numpy()
    inner = np.zeros_like(valid)
    inner[3:-3, 3:-3] = True  # the scene's border is mirrored, the network's is padded with 0
    np.testing.assert_allclose(got[:, valid & inner], expected[:, valid & inner], atol=1e-5)


@pytest.mark.parametrize("blend", ["gaussian", "hann", "interior"])
def test_blended_probabilities_sum_to_one(blend):
    got, valid = whole(predict_strips(scene(), checkpoint(), blend=blend), (75, 90))
    np.testing.assert_allclose(got.sum(0)[valid], 1, atol=1e-5)


def test_memory_does_not_change_a_byte(monkeypatch):
    import sparsecover.inference.job as job

    image, model = scene(), checkpoint()
    reference, _ = whole(predict_strips(image, model, batch_size=1), (75, 90))
    monkeypatch.setattr(job, "_PANEL_STEP", 16)
    monkeypatch.setattr(job, "_SUMS_SHARE", 0.0002)
    readers = set()
    read = job.read_mirrored
    monkeypatch.setattr(job, "read_mirrored", lambda *where: readers.add(threading.get_ident()) or read(*where))
    strips = list(predict_strips(image, model, batch_size=1, ram_mb=64))
    assert len({strip.window.col for strip in strips}) > 2
    assert len(readers) == 1  # what GDAL keeps for one thread is of no use to another, and stays in memory
    assert whole(strips, (75, 90))[0].tobytes() == reference.tobytes()


def test_batches_change_nothing():
    image, model = scene(), checkpoint()
    one, _ = whole(predict_strips(image, model, batch_size=1), (75, 90))
    five, _ = whole(predict_strips(image, model, batch_size=5), (75, 90))
    np.testing.assert_allclose(one, five, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (5, 3), (33, 32), (31, 200)])
def test_small_and_thin_scenes(shape):
    got, valid = whole(predict_strips(scene(*shape, nodata_corner=False), checkpoint()), shape)
    assert valid.all()
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)


def test_unet_takes_a_scene_of_one_pixel():
    model = checkpoint("unet", base_channels=2, depth=3, patch=64)
    got, _ = whole(predict_strips(scene(1, 1, nodata_corner=False), model), (1, 1))
    assert got.sum() == pytest.approx(1)


def test_windows_without_data_are_not_computed():
    class Counting(torch.nn.Module):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return torch.zeros(len(x), 2, *x.shape[-2:])

    values = np.ones((1, 64, 640), np.uint8)
    valid = np.zeros((64, 640), bool)
    valid[:, :10] = True
    image = Scene.from_array(values, valid)
    _, got = whole(predict_strips(image, Counting(), patch_size=64, overlap=0, batch_size=1), (64, 640))
    assert np.array_equal(got, valid)
    assert Counting.calls == 2  # one for the number of classes, one for the window with data


def test_a_window_as_area_yields_only_its_pixels():
    image, model = scene(), checkpoint()
    reference, reference_valid = whole(predict_strips(image, model), (75, 90))
    area = Window(20, 15, 30, 41)
    strips = [s._replace(window=s.window.relative_to(area)) for s in predict_strips(image, model, area=area)]
    got, valid = whole(strips, (30, 41))
    assert np.array_equal(valid, reference_valid[area.slices])
    np.testing.assert_allclose(got, reference[:, *area.slices], atol=1e-6)


def test_map_holds_codes_and_confidence_percent(tmp_path):
    classes = np.repeat(np.arange(3), 20)[None].repeat(50, 0)
    classes[:5, :5] = 255
    product = predict(class_scene(classes), pixel_checkpoint(), tmp_path / "m.tif")
    codes = np.array([1, 2, 7, 255], np.uint8)[np.where(classes == 255, 3, classes)]
    assert np.array_equal(read(product.map)[0], codes)
    assert product.confidence == tmp_path / "m_confidence.tif"
    confidence = read(product.confidence)[0]
    # softmax of logits 0, -4, -16 at the ends, of -4, 0, -4 in the middle
    ends, middle = round(100 / (1 + np.exp(-4) + np.exp(-16))), round(100 / (1 + 2 * np.exp(-4)))
    assert np.array_equal(confidence[10, [30, 25]], [middle, middle])
    assert np.array_equal(confidence[10, [2, 55]], [ends, ends])
    assert (confidence[:5, :5] == 255).all()
    with rasterio.open(product.map) as dataset:
        assert dataset.nodata == 255
        assert dataset.transform == grid(50, 60).transform
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "m.qml",
        "m.tif",
        "m.tif.aux.xml",
        "m_confidence.tif",
        "m_statistics.json",
    ]


def test_statistics_count_pixels_hectares_and_shares(tmp_path):
    classes = np.full((40, 50), 0)
    classes[:, 10:] = 2
    classes[:4] = 255
    product = predict(class_scene(classes, pixel_m=10), pixel_checkpoint(), tmp_path / "m.tif")
    statistics = product.statistics
    assert statistics["pixels"] == 36 * 50
    assert statistics["nodata_pixels"] == 200
    rows = statistics["classes"]
    assert [row["pixels"] for row in rows] == [360, 0, 1440]
    assert [row["code"] for row in rows] == [1, 2, 7]
    assert rows[2]["area_ha"] == pytest.approx(14.4)
    assert rows[2]["share"] == pytest.approx(0.8)
    assert statistics["mean_confidence"] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)
    assert json.loads((tmp_path / "m_statistics.json").read_text()) == statistics


def test_further_layers(tmp_path):
    image, model = scene(), checkpoint()
    reference, valid = whole(predict_strips(image, model), (75, 90))
    product = predict(image, model, tmp_path / "m.tif", confidence="float32", probabilities="float32", entropy=True)
    probabilities = read(product.probabilities)
    np.testing.assert_allclose(probabilities[:, valid], reference[:, valid], atol=1e-6)
    assert np.isnan(probabilities[:, ~valid]).all()
    with rasterio.open(product.probabilities) as dataset:
        assert dataset.descriptions == ("class 1", "class 2", "class 7")
    np.testing.assert_allclose(read(product.confidence)[0][valid], reference.max(0)[valid], atol=1e-6)
    entropy = -(reference * np.log(np.clip(reference, 1e-12, 1))).sum(0) / np.log(3) * 100
    got = read(product.entropy)[0]
    assert np.abs(got[valid] - entropy[valid]).max() <= 0.51
    assert (got[~valid] == 255).all()


def test_probabilities_as_percent(tmp_path):
    image, model = scene(), checkpoint()
    reference, valid = whole(predict_strips(image, model), (75, 90))
    product = predict(image, model, tmp_path / "m.tif", probabilities=True, confidence=False)
    assert product.confidence is None
    got = read(product.probabilities)
    assert got.dtype == np.uint8
    assert np.abs(got[:, valid] - 100 * reference[:, valid]).max() <= 0.51


def test_exact_halves_are_rounded_alike_everywhere(tmp_path):
    """Eight equal classes give 12.5% whatever the number of windows that are blended."""
    flat = Scene.from_array(np.full((1, 90, 130), 1e4, np.float32), grid=grid(90, 130))
    model = pixel_checkpoint(codes=tuple(range(8)), state={"centres": torch.zeros(8, 1, 1)})
    product = predict(flat, model, tmp_path / "m.tif", overlap=0.4)
    assert np.unique(read(product.confidence)).tolist() == [13]
    assert np.unique(read(product.map)).tolist() == [0]


@pytest.mark.parametrize("blend", ["gaussian", "hann", "interior"])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.8])
def test_a_constant_network_maps_one_value_everywhere(tmp_path, blend, overlap):
    model, logits = checkpoint(), torch.tensor([0.3, -1.2, 2.0])
    model.state["layers.3.weight"].zero_()
    model.state["layers.3.bias"].copy_(logits)
    product = predict(scene(), model, tmp_path / "m.tif", blend=blend, overlap=overlap, probabilities=True)
    valid = scene().read()[1]
    percent = torch.softmax(logits, 0).mul(100).round().to(torch.uint8)
    assert (read(product.map)[0][valid] == 7).all()
    assert (read(product.confidence)[0][valid] == percent[2].item()).all()
    assert (read(product.probabilities)[:, valid] == percent[:, None].numpy()).all()
    for path in (product.map, product.confidence, product.probabilities):
        assert (read(path)[:, ~valid] == 255).all()


def test_threshold_chooses_the_positive_class(tmp_path):
    image, model = scene(), checkpoint(codes=(0, 1))
    reference, valid = whole(predict_strips(image, model), (75, 90))
    product = predict(image, model, tmp_path / "m.tif", threshold=0.7)
    got = read(product.map)[0]
    assert np.array_equal(got[valid], (reference[1] >= 0.7)[valid])
    assert 0 < got[valid].mean() < (reference[1] >= 0.5)[valid].mean()
    with pytest.raises(ModelError, match="3 classes"):
        predict(image, checkpoint(), tmp_path / "n.tif", threshold=0.7)


def test_tta_is_the_mean_over_flips_and_turns():
    image, model = scene(32, 32, nodata_corner=False), checkpoint()
    values, valid = image.read()
    inputs = torch.from_numpy(model.normalizer(values, valid))[None]
    network = model.model()
    expected = torch.zeros(1, 3, 32, 32)
    with torch.inference_mode():
        for dims in ((), (-1,), (-2,), (-1, -2)):
            expected += torch.softmax(network(inputs.flip(dims)), 1).flip(dims)
            transposed = inputs.flip(dims).transpose(-1, -2)
            expected += torch.softmax(network(transposed), 1).transpose(-1, -2).flip(dims)
    got, _ = whole(predict_strips(image, model, tta=True), (32, 32))
    np.testing.assert_allclose(got, expected[0].numpy() / 8, atol=1e-5)


def test_ensemble_is_the_mean_of_its_members(tmp_path):
    from sparsecover.normalize import Normalizer

    image = scene()
    members = [checkpoint(seed=1), checkpoint(seed=2, normalizer=Normalizer("zscore", (90.0, 80.0), (30.0, 20.0)))]
    parts = [whole(predict_strips(image, member), (75, 90))[0] for member in members]
    save_checkpoint(tmp_path / "b.safetensors", members[1])
    both, _ = whole(predict_strips(image, [members[0], tmp_path / "b.safetensors"]), (75, 90))
    np.testing.assert_allclose(both, (parts[0] + parts[1]) / 2, atol=1e-5)
    with pytest.raises(ModelError, match="differ"):
        list(predict_strips(image, [members[0], checkpoint(codes=(1, 2, 8))]))


def test_many_scenes_one_after_the_other(tmp_path):
    def missing():
        raise SceneError("there is no such file")

    targets = [(scene, tmp_path / "a_map.tif"), (missing, tmp_path / "b_map.tif"), (scene, tmp_path / "c_map.tif")]
    first, second, third = predict_many(targets, checkpoint(), entropy=True)
    assert str(second) == "there is no such file"
    assert first.confidence == tmp_path / "a_confidence.tif"
    assert third.entropy == tmp_path / "c_entropy.tif"
    assert first.map.read_bytes() == third.map.read_bytes()


def test_names_of_outputs_can_be_given(tmp_path):
    product = predict(
        scene(), checkpoint(), tmp_path / "map.tif", confidence=tmp_path / "confidence.tif", entropy=True, stem="x"
    )
    assert product.confidence == tmp_path / "confidence.tif"
    assert product.entropy == tmp_path / "x_entropy.tif"
    assert product.confidence.exists()


def test_existing_outputs_are_kept_unless_overwritten(tmp_path):
    out = tmp_path / "m.tif"
    predict(scene(), checkpoint(), out)
    before = out.read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        predict(scene(seed=1), checkpoint(), out)
    assert out.read_bytes() == before
    predict(scene(seed=1), checkpoint(), out, overwrite=True)
    assert out.read_bytes() != before


def test_refusals(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        predict(scene(), checkpoint(), tmp_path / "nowhere" / "m.tif")
    with pytest.raises(ConfigError, match="overlap"):
        predict(scene(), checkpoint(), tmp_path / "m.tif", overlapp=3)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        predict(scene(), checkpoint(), tmp_path / "m.tif", threshold=1.5)
    with pytest.raises(ConfigError, match="gaussian"):
        predict(scene(), checkpoint(), tmp_path / "m.tif", blend="gauss")
    with pytest.raises(GridError, match="no step"):
        predict(scene(), checkpoint(), tmp_path / "m.tif", overlap=32)
    with pytest.raises(ModelError, match="checkpoint"):
        predict(scene(), torch.nn.Conv2d(2, 3, 1), tmp_path / "m.tif")
    assert list(tmp_path.iterdir()) == []


def test_a_scene_without_data_gives_a_map_without_data_and_a_note(tmp_path):
    empty = Scene.from_array(np.zeros((2, 40, 40), np.uint8), np.zeros((40, 40), bool), grid(40, 40), "empty")
    product = predict(empty, checkpoint(), tmp_path / "m.tif")
    assert (read(product.map) == 255).all()
    assert "no valid pixel" in product.notes[-1]
    assert product.statistics["mean_confidence"] is None


def test_nan_from_the_network_is_an_error_and_leaves_nothing(tmp_path):
    model = checkpoint()
    model.state["layers.3.bias"][0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        predict(scene(), model, tmp_path / "m.tif")
    assert list(tmp_path.iterdir()) == []


def test_progress_begins_before_the_first_strip_and_ends_at_all_pixels(tmp_path):
    seen = []
    predict(scene(), checkpoint(), Path(tmp_path / "m.tif"), reporter=seen.append)
    assert seen[-1].done_px == seen[-1].total_px == 75 * 90
    assert seen[0].done_px == 0
    assert seen[1].mpix_per_s > 0
    assert [p.done_px for p in seen] == sorted(p.done_px for p in seen)


def test_a_failing_file_takes_the_others_with_it(tmp_path, monkeypatch):
    from sparsecover.raster import MapWriter

    closed = MapWriter.close

    def full(self):
        if self.path.name == "m.tif":
            self.discard()
            raise OutputError("No space left on device")
        closed(self)

    monkeypatch.setattr(MapWriter, "close", full)
    (tmp_path / "m_entropy.tif").write_bytes(b"mine")
    with pytest.raises(OutputError, match="No space"):
        predict(scene(), checkpoint(), tmp_path / "m.tif", probabilities=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m_entropy.tif"]


@pytest.mark.parametrize("overlap", [0, 8])
def test_empty_ground_between_data_is_nodata_in_every_layer(tmp_path, overlap):
    values = np.full((2, 200, 260), 100, np.uint8)
    valid = np.zeros((200, 260), bool)
    valid[:20, :30] = valid[150:, 200:] = True
    image = Scene.from_array(values, valid, grid(200, 260), band_names=("red", "green"))
    layers = {"probabilities": "float32", "entropy": True}
    product = predict(image, checkpoint(), tmp_path / "m.tif", overlap=overlap, **layers)
    for path in (product.map, product.confidence, product.entropy):
        assert np.array_equal(read(path)[0] != 255, valid)
    assert np.array_equal(~np.isnan(read(product.probabilities)), valid[None].repeat(3, 0))
    assert product.statistics["pixels"] == valid.sum()


def test_real_scene(tmp_path, real_data):
    """A NAIP scene in UTM with a nodata border, by a network trained on nothing."""
    from sparsecover.normalize import fit_normalizer
    from sparsecover.raster import open_scene

    image = open_scene(real_data / "naip_scenes" / "m_4709963_se_14_1_20200831.tif")
    names = [band.name for band in image.bands]
    normalizer = fit_normalizer("percentile", [image.preview(256)], image.dtype, len(names))
    model = checkpoint(bands=names, patch=256, normalizer=normalizer)
    product = predict(image, model, tmp_path / "m.tif", polygons=True)
    values, valid = image.read()
    got = read(product.map)[0]
    assert np.array_equal(got != 255, valid)
    with torch.inference_mode():
        logits = model.model()(torch.from_numpy(normalizer(values, valid))[None])[0]
    expected = np.array([1, 2, 7])[logits.argmax(0).numpy()]
    assert (got == expected)[valid].mean() > 0.99  # windows differ from the whole within 3 pixels of their edges
    with rasterio.open(product.map) as ours, rasterio.open(image.paths[0]) as theirs:
        assert ours.crs == theirs.crs
        assert ours.transform.almost_equals(theirs.transform)
    assert product.notes == ()


@pytest.mark.long
def test_a_scene_of_forty_thousand_pixels_a_side(tmp_path):
    """Sparse on disk, 1.6 gigapixels: neither its memory is needed nor that BigTIFF is asked for."""
    import resource

    side, place = 40_000, Window(31_000, 17_500, 700, 900)
    path = tmp_path / "large.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=1, dtype="uint8", nodata=255, tiled=True,
        blockxsize=512, blockysize=512, sparse_ok=True, BIGTIFF="YES", crs="EPSG:32633", transform=grid(1, 1).transform,
    ) as dataset:  # fmt: skip
        classes = (np.arange(900) // 300).astype(np.uint8)[None, None].repeat(700, 1)
        dataset.write(classes, window=rasterio.windows.Window(place.col, place.row, place.width, place.height))
    from sparsecover.raster import open_scene

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    product = predict(open_scene(path), pixel_checkpoint(patch_size_px=512), tmp_path / "m.tif", entropy="float32")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 1000  # MB; an array of it has 1526
    assert [row["pixels"] for row in product.statistics["classes"]] == [700 * 300] * 3
    with rasterio.open(product.map) as dataset:
        assert dataset.shape == (side, side)
        window = rasterio.windows.Window(place.col - 5, place.row - 5, place.width + 10, place.height + 10)
        around = dataset.read(1, window=window)
    assert np.array_equal(around[5:-5, 5:-5], np.array([1, 2, 7])[classes[0]])
    assert (around[:5] == 255).all()
    assert (around[:, -5:] == 255).all()
    with product.entropy.open("rb") as file:  # 6.4 GB before compression
        assert file.read(4) == b"II+\0"
