"""Pictures and charts from arrays of every kind."""

import io

import numpy as np
import pytest
from PIL import Image

from sparsecover import figures
from sparsecover.classes import ClassScheme

COLORS = [(255, 0, 0), (0, 0, 255)]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("count", "names", "expected"),
    [
        (1, (), (0,)),
        (2, ("VV", "VH"), (0,)),
        (3, (), (0, 1, 2)),
        (4, ("Blue", "green", "RED", "nir"), (2, 1, 0)),
        (12, ("red", "nir"), (0, 1, 2)),
        (224, (), (47, 27, 11)),
    ],
)
def test_bands_to_show(count, names, expected):
    assert figures.natural_bands(count, names) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("bands", [1, 4, 60])
def test_scenes_are_stretched_and_nodata_is_striped(dtype, bands):
    values = np.random.default_rng(0).integers(5, 60, (bands, 40, 50)).astype(dtype)
    valid = np.ones((40, 50), bool)
    valid[:, :10] = False
    values[:, ~valid] = 0
    picture = figures.scene_picture(values, valid)
    assert picture.shape == (40, 50, 3)
    assert picture.dtype == np.uint8
    assert picture[:, 10:].min() == 0
    assert picture[:, 10:].max() == 255
    stripes = {tuple(pixel) for pixel in picture[:, :10].reshape(-1, 3).tolist()}
    assert len(stripes) == 2


def test_outliers_do_not_darken_a_scene():
    values = np.tile(np.linspace(100, 200, 1000, dtype=np.float32), (1, 10, 1))
    values[0, 0, 0] = 1e9
    assert 120 < figures.scene_picture(values, np.ones((10, 1000), bool)).mean() < 135


def test_photographs_keep_their_colours():
    values = np.zeros((3, 20, 20), np.uint8)
    values[0], values[1], values[2] = 200, np.arange(20) * 10, 20
    picture = figures.scene_picture(values, np.ones((20, 20), bool))
    assert picture[..., 0].min() > picture[..., 1].max()
    assert picture[..., 2].max() < 60


@pytest.mark.parametrize("valid", [True, False])
def test_constant_and_empty_scenes(valid):
    picture = figures.scene_picture(np.full((3, 8, 9), 7, np.uint16), np.full((8, 9), valid))
    assert picture.shape == (8, 9, 3)


def test_classes_and_nodata():
    picture = figures.class_picture(np.array([[0, 1, 255]], np.uint8), COLORS)
    assert picture[0, :2].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert tuple(picture[0, 2]) not in COLORS


def test_confidence_runs_from_the_lowest_to_full():
    picture = figures.confidence_picture(np.array([[50, 10, 100, 255]], np.uint8), lowest=50)
    ramp = figures.confidence_ramp(2)
    assert [tuple(p) for p in picture[0, :3].tolist()] == [ramp[0], ramp[0], ramp[1]]
    assert tuple(picture[0, 3]) not in ramp


def test_a_click_is_seen_and_an_area_stays_as_large_as_it_is():
    scene = np.full((500, 500, 3), 128, np.uint8)
    click = np.full((500, 500), 255, np.uint8)
    click[100, 100] = 0
    area = np.full((500, 500), 255, np.uint8)
    area[300:400, 300:400] = 1
    picture = figures.label_picture(scene, [click, area], COLORS)
    shown = (picture == COLORS[0]).all(-1)
    assert 20 < shown.sum() < 120
    assert shown[100, 100]
    assert (picture == COLORS[1]).all(-1).sum() == 10_000
    assert (picture == 255).all(-1).sum() > 400  # the white edge of the held-out side


def test_scattered_pixels_do_not_cover_the_scene():
    labels = np.full((300, 300), 255, np.uint8)
    labels[np.random.default_rng(0).random(labels.shape) < 0.02] = 0
    picture = figures.label_picture(np.full((300, 300, 3), 128, np.uint8), [labels, None], COLORS)
    assert (picture == COLORS[0]).all(-1).mean() < 0.15


def test_colours_of_grown_labels_are_those_of_their_click():
    labels = np.full((400, 400), 255, np.uint8)
    labels[50, 50], labels[200, 300] = 0, 1
    picture = figures.label_picture(np.full((400, 400, 3), 128, np.uint8), [labels, None], COLORS)
    assert picture[51, 51].tolist() == [255, 0, 0]
    assert picture[201, 299].tolist() == [0, 0, 255]


@pytest.mark.parametrize("shape", [(70, 33), (100, 100), (7, 3)])
def test_thinning_loses_no_click(shape):
    labels = np.full((1000, 333), 255, np.uint8)
    labels[0, 0], labels[999, 332], labels[500, 100] = 3, 4, 5
    thin = figures.thinned_labels(labels, *shape)
    assert thin.shape == shape
    assert (thin[0, 0], thin[-1, -1]) == (3, 4)
    assert sorted(np.unique(thin)) == [3, 4, 5, 255]


def test_encoded_pictures_are_what_they_say():
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[5:, 7:] = (10, 200, 30)
    png = opened(figures.encode(picture, "png"))
    assert (png.format, png.size) == ("PNG", (30, 20))
    np.testing.assert_array_equal(np.asarray(png.convert("RGB")), picture)
    assert opened(figures.encode(picture, "jpeg")).format == "JPEG"


HISTORY = [
    {"epoch": 1, "train_loss": "1.5", "val_loss": "", "miou": None, "accuracy": None, "iou_loss": 0.5, "lr": 1e-3},
    {"epoch": 2, "train_loss": "1.0", "val_loss": "1.2", "miou": 0.4, "accuracy": 0.7, "iou_loss": 0.6, "lr": 1e-3},
]


def test_columns_of_a_history():
    assert figures.panel_columns(HISTORY, "loss") == ["train_loss", "val_loss"]
    assert figures.panel_columns(HISTORY, "score") == ["miou", "accuracy"]
    assert figures.panel_columns(HISTORY[:1], "score") == []
    assert figures.panel_columns([], "loss") == []


@pytest.mark.parametrize("history", [[], HISTORY[:1], HISTORY, HISTORY * 200])
@pytest.mark.parametrize("theme", ["paper", "light", "dark"])
def test_curves_of_any_length(history, theme):
    image = opened(figures.curves(history, theme=theme))
    assert image.width > 2 * image.height
    assert (image.convert("RGBA").getpixel((0, 0))[3] == 255) == (theme == "paper")


def test_curves_are_counted_by_epoch_and_without_these_by_step():
    steps = [{"step": 20, "train_loss": 1.0}, {"step": 40, "train_loss": 0.5}]
    assert figures.counter(steps) == "step"
    assert figures.counter([{"epoch": 1, **row} for row in steps]) == figures.counter([]) == "epoch"
    assert figures.curves(steps) != figures.curves([{"train_loss": row["train_loss"]} for row in steps])


@pytest.mark.parametrize("count", [1, 5, 50])
def test_bars_for_any_number_of_classes(count):
    names = ["$x_1$", "_hidden", "水", "a name that is far longer than any bar of this chart can be", *"abcdefg" * 8]
    scheme = ClassScheme.from_names([f"{name}{i}" for i, name in enumerate(names[:count])])
    scores = np.linspace(0, 1, count)
    scores[-1] = np.nan
    assert opened(figures.per_class_iou(scheme.names, scheme.colors, scores)).height > 20 * count


@pytest.mark.parametrize("bins", [[], [(0.5, 0.4, 10)], [(0.1, 0.2, 3), (0.95, 0.9, 1000)]])
def test_reliability_with_few_bins(bins):
    assert opened(figures.reliability(bins)).format == "PNG"
