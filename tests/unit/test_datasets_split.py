"""Splits by name, scene, block and polygon; folds."""

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.config import SplitConfig
from sparsecover.datasets import Pair, apply_plan, split_folds, split_pairs
from sparsecover.errors import DataError
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster, burn_labels
from sparsecover.raster import MapWriter, Scene, open_scene

SCHEME = ClassScheme.from_names(["a", "b", "c"])


def pair(name: str, values=None, split=None, size=64) -> Pair:
    if values is None:
        row, col = np.mgrid[:size, :size]
        values = ((row // 8 + col // 8) % 3).astype(np.uint8)
    scene = Scene.from_array(np.zeros((1, *values.shape), np.uint8), name=name)
    return Pair(scene, LabelRaster(values, scene.grid, scheme=SCHEME), name, split)


def names(split) -> list[list[str]]:
    return [[p.name for p in side] for side in (split.train, split.validation, split.test)]


TILES = [pair(f"tile{t}_part_{p:03d}") for t in (1, 3, 4, 10) for p in (1, 2, 3)]


def test_by_pattern():
    config = SplitConfig(by="pattern", pattern="(tile[0-9]+)", train=("tile1", "tile3"), test=("tile4",))
    split = split_pairs(TILES, config, 0, 3)
    assert [len(side) for side in names(split)] == [6, 0, 3]
    assert any("on no side: 3 (" in note for note in split.notes)


def test_by_pattern_the_rest_trains_and_wildcards_match():
    config = SplitConfig(by="pattern", pattern=r"tile[0-9]+_part_(\d+)", validation=("00[23]",))
    assert [len(side) for side in names(split_pairs(TILES, config, 0, 3))] == [4, 8, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pattern": "(tile[0-9]+)", "train": ("tile2",)},
            r"(?s)'tile2', which does not occur.*tile4\ntile10",
        ),
        ({"pattern": "(tile[0-9]+)", "train": ("tile1",), "test": ("tile1*",)}, "on two sides: train and test"),
        ({"pattern": "tile", "train": ("tile1",)}, "has no group"),
        ({"pattern": "(tile", "train": ("tile1",)}, "not a regular expression"),
        ({"pattern": "(town)", "train": ("tile1",)}, r"(?s)found in no name.*tile1_part_001"),
        ({"pattern": "(tile[0-9]+)", "test": ("*",)}, "leaves nothing for train"),
    ],
)
def test_patterns_that_cannot_be_meant(options, message):
    with pytest.raises(DataError, match=message):
        split_pairs(TILES, SplitConfig(by="pattern", **options), 0, 3)


def test_by_scene_keeps_fractions_and_classes():
    values = np.zeros((16, 16), np.uint8)
    rare = values.copy()
    rare[:4] = 2
    pairs = [pair(f"s{i}", rare if i < 4 else values) for i in range(20)]
    split = split_pairs(pairs, SplitConfig(by="scene", fractions=(0.5, 0.25, 0.25)), 1, 3)
    assert [len(side) for side in names(split)] == [10, 5, 5]
    assert [sum(p.labels.counts(3)[2] > 0 for p in side) for side in split.sides.values()] == [2, 1, 1]
    other = split_pairs(pairs, SplitConfig(by="scene", fractions=(0.5, 0.25, 0.25)), 2, 3)
    assert names(other) != names(split)


def test_one_scene_cannot_be_split_by_scene():
    with pytest.raises(DataError, match="leaves nothing for validation"):
        split_pairs([pair("only")], SplitConfig(by="scene"), 0, 3)


def test_by_files_of_the_dataset():
    pairs = [pair("a", split="train"), pair("b", split="test"), pair("c")]
    split = split_pairs(pairs, SplitConfig(by="files"), 0, 3)
    assert names(split) == [["a"], [], ["b"]]
    with pytest.raises(DataError, match="the dataset gives no split"):
        split_pairs([pair("a")], SplitConfig(by="files"), 0, 3)


def test_by_lists_of_names_and_by_text_files(tmp_path):
    pairs = [pair(n) for n in ("a", "b", "c")]
    assert names(split_pairs(pairs, SplitConfig(by="files", test=("b",)), 0, 3)) == [["a", "c"], [], ["b"]]
    listed = tmp_path / "val.txt"
    listed.write_text("a\nc\n")
    assert names(split_pairs(pairs, SplitConfig(by="files", validation=(str(listed),)), 0, 3)) == [
        ["b"],
        ["a", "c"],
        [],
    ]


def test_by_block_with_a_buffer():
    big = pair("big", size=400)
    config = SplitConfig(by="block", fractions=(0.5, 0.25, 0.25), block_px=100, buffer_px=10)
    split = split_pairs([big], config, 0, 3)
    masks = {side: pairs[0].labels.values != UNLABELLED for side, pairs in split.sides.items()}
    assert masks["validation"].sum() == masks["test"].sum() == 4 * 100 * 100
    assert not (masks["validation"] & masks["test"]).any()
    held = np.argwhere(masks["validation"] | masks["test"])
    inside = np.zeros((400, 400), bool)
    for row, col in held[::7]:
        inside[max(0, row - 10) : row + 11, max(0, col - 10) : col + 11] = True
    assert not (inside & masks["train"]).any()
    assert masks["train"].sum() < 8 * 100 * 100


def test_the_buffer_is_the_patch_by_default():
    config = SplitConfig(by="block", block_px=200)
    widths = []
    for patch in (16, 64):
        (train,) = split_pairs([pair("big", size=400)], config, 0, 3, patch_px=patch).train
        widths.append((train.labels.values != UNLABELLED).sum())
    assert widths[0] > widths[1]


def test_by_block_over_several_scenes_with_rare_classes():
    values = np.zeros((40, 40), np.uint8)
    pairs = [pair(f"s{i}", values) for i in range(6)]
    for p in pairs[:2]:
        p.labels.values[5:15, 5:15] = 1
    split = split_pairs(pairs, SplitConfig(by="block", buffer_px=0), 0, 3)
    for side in (split.train, split.validation):
        counts = sum(p.labels.counts(3) for p in side)
        assert (counts[:2] > 0).all()


def test_by_polygon(tmp_path):
    import geopandas as gpd
    from shapely import box

    grid = Grid(100, 100, CRS.from_epsg(32633).to_wkt(), Affine(1, 0, 0, 0, -1, 100))
    shapes = [box(10 * i, 10, 10 * i + 5, 20) for i in range(8)]
    gpd.GeoDataFrame({"k": [i % 2 for i in range(8)]}, geometry=shapes, crs=grid.crs).to_file(tmp_path / "l.gpkg")
    labels = burn_labels(tmp_path / "l.gpkg", grid, "k")
    whole = Pair(Scene.from_array(np.zeros((1, 100, 100), np.uint8), grid=grid), labels, "x")
    split = split_pairs([whole], SplitConfig(by="polygon", buffer_px=2), 0, 2)
    assert [side[0].labels.counts(2).tolist() for side in (split.train, split.validation)] == [[150, 150], [50, 50]]
    with pytest.raises(ValueError, match="by feature"):
        split_pairs([pair("dense")], SplitConfig(by="polygon"), 0, 3)


def test_a_class_that_is_never_trained_on_is_noted():
    lacking = pair("a", np.zeros((8, 8), np.uint8))
    split = split_pairs([lacking, pair("b")], SplitConfig(by="files", test=("b",)), 0, 3)
    assert any("b has no training label" in note for note in split.notes)


def test_nothing_to_divide():
    with pytest.raises(DataError, match="no labelled pixel"):
        split_pairs([pair("x", np.full((8, 8), 255, np.uint8))], SplitConfig(by="block"), 0, 3)


@pytest.mark.parametrize("by", ["scene", "pattern"])
def test_folds_of_whole_scenes(by):
    config = SplitConfig(by=by, pattern="(tile[0-9]+)", test=("tile10",) if by == "pattern" else (), folds=3)
    folds = split_folds(TILES, config, 0, 3)
    held = [name for fold in folds for name in names(fold)[1]]
    assert sorted(held) == sorted(set(held))
    assert len(held) == (9 if by == "pattern" else 12)
    for fold in folds:
        train, validation, test = map(set, names(fold))
        assert not train & validation
        assert len(test) == (3 if by == "pattern" else 0)
        if by == "pattern":
            assert len({name.split("_")[0] for name in validation}) == 1


def test_folds_of_blocks():
    folds = split_folds([pair("x", size=120)], SplitConfig(by="block", folds=4, buffer_px=4), 0, 3)
    held = np.stack([fold.validation[0].labels.values != UNLABELLED for fold in folds])
    assert (held.sum(axis=0) == 1).all()


def test_folds_that_cannot_be_made():
    with pytest.raises(DataError, match="at least 2"):
        split_folds(TILES, SplitConfig(by="scene"), 0, 3)
    with pytest.raises(DataError, match=r"5 folds need at least 5 values of the pattern; there are 4\. Give 4 folds"):
        split_folds(TILES, SplitConfig(by="pattern", pattern="(tile[0-9]+)", folds=5), 0, 3)
    with pytest.raises(DataError, match=r"13 folds need at least 13 scenes; there are 12\."):
        split_folds(TILES, SplitConfig(by="scene", folds=13), 0, 3)


def test_folds_that_the_test_side_leaves_too_few_values_for():
    taken = SplitConfig(by="pattern", pattern="(tile[0-9]+)", train=("tile1",), test=("tile3",), folds=2)
    with pytest.raises(DataError, match=r"there is 1, as split\.test takes 1 of 2\. Leave out split\.test"):
        split_folds(TILES[:6], taken, 0, 3)
    published = [pair("a", split="train"), pair("b", split="train"), pair("c", split="test")]
    with pytest.raises(DataError, match=r"there are 2, as the test side of the dataset takes 1 of 3\. Give 2 folds"):
        split_folds(published, SplitConfig(by="files", folds=3), 0, 3)


def test_what_the_pattern_is_not_found_in_is_no_fold():
    config = SplitConfig(by="pattern", pattern="(tile[0-9]+)", folds=3)
    with pytest.raises(DataError, match="there are 2"):
        split_folds([*TILES[:6], pair("other")], config, 0, 3)


@pytest.mark.parametrize(
    "config", [SplitConfig(by="block", block_px=16, buffer_px=0), SplitConfig(by="scene", folds=2, buffer_px=0)]
)
def test_what_one_scene_holds_out_trains_in_no_scene_of_the_same_ground(config):
    def at(col: int) -> Pair:
        grid = Grid(64, 64, CRS.from_epsg(32633).to_wkt(), Affine(10, 0, 500_000 + 10 * col, 0, -10, 5_800_000))
        plain = pair(f"at {col}")
        scene = Scene.from_array(np.zeros((1, 64, 64), np.uint8), grid=grid, name=plain.name)
        return Pair(scene, LabelRaster(plain.labels.values, grid, scheme=SCHEME), plain.name)

    pairs = [at(0), at(8), at(200)]
    splits = split_folds(pairs, config, 0, 3) if config.folds else [split_pairs(pairs, config, 0, 3)]
    removed = 0
    for split in splits:
        train, held = (np.zeros((64, 264), bool) for _ in range(2))
        for ground, side in ((train, split.train), (held, split.validation)):
            for member in side:
                col = int(member.name.split()[1])
                ground[:, col : col + 64] |= member.labels.values != UNLABELLED
        assert held.any()
        assert not (train & held).any()
        removed += sum("Scenes overlap" in note for note in split.notes)
    assert removed
    assert not split_pairs([at(0), at(64)], SplitConfig(by="block", block_px=16, buffer_px=0), 0, 3).notes


def on_ground(values, name: str, col: int = 0) -> Pair:
    grid = Grid(*values.shape, CRS.from_epsg(32633).to_wkt(), Affine(10, 0, 500_000 + 10 * col, 0, -10, 5_800_000))
    scene = Scene.from_array(np.zeros((1, *values.shape), np.uint8), grid=grid, name=name)
    return Pair(scene, LabelRaster(values, grid, scheme=SCHEME), name)


BY_NAME = SplitConfig(by="files", train=("old",), test=("new",))


def test_a_class_that_lies_on_shared_ground_alone_stays_and_is_named():
    old = np.full((8, 40), 1, np.uint8)
    old[0, 39] = 2
    split = split_pairs(
        [on_ground(old, "old"), on_ground(old, "new", 30)], BY_NAME.model_copy(update={"buffer_px": 0}), 0, 3
    )
    kept = split.train[0].labels.values
    assert (kept[:, :30] == 1).all()
    assert (kept[:, 30:] == UNLABELLED).sum() == 8 * 10 - 1
    assert kept[0, 39] == 2
    assert any("79 training labels" in note and "c trains there all the same" in note for note in split.notes)


@pytest.mark.parametrize(("buffer_px", "left"), [("auto", 30 - 16), (5, 30 - 5), (0, 30)])
def test_whole_scenes_keep_the_buffer_from_ground_that_others_hold_out(buffer_px, left):
    labels = np.zeros((8, 40), np.uint8)
    pairs = [on_ground(labels, "old"), on_ground(labels, "new", 30)]
    config = BY_NAME.model_copy(update={"buffer_px": buffer_px})
    split = split_pairs(pairs, config, 0, 3)
    assert (split.train[0].labels.values != UNLABELLED).sum(axis=1).tolist() == [left] * 8
    again = apply_plan(pairs, split.plan, 3)
    np.testing.assert_array_equal(again.train[0].labels.values, split.train[0].labels.values)


def test_two_sets_of_labels_of_one_scene_do_not_train_on_what_the_other_holds_out(tmp_path):
    rng = np.random.default_rng(0)
    first, second = (on_ground(rng.integers(0, 3, (64, 64), dtype=np.uint8), name) for name in ("one", "two"))
    with MapWriter(tmp_path / "scene.tif", first.scene.grid, nodata=None) as writer:
        writer.write(first.scene.grid.window, np.ones((64, 64), np.uint8))
    scene = open_scene(tmp_path / "scene.tif")
    pairs = [Pair(scene, each.labels, each.name) for each in (first, second)]
    split = split_pairs(pairs, SplitConfig(by="block", block_px=16, buffer_px=0), 0, 3)
    held = np.logical_or.reduce([p.labels.values != UNLABELLED for p in split.validation])
    assert held.any()
    assert not any((held & (p.labels.values != UNLABELLED)).any() for p in split.train)
