"""Datasets of each layout, found, paired and opened."""

import json
import pickle
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from shapely import box

import layouts
from layouts import codes, image, mask, raster
from sparsecover.classes import UNLABELLED
from sparsecover.config import Config, DataConfig, SimulateConfig, SplitConfig
from sparsecover.datasets import open_dataset, opening, simulate_pairs, simulated_note, split_pairs
from sparsecover.datasets.layouts.pairing import natural, pair_files
from sparsecover.errors import ClassError, ConfigError, DataError, GridError, LabelError, UnknownCodes
from sparsecover.labels import LabelFile, LabelRaster
from sparsecover.patches import plan_patches


def folder(root: Path, count=3) -> DataConfig:
    for i in range(count):
        image(root / "images" / f"tile{i}.jpg", seed=i)
        mask(root / "masks" / f"tile{i}.png", codes(0, 1, 255, i))
    return DataConfig(root=root)


def test_a_folder_by_default_names(tmp_path):
    dataset = open_dataset(folder(tmp_path, 12))
    assert [pair.name for pair in dataset.pairs] == [f"tile{i}" for i in range(12)]  # tile2 before tile10
    assert dataset.scheme.codes == tuple(range(12))
    pair = dataset.pairs[7]
    assert isinstance(pair.labels, LabelRaster)
    assert np.unique(pair.labels.values).tolist() == [0, 1, 7, UNLABELLED]
    assert pair.scene.grid.height == pair.labels.grid.height == 8


def test_patterns_bands_classes_and_unlabelled_codes(tmp_path):
    folder(tmp_path)
    config = DataConfig(root=tmp_path, images="images/*.jpg", labels="masks/*.png", bands=(3, 1), unlabelled=(0,))
    dataset = open_dataset(config, {1: "one", 2: "two"})
    assert len(dataset.pairs[0].scene.bands) == 2
    assert dataset.pairs[2].labels.counts(2).tolist() == [20, 20]
    with pytest.raises(DataError, match=r"Code 0 occurs in 3 of 3 label files \(80 pixels, first in .*tile0.png\)"):
        open_dataset(DataConfig(root=tmp_path), {1: "one", 2: "two"})


def test_codes_without_a_class_are_told_once_for_all_files(tmp_path):
    config = folder(tmp_path, 6)
    for i in range(6):
        mask(tmp_path / "masks" / f"tile{i}.png", codes(0, 1, 2, 4 if i else 3))
    with pytest.raises(DataError) as caught:
        open_dataset(config, ["water", "land", "road", "building"])
    told = str(caught.value)
    assert told.startswith("Code 4 occurs in 5 of 6 label files (100 pixels, first in ")
    assert "; the classes are 0 water, 1 land, 2 road, 3 building. Add it to the classes, or list it" in told
    assert "\n" not in told
    assert "skip" not in told
    mask(tmp_path / "masks" / "tile3.png", codes(0, 9, 4))
    with pytest.raises(DataError, match=r"^Code 4 occurs in 5 of 6 .*, code 9 occurs in 1 of 6 .*Add them"):
        open_dataset(config, ["water", "land", "road", "building"])
    skipped = open_dataset(config.model_copy(update={"on_read_error": "skip"}), ["water", "land", "road", "building"])
    assert [pair.name for pair in skipped.pairs] == ["tile0"]
    assert all(f"tile{i}.png" in skipped.left_out[0] for i in range(1, 6))
    assert skipped.left_out[0].count("the classes are") == 1


def test_codes_without_a_class_beside_other_problems_are_listed_by_file(tmp_path):
    config = folder(tmp_path, 4)
    raster(tmp_path / "masks" / "tile1.tif", np.full((8, 10), 0.5, np.float32))
    (tmp_path / "masks" / "tile1.png").unlink()
    with pytest.raises(DataError, match=r"(?s)3 files cannot be used .*skip.*fractions.*tile2.* 2 \(20 times\)"):
        open_dataset(config, ["water", "land"])


def test_a_label_raster_that_all_scenes_share_is_one_file(tmp_path):
    raster(tmp_path / "all.tif", codes(0, 4, height=20, width=40))
    for i in range(2):
        raster(tmp_path / "scenes" / f"s{i}.tif", np.ones((3, 20, 20), np.uint8), left=500_000 + i * 200)
    config = DataConfig(root=tmp_path, images="scenes/*.tif", labels="all.tif")
    with pytest.raises(DataError, match=r"Code 4 occurs in 1 of 1 label file \(400 pixels, [^ ]*all\.tif\)"):
        open_dataset(config, ["water", "land"])


def test_errors_on_unknown_codes_can_be_sent_between_processes():
    error = UnknownCodes("holds 4", "a.tif", {4: 20}, "0 water")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.path, again.pixels, again.known) == ("holds 4", "a.tif", {4: 20}, "0 water")


def test_unpaired_files_are_all_listed_or_skipped(tmp_path):
    config = folder(tmp_path)
    image(tmp_path / "images" / "lonely.jpg")
    mask(tmp_path / "masks" / "widow.png", codes(0))
    with pytest.raises(
        DataError, match=r"(?s)2 files without a partner.*lonely.jpg has no labels.*widow.png has no image"
    ):
        open_dataset(config)
    dataset = open_dataset(config.model_copy(update={"skip_unpaired": True}))
    assert len(dataset.pairs) == 3
    assert any("lonely" in note for note in dataset.notes)


def test_broken_files_and_other_sizes_are_all_listed_or_skipped(tmp_path):
    config = folder(tmp_path, 4)
    (tmp_path / "images" / "tile0.jpg").write_bytes(b"")
    mask(tmp_path / "masks" / "tile1.png", codes(0, height=9))
    with pytest.raises(DataError, match=r"(?s)2 files cannot be used.*tile0.jpg.*9 x 10 pixels"):
        open_dataset(config)
    dataset = open_dataset(config.model_copy(update={"on_read_error": "skip"}))
    assert [pair.name for pair in dataset.pairs] == ["tile2", "tile3"]


def test_other_numbers_of_bands(tmp_path):
    config = folder(tmp_path)
    image(tmp_path / "images" / "tile0.jpg", mode="L")
    with pytest.raises(DataError, match="tile0 has 1 band, most have 3"):
        open_dataset(config)
    assert len(open_dataset(config.model_copy(update={"on_read_error": "skip"})).pairs) == 2


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="expects the folder"):
        open_dataset(DataConfig(root=tmp_path / "missing"))
    with pytest.raises(DataError, match="no folder images"):
        open_dataset(DataConfig(root=tmp_path))
    image(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match="none of the folders labels, masks"):
        open_dataset(DataConfig(root=tmp_path))
    with pytest.raises(DataError, match="No file matches 'x/\\*'"):
        open_dataset(DataConfig(root=tmp_path, labels="x/*"))
    with pytest.raises(DataError, match=r"relative to data.root"):
        open_dataset(DataConfig(root=tmp_path, labels="../x/*"))
    mask(tmp_path / "labels" / "a.png", codes(255))
    with pytest.raises(DataError, match="No labelled pixel"):
        open_dataset(DataConfig(root=tmp_path))


def test_pairs_are_opened_lazily_and_can_be_sent_to_workers(tmp_path):
    pair = pickle.loads(pickle.dumps(open_dataset(folder(tmp_path)).pairs[1]))  # noqa: S301
    assert pair.scene.read()[0].shape == (3, 8, 10)


def test_resizing_by_factor_and_to_a_size(tmp_path):
    config = folder(tmp_path)
    half = open_dataset(config.model_copy(update={"resize": 0.5})).pairs[0]
    assert half.scene.read()[0].shape == (3, 4, 5)
    assert half.labels.values.tolist() == codes(0, 1, 255, 0, height=4, width=5).tolist()
    fixed = open_dataset(config.model_copy(update={"resize": (16, 12)})).pairs[0]
    assert fixed.labels.values.shape == fixed.scene.read()[0].shape[1:] == (16, 12)
    with pytest.raises(DataError, match="above 0"):
        open_dataset(config.model_copy(update={"resize": 0.0}))


def test_a_resolution_in_metres(tmp_path):
    raster(tmp_path / "images" / "a.tif", np.ones((3, 8, 10), np.uint8))
    raster(tmp_path / "masks" / "a.tif", codes(0, 1))
    coarse = open_dataset(DataConfig(root=tmp_path, resolution=20)).pairs[0]
    assert coarse.labels.values.shape == coarse.scene.read()[0].shape[1:] == (4, 5)
    assert coarse.labels.values.tolist() == codes(0, 1, height=4, width=5).tolist()
    image(tmp_path / "images" / "a.tif")
    with pytest.raises(GridError, match="resolution of 20 m needs a scene with a coordinate system"):
        open_dataset(DataConfig(root=tmp_path, resolution=20))
    with pytest.raises(ValidationError, match="give one of them"):
        DataConfig(resolution=20, resize=0.5)
    for resize, words in ((0, "data.resize: expected a number above 0"), ([0, 5], "data.resize.0: .* at least 1")):
        with pytest.raises(ConfigError, match=words):
            Config.from_dict({"data": {"resize": resize}})


def test_masks_of_clouds_make_pixels_invalid(tmp_path):
    config = folder(tmp_path).model_copy(update={"mask": "clouds/*"})
    for i in range(3):
        mask(tmp_path / "clouds" / f"tile{i}.png", codes(9, 0, 0, 0))
    dataset = open_dataset(config)
    assert [pair.scene.read()[1].sum() for pair in dataset.pairs] == [60, 60, 60]
    assert all((pair.labels.values[:2] == 255).all() for pair in dataset.pairs)
    (tmp_path / "clouds" / "tile1.png").unlink()
    with pytest.raises(DataError, match=r"1 file without a partner .*\n.*tile1.jpg has no mask"):
        open_dataset(config)
    assert len(open_dataset(config.model_copy(update={"skip_unpaired": True})).pairs) == 2


def test_labels_on_invalid_pixels_are_dropped(tmp_path):
    values = np.ones((3, 8, 10), np.int16)
    values[0, :2] = -9
    raster(tmp_path / "images" / "a.tif", values, nodata=-9)
    raster(tmp_path / "labels" / "a.tif", codes(0, 1))
    dataset = open_dataset(DataConfig(root=tmp_path))
    assert dataset.pairs[0].labels.counts(2).tolist() == [20, 40]
    assert any("20 labelled pixels lie on pixels without data" in note for note in dataset.notes)


def test_stacks_of_several_files(tmp_path):
    for i in range(3):
        image(tmp_path / "rgb" / f"{i}.png", seed=i)
        image(tmp_path / "ir" / f"{i}.png", mode="L", seed=i + 9)
        mask(tmp_path / "masks" / f"{i}.png", codes(0, 1))
    config = DataConfig(root=tmp_path, images="rgb/*.png;ir/*.png")
    dataset = open_dataset(config)
    values = dataset.pairs[1].scene.read()[0]
    assert values.shape == (4, 8, 10)
    assert np.array_equal(values[3], np.asarray(Image.open(tmp_path / "ir" / "1.png")))
    (tmp_path / "ir" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2.png has no second file of its stack"):
        open_dataset(config)


def test_one_vector_file_for_all_scenes(tmp_path):
    for i in range(3):
        raster(tmp_path / "scenes" / f"s{i}.tif", np.ones((3, 20, 20), np.uint8), left=500_000 + i * 200)
    shapes = [box(500_010, 5_799_900, 500_050, 5_799_950), box(500_210, 5_799_900, 500_250, 5_799_950)]
    gpd.GeoDataFrame({"kind": ["b", "a"]}, geometry=shapes, crs=32633).to_file(tmp_path / "labels.gpkg")
    dataset = open_dataset(DataConfig(root=tmp_path, images="scenes/*.tif", labels="labels.gpkg", field="kind"))
    assert dataset.scheme.names == ("a", "b")
    assert [pair.labels.counts(2).tolist() for pair in dataset.pairs] == [[0, 20], [20, 0], [0, 0]]
    assert any("s2 has no labels" in note for note in dataset.notes)
    assert dataset.pairs[0].labels.shapes is not None


def test_one_label_raster_for_all_scenes(tmp_path):
    whole = np.arange(20 * 60).reshape(20, 60) % 5
    raster(tmp_path / "all.tif", whole.astype(np.uint8))
    for i in range(3):
        raster(tmp_path / "scenes" / f"s{i}.tif", np.ones((3, 20, 20), np.uint8), left=500_000 + i * 200)
    dataset = open_dataset(DataConfig(root=tmp_path, images="scenes/*.tif", labels="all.tif"))
    for i, pair in enumerate(dataset.pairs):
        assert np.array_equal(pair.labels.values, whole[:, i * 20 : i * 20 + 20])


def test_colour_masks_with_a_class_table(tmp_path):
    image(tmp_path / "images" / "a.png")
    image(tmp_path / "images" / "b.png")
    red_blue = np.zeros((8, 10, 3), np.uint8)
    red_blue[:4] = (200, 10, 0)
    red_blue[4:] = (0, 10, 200)
    mask(tmp_path / "masks" / "a.png", red_blue)
    paletted = Image.fromarray(red_blue).quantize(4)
    paletted.save(tmp_path / "masks" / "b.png")
    table = tmp_path / "classes.csv"
    table.write_text("code,name,color\n1,roof,#C80A00\n2,lake,#000AC8\n")
    dataset = open_dataset(DataConfig(root=tmp_path), table)
    assert [pair.labels.counts(2).tolist() for pair in dataset.pairs] == [[40, 40], [40, 40]]
    image(tmp_path / "images" / "c.png")
    mask(tmp_path / "masks" / "c.png", np.repeat(np.array([[1], [2]], np.uint8), 40, axis=0).reshape(8, 10))
    image(tmp_path / "images" / "d.png")
    mask(tmp_path / "masks" / "d.png", np.full((8, 10, 3), 155, np.uint8))
    with pytest.raises(DataError, match=r"Colour #9B9B9B occurs in 1 of 4 .*80 pixels.*--unlabelled, data\.unlabelled"):
        open_dataset(DataConfig(root=tmp_path), table)
    dataset = open_dataset(DataConfig(root=tmp_path, unlabelled=("#9B9B9B",)), table)
    assert [pair.labels.counts(2).tolist() for pair in dataset.pairs] == [[40, 40]] * 3 + [[0, 0]]
    assert not [note for note in dataset.notes if "first was taken" in note]
    image(tmp_path / "images" / "e.png")
    raster(tmp_path / "masks" / "e.tif", np.repeat(np.array([1, 2], np.uint8), 40).reshape(1, 8, 10).repeat(2, axis=0))
    dataset = open_dataset(DataConfig(root=tmp_path, unlabelled=("#9B9B9B",)), table)
    assert dataset.pairs[-1].labels.counts(2).tolist() == [40, 40]  # two equal bands are codes


def test_large_sets_leave_labels_in_their_files(tmp_path, monkeypatch):
    config = folder(tmp_path)
    in_memory = open_dataset(config)
    monkeypatch.setattr(opening, "IN_MEMORY_PX", 100)
    dataset = open_dataset(config)
    assert isinstance(dataset.pairs[0].labels, LabelFile)
    for here, there in zip(in_memory.pairs, dataset.pairs, strict=True):
        assert np.array_equal(here.labels.values, there.labels.values)
    simulate = SimulateConfig(sampler="pixels", fraction=0.3, seed=5)
    few = simulate_pairs(dataset.pairs, simulate)
    assert isinstance(few[0].labels, LabelFile)
    for here, there in zip(simulate_pairs(in_memory.pairs, simulate), few, strict=True):
        assert np.array_equal(here.labels.values, there.labels.values)


@pytest.mark.parametrize("resize", [None, 0.5])
def test_large_sets_have_the_labels_of_small_ones_where_scenes_lack_data(tmp_path, monkeypatch, resize):
    for i in range(2):
        values = np.ones((3, 80, 100), np.int16)
        values[0, : 30 + i] = -9
        raster(tmp_path / "images" / f"{i}.tif", values, nodata=-9)
    raster(tmp_path / "masks" / "0.tif", codes(0, 1, height=80, width=100))
    shapes = [box(500_000, 5_799_600, 500_500, 5_800_000), box(500_500, 5_799_600, 501_000, 5_799_800)]
    gpd.GeoDataFrame({"class": [0, 1]}, geometry=shapes, crs=32633).to_file(tmp_path / "masks" / "1.gpkg")
    config = DataConfig(root=tmp_path, field="class", resize=resize)
    small = open_dataset(config)
    monkeypatch.setattr(opening, "IN_MEMORY_PX", 0)
    large = open_dataset(config)
    assert isinstance(large.pairs[0].labels, LabelRaster if resize else LabelFile)
    plans = []
    for dataset in (small, large):
        labels = [pair.labels for pair in dataset.pairs]
        plans.append(plan_patches(labels, num_classes=2, size_px=16, sampling="labels"))
    assert plans[0].class_counts.tolist() == plans[1].class_counts.tolist()
    assert plans[0].digest() == plans[1].digest()
    for here, there in zip(small.pairs, large.pairs, strict=True):
        assert np.array_equal(here.labels.values, there.labels.values)


def test_simulated_labels_differ_by_scene_and_not_by_call(tmp_path):
    for i in range(2):
        image(tmp_path / "images" / f"{i}.png", 40, 40)
        mask(tmp_path / "masks" / f"{i}.png", codes(0, 1, height=40, width=40))
    pairs = open_dataset(DataConfig(root=tmp_path)).pairs
    one, two = (simulate_pairs(pairs, SimulateConfig(sampler="per_class", n=20)) for _ in range(2))
    assert [p.labels.counts(2).tolist() for p in one] == [[20, 20]] * 2
    assert np.array_equal(one[0].labels.values, two[0].labels.values)
    assert not np.array_equal(one[0].labels.values, one[1].labels.values)


def test_classes_with_fewer_labels_than_are_to_be_drawn_are_named(tmp_path):
    for i, values in enumerate((codes(0, 0, 0, 1, height=40, width=40), codes(0, height=40, width=40))):
        image(tmp_path / "images" / f"{i}.png", 40, 40)
        mask(tmp_path / "masks" / f"{i}.png", values)
    dataset = open_dataset(DataConfig(root=tmp_path), ["field", "building"])

    def note(**given):
        return simulated_note(dataset.pairs, SimulateConfig(**given), dataset.scheme)

    told = note(sampler="points", n=1000)
    assert told.startswith("Fewer points than asked: building 400 of 1,000 (in 1 of 2 scenes);")
    assert note(sampler="per_class", n=1500).startswith("Fewer pixels than asked: field 1,200 of 1,500 (in 1 of 2")
    assert note(sampler="scribbles", n=1500) is None  # a stroke takes many pixels
    assert "field 2,800 of 10,000 (in 2 of 2 scenes), building 400 of 5,000 (in 1" in note(sampler="per_class", n=5000)
    assert note(sampler="points", n=400) is None, "a class that a scene lacks altogether is nothing to tell"
    assert note(sampler="pixels", fraction=0.5) is None
    assert simulated_note(dataset.pairs, None, dataset.scheme) is None
    few = simulate_pairs(dataset.pairs, SimulateConfig(sampler="points", n=1000))
    assert [p.labels.counts(2).tolist() for p in few] == [[1000, 400], [1000, 0]]


# Pairing by name


def paths(*names):
    return [Path(name) for name in names]


def test_pairing_by_stem_core_order_and_expression():
    def names(images, labels, pair_by=None):
        return [(i.name, m.name) for _, i, m in pair_files(paths(*images), paths(*labels), pair_by).pairs]

    assert names(["b.jpg", "a.jpg"], ["a.png", "b.png"]) == [("a.jpg", "a.png"), ("b.jpg", "b.png")]
    assert names(["x_1_S1.tif", "x_2_S1.tif"], ["x_2_Label.tif", "x_1_Label.tif"]) == [
        ("x_1_S1.tif", "x_1_Label.tif"),
        ("x_2_S1.tif", "x_2_Label.tif"),
    ]
    assert names(["img2.jpg", "img10.jpg"], ["p.png", "q.png"]) == [("img2.jpg", "p.png"), ("img10.jpg", "q.png")]
    assert names(["aa7b.jpg", "zz12.jpg"], ["m12_x.png", "m7_y.png"], r"\D(\d+)") == [
        ("aa7b.jpg", "m7_y.png"),
        ("zz12.jpg", "m12_x.png"),
    ]


def test_pairing_in_natural_order_says_so():
    assert "natural order" in pair_files(paths("a.jpg", "b.jpg"), paths("x.png", "y.png")).notes[0]
    assert len(pair_files(paths("a.jpg", "b.jpg"), paths("x.png")).problems) == 3


def test_names_that_occur_twice_and_bad_expressions():
    with pytest.raises(DataError, match=r"(?s)same name.*a.jpg, .*a.png"):
        pair_files(paths("a.jpg", "a.png"), paths("a.tif"))
    with pytest.raises(DataError, match="has no group"):
        pair_files(paths("a.jpg"), paths("a.tif"), "a")
    with pytest.raises(DataError, match="not a regular expression"):
        pair_files(paths("a.jpg"), paths("a.tif"), "(a")


def test_natural_order():
    assert sorted(["b2", "b10", "a", "B1"], key=natural) == ["a", "B1", "b2", "b10"]


# Patch folders


@pytest.mark.parametrize("top", ["", "Patch"])
def test_patch_folders(tmp_path, top):
    for side, count in (("train", 3), ("validation", 2), ("test", 1)):
        for i in range(count):
            image(tmp_path / top / side / "images" / f"p{i}.png")
            mask(tmp_path / top / side / "labels" / f"p{i}.png", codes(0, 1))
    dataset = open_dataset(DataConfig(dataset="patches", root=tmp_path))
    split = split_pairs(dataset.pairs, SplitConfig(by="files"), 0, 2)
    assert [len(side) for side in (split.train, split.validation, split.test)] == [3, 2, 1]
    assert len({pair.name for pair in dataset.pairs}) == 6


def test_patch_folders_without_sides(tmp_path):
    folder(tmp_path)
    assert len(open_dataset(DataConfig(dataset="patches", root=tmp_path)).pairs) == 3


# A table


def test_table(tmp_path):
    raster(tmp_path / "a" / "scene.tif", np.ones((3, 20, 20), np.uint8))
    raster(tmp_path / "a" / "more.tif", np.ones((1, 20, 20), np.uint8))
    raster(tmp_path / "a" / "codes.tif", codes(0, 1, height=20, width=20))
    shape = box(500_010, 5_799_900, 500_050, 5_799_950)
    gpd.GeoDataFrame({"kind": [1]}, geometry=[shape], crs=32633).to_file(tmp_path / "labels.gpkg")
    rows = [
        {"scene": "a/scene.tif;a/more.tif", "labels": "a/codes.tif", "split": "train", "date": "2024-05-01"},
        {"scene": "a/scene.tif; a/more.tif", "labels": "labels.gpkg", "split": "test", "field": "kind", "name": "v"},
    ]
    csv = tmp_path / "table.csv"
    csv.write_text("scene,labels,split,field,date,name\n")
    with csv.open("a") as file:
        for row in rows:
            file.write(",".join(row.get(c, "") for c in ("scene", "labels", "split", "field", "date", "name")) + "\n")
    features = [{"type": "Feature", "geometry": None, "properties": row} for row in rows]
    (tmp_path / "table.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for path in (csv, tmp_path / "table.geojson"):
        dataset = open_dataset(DataConfig(dataset="table", root=path))
        assert [(p.name, p.split) for p in dataset.pairs] == [("scene_2024-05-01", "train"), ("v", "test")]
        assert dataset.scheme.codes == (0, 1)
        assert [p.labels.counts(2).tolist() for p in dataset.pairs] == [[200, 200], [0, 20]]
        assert len(dataset.pairs[0].scene.bands) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("scene,mask\na,b\n", "has the columns mask, scene"),
        ("scene,labels\n,b\n", "row 1 lacks"),
        ("scene,labels,split\na,b,tset\n", "Did you mean 'test'"),
        ("scene,labels\nmissing.tif,b.tif\n", r"row 1: .*missing.tif, .*b.tif not found"),
        ("scene,labels,mask\ntable.csv,table.csv,c.tif\n", r"row 1: [^,]*c.tif not found"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(DataConfig(dataset="table", root=path))
    with pytest.raises(DataError, match="CSV or GeoJSON"):
        open_dataset(DataConfig(dataset="table", root=tmp_path))


# LandCover.ai


def test_landcoverai_published_split(tmp_path):
    dataset = open_dataset(DataConfig(dataset="landcoverai", root=layouts.landcoverai(tmp_path)))
    assert dataset.scheme.names == ("background", "building", "woodland", "water", "road")
    split = split_pairs(dataset.pairs, SplitConfig(by="files"), 0, 5)
    windows = {(p.name, side, w.row, w.col) for side, pairs in split.sides.items() for p in pairs for w in p.windows}
    assert windows == {
        ("N-33", "train", 0, 0),
        ("N-33", "train", 512, 512),
        ("M-34", "train", 0, 512),
        ("N-33", "validation", 0, 512),
        ("M-34", "test", 512, 0),
    }
    (test,) = split.test
    assert test.labels.counts(5).sum() == 512 * 512
    assert (test.labels.values[512:1024, :512] != UNLABELLED).all()


def test_landcoverai_by_orthophoto_does_not_leak(tmp_path):
    dataset = open_dataset(DataConfig(dataset="landcoverai", root=layouts.landcoverai(tmp_path)))
    split = split_pairs(dataset.pairs, SplitConfig(by="scene", fractions=(0.5, 0.5, 0)), 0, 5)
    train, held = ({p.name for p in side} for side in (split.train, split.validation))
    assert len(train) == len(held) == 1
    assert not train & held


def test_landcoverai_lists_that_do_not_fit(tmp_path):
    config = DataConfig(dataset="landcoverai", root=layouts.landcoverai(tmp_path))
    (tmp_path / "val.txt").write_text("X-1_0\n")
    with pytest.raises(DataError, match=r"val.txt lists windows of X-1"):
        open_dataset(config)
    (tmp_path / "val.txt").write_text("N-33_9\n")
    with pytest.raises(DataError, match="has 9 windows"):
        open_dataset(config)
    (tmp_path / "val.txt").write_text("N-33\n")
    with pytest.raises(DataError, match="not of the form NAME_k"):
        open_dataset(config)


# DeepGlobe


def deepglobe(root: Path, count=20) -> DataConfig:
    return DataConfig(dataset="deepglobe", root=layouts.deepglobe(root, count))


def test_deepglobe(tmp_path):
    config = deepglobe(tmp_path)
    dataset = open_dataset(config)
    assert dataset.scheme.names[3:5] == ("forest_land", "water")
    assert dataset.pairs[0].labels.counts(6).tolist() == [0, 0, 0, 20, 40, 0]
    split = split_pairs(dataset.pairs, SplitConfig(by="files"), 0, 6)
    again = split_pairs(open_dataset(config).pairs, SplitConfig(by="files"), 9, 6)
    assert 1 <= len(split.validation) <= 5
    assert [p.name for p in split.validation] == [p.name for p in again.validation]
    assert any("1 validation and test images have no published mask" in note for note in dataset.notes)


def test_deepglobe_metadata_and_chosen_classes(tmp_path):
    config = deepglobe(tmp_path, 3)
    layouts.deepglobe_metadata(tmp_path)
    dataset = open_dataset(config, ["water"])
    assert [p.split for p in dataset.pairs] == ["train", "validation", "test"]
    assert dataset.pairs[0].labels.counts(1).tolist() == [40]
    with pytest.raises(ClassError, match="Did you mean 'water'"):
        open_dataset(config, ["watr"])


def test_deepglobe_classes_keep_the_codes_they_are_given(tmp_path):
    dataset = open_dataset(deepglobe(tmp_path, 3), {20: "forest_land", 10: "water"})
    assert dataset.scheme.codes == (10, 20)
    assert dataset.scheme.names == ("water", "forest_land")
    assert dataset.scheme.colors == ((0, 0, 255), (0, 255, 0))
    assert dataset.pairs[0].labels.counts(2).tolist() == [40, 20]


def test_deepglobe_training_image_without_mask(tmp_path):
    config = deepglobe(tmp_path, 3)
    (tmp_path / "train" / "101_mask.png").unlink()
    with pytest.raises(DataError, match=r"101_sat.jpg has no mask"):
        open_dataset(config)


# Oxford-IIIT Pet


def oxford_pet(root: Path) -> DataConfig:
    return DataConfig(dataset="oxford-pet", root=layouts.oxford_pet(root))


def test_oxford_pet(tmp_path):
    dataset = open_dataset(oxford_pet(tmp_path))
    assert dataset.scheme.codes == (1, 2)
    assert dataset.pairs[0].labels.counts(2).tolist() == [20, 40]
    assert [p.split for p in dataset.pairs] == ["train", "train", "train", "test"]


def test_oxford_pet_with_the_border_as_a_class(tmp_path):
    dataset = open_dataset(oxford_pet(tmp_path), {1: "pet", 2: "background", 3: "border"})
    assert dataset.pairs[0].labels.counts(3).tolist() == [20, 40, 20]


def test_oxford_pet_with_odd_jpegs(tmp_path):
    config = oxford_pet(tmp_path)
    image(tmp_path / "images" / "pug_10.jpg", mode="CMYK")  # GDAL gives RGB
    image(tmp_path / "images" / "Abyssinian_1.jpg", mode="L")
    image(tmp_path / "images" / "basset_3.jpg")
    mask(tmp_path / "annotations" / "trimaps" / "basset_3.png", codes(1, 2))
    (tmp_path / "images" / "beagle_2.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    dataset = open_dataset(config.model_copy(update={"on_read_error": "skip"}))
    assert [p.name for p in dataset.pairs] == ["Abyssinian_1", "basset_3", "Bengal_12", "pug_10"]
    assert any("beagle_2" in note for note in dataset.left_out)
    assert "Abyssinian_1 is grey and was read as RGB." in dataset.notes
    values, _ = dataset.pairs[0].scene.read()
    assert values.shape == (3, 8, 10)
    assert (values == values[:1]).all()


def test_oxford_pet_by_the_class_prefix_of_the_names(tmp_path):
    dataset = open_dataset(oxford_pet(tmp_path))
    breed = SplitConfig(by="pattern", pattern="^(.+)_[0-9]+$", test=("Bengal",))
    assert [p.name for p in split_pairs(dataset.pairs, breed, 0, 2).test] == ["Bengal_12"]
    cats = SplitConfig(by="pattern", pattern="^([A-Z]?)", train=("A", "B"), test=("",))
    assert [p.name for p in split_pairs(dataset.pairs, cats, 0, 2).test] == ["beagle_2", "pug_10"]


# Real sets


def test_real_hyperspectral(real_data):
    root = real_data / "enmap_potsdam_hyperspectral"
    dataset = open_dataset(DataConfig(root=root, images="images/*_0.tif", labels="labels/*_0.tif", unlabelled=(0,)))
    assert len(dataset.pairs) == 3
    assert dataset.scheme.codes == (1, 2, 3, 4, 5)
    assert len(dataset.pairs[0].scene.bands) == 218  # six bands hold nothing
    assert sum(p.labels.counts(5).sum() for p in dataset.pairs) > 1000


def test_real_sen1floods(real_data):
    config = DataConfig(root=real_data / "sen1floods11_s1", images="S1/*.tif", labels="labels/*.tif")
    dataset = open_dataset(config, ["dry", "water"])
    assert len(dataset.pairs) == 8
    assert any("Paraguay_34417: 50026 labelled pixels" in note for note in dataset.notes)


def test_real_stack(real_data):
    config = DataConfig(
        root=real_data / "sentinel2_india_4class", images="images_rgb/*.png;images_ir/*.png", labels="masks_id/*.png"
    )
    dataset = open_dataset(config, ["built-up", "vegetation", "water"])
    assert len(dataset.pairs) == 8
    assert {len(p.scene.bands) for p in dataset.pairs} == {4}


def test_real_trimaps(real_data):
    dataset = open_dataset(DataConfig(dataset="oxford-pet", root=real_data / "oxford_pets_trimaps"))
    assert len(dataset.pairs) == 90
    for pair in dataset.pairs[::9]:
        trimap = np.asarray(Image.open(real_data / "oxford_pets_trimaps" / "trimaps" / f"{pair.name}.png"))
        assert pair.labels.counts(2).tolist() == [(trimap == 1).sum(), (trimap == 2).sum()]


def test_real_multiband(real_data):
    root = real_data / "landsat12_water_worldcover"
    dataset = open_dataset(
        DataConfig(root=root, labels="masks_water/*.png", bands=tuple(range(1, 8))), ["land", "water"]
    )
    for pair in dataset.pairs[::9]:
        assert len(pair.scene.bands) == 7
        assert np.array_equal(pair.labels.values, np.asarray(Image.open(root / "masks_water" / f"{pair.name}.png")))


def test_label_errors_keep_their_kind_where_one_file_decides(tmp_path):
    image(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png", np.arange(80).reshape(8, 10, 1).repeat(3, 2) * [1, 2, 3])
    with pytest.raises(LabelError, match="colours rather than codes"):
        open_dataset(DataConfig(root=tmp_path))
