"""Patches on disk: windows, limits, sides, files, continuing, and batches."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely import box
from skimage.io import imread

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.config import DataConfig
from sparsecover.datasets import Dataset, Entry, Listing, Pair, open_dataset, open_listing
from sparsecover.errors import DataError, OutputError, SceneError
from sparsecover.grid import Grid, Window
from sparsecover.labels import LabelRaster
from sparsecover.patches import extract, extract_view
from sparsecover.patches.extract import extract_patches
from sparsecover.patches.extract_plan import ExtractOptions, assign_sides, plan_pair, regular_windows
from sparsecover.patches.extract_sources import match_sources
from sparsecover.patches.extract_view import describe_patches, patch_sheet
from sparsecover.raster import Scene, open_scene

SCHEME = ClassScheme.from_dicts([{"code": 3, "name": "field"}, {"code": 7, "name": "water"}])
PLACE = Affine(10, 0, 500_000, 0, -10, 5_800_000)


def pair(name="scene", height=128, width=160, seed=0, left=0) -> Pair:
    generator = np.random.default_rng(seed)
    grid = Grid(height, width, "EPSG:32633", PLACE @ Affine.translation(left, 0))
    grid = Grid(height, width, rasterio.crs.CRS.from_epsg(32633).to_wkt(), grid.transform)
    values = generator.integers(1, 200, (3, height, width)).astype(np.uint16)
    valid = np.ones((height, width), bool)
    valid[:32, :32] = False
    labels = generator.integers(0, 2, (height, width)).astype(np.uint8)
    labels[96:, 128:] = UNLABELLED
    scene = Scene.from_array(values, valid, grid, name, ["red", "green", "blue"])
    return Pair(scene, LabelRaster(labels, grid, scheme=SCHEME), name)


def dataset(*pairs: Pair) -> Dataset:
    return Dataset(list(pairs) or [pair()], SCHEME)


def options(**changes) -> ExtractOptions:
    return ExtractOptions(**({"size_px": 32, "ratios": (0.5, 0.25, 0.25)} | changes))


def test_patches_hold_the_pixels_of_their_windows(tmp_path):
    given = pair()
    result = extract_patches(dataset(given), tmp_path, options())
    assert len(result.rows) == 4 * 5 - 1
    assert dict(result.skipped) == {"too much nodata": 1}
    row = result.rows[7]
    folder = tmp_path / "Patch" / row["split"]
    with rasterio.open(folder / "images" / f"{row['name']}.tif") as image:
        part = slice(row["row"], row["row"] + 32), slice(row["col"], row["col"] + 32)
        assert np.array_equal(image.read(), given.scene.read()[0][:, *part])
        assert image.transform == PLACE @ Affine.translation(row["col"], row["row"])
        assert image.crs.to_epsg() == 32633
        assert image.descriptions == ("red", "green", "blue")
    with rasterio.open(folder / "labels" / f"{row['name']}.tif") as labels:
        indices = given.labels.values[part]
        assert np.array_equal(labels.read(1), np.array([3, 7, 255])[np.minimum(indices, 2)])
        assert labels.nodata == 255


def test_the_manifest_tells_all_and_digests_fit(tmp_path):
    extract_patches(dataset(), tmp_path, options())
    with (tmp_path / "Patch" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "name", "split", "source", "row", "col", "size_px", "nodata_share", "pixels_field", "pixels_water",
        "image_sha256", "labels_sha256",
    ]  # fmt: skip
    for row in rows:
        path = tmp_path / "Patch" / row["split"] / "images" / f"{row['name']}.tif"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["image_sha256"]
    described = describe_patches(tmp_path)
    assert sum(described["patches"].values()) == len(rows)
    total = sum(described["classes"]["water"].values())
    assert total == sum(int(row["pixels_water"]) for row in rows)


def test_patches_can_be_opened_as_a_dataset(tmp_path):
    extract_patches(dataset(), tmp_path, options())
    opened = open_dataset(DataConfig(dataset="patches", root=tmp_path), tmp_path / "Patch" / "classes.csv")
    assert len(opened.pairs) == 19
    assert opened.scheme.names == ("field", "water")
    assert opened.scheme.colors == SCHEME.colors
    assert {p.split for p in opened.pairs} == {"train", "validation", "test"}


def test_ratios_are_met_and_the_seed_decides(tmp_path):
    sides = []
    for number, seed in enumerate((0, 0, 1)):
        rows = extract_patches(dataset(), tmp_path / str(number), options(seed=seed, max_nodata=1)).rows
        sides.append([row["split"] for row in rows])
        assert [sides[-1].count(side) for side in ("train", "validation", "test")] == [10, 5, 5]
    assert sides[0] == sides[1] != sides[2]


def test_limits_on_nodata_and_labels(tmp_path):
    every = extract_patches(dataset(), tmp_path / "a", options(max_nodata=1, min_labelled=0))
    assert len(every.rows) == 20
    few = extract_patches(dataset(), tmp_path / "b", options(min_labelled=0.5))
    assert dict(few.skipped) == {"too much nodata": 1, "too few labels": 1}
    blank = pair()
    blank.labels.values[:] = UNLABELLED
    with pytest.raises(DataError, match=r"No patch is left: .*too few labels"):
        extract_patches(dataset(blank), tmp_path / "c", options(min_labelled=0.5))


def test_nodata_is_marked_in_the_files(tmp_path):
    rows = extract_patches(dataset(), tmp_path, options(max_nodata=1)).rows
    corner = next(row for row in rows if row["row"] == row["col"] == 0)
    assert corner["nodata_share"] == 1
    with rasterio.open(tmp_path / "Patch" / corner["split"] / "images" / f"{corner['name']}.tif") as image:
        assert not image.dataset_mask().any()


def raster(path, kind) -> Scene:
    """A scene in which some pixels hold no data, and 0, which its file may declare as nodata, is a value."""
    low, high, dtype, nodata = {
        "all values are in use": (0, 256, "uint8", None),
        "integers are averaged": (-2, 3, "int16", 0),
        "integers are scaled": (998, 1003, "int16", 0),
        "floats": (-2, 3, "float32", -9999),
    }[kind]
    values = np.random.default_rng(0).integers(low, high, (2, 128, 128)).astype(dtype)
    if nodata is not None:
        values[:, 40:60, 70:90] = nodata
    profile = {"driver": "GTiff", "height": 128, "width": 128, "crs": "EPSG:32633", "transform": PLACE}
    with rasterio.open(path, "w", dtype=dtype, count=2, nodata=nodata, **profile) as target:
        target.write(values)
        if nodata is None:
            target.write_mask(np.arange(128 * 128).reshape(128, 128) % 130 > 0)
        if kind == "integers are scaled":
            target.scales, target.offsets = (0.5, 0.5), (-500, -500)
    scene = open_scene(path)
    return scene.resized(64, 64) if kind == "integers are averaged" else scene


@pytest.mark.parametrize("kind", ["all values are in use", "integers are averaged", "integers are scaled", "floats"])
def test_the_same_pixels_are_valid_when_patches_are_opened_again(tmp_path, kind):
    scene = raster(tmp_path / "scene.tif", kind)
    values, valid = scene.read()
    assert (values[:, valid] == 0).any()
    assert not valid.all()
    labels = LabelRaster(np.zeros(valid.shape, np.uint8), scene.grid, scheme=SCHEME)
    extract_patches(dataset(Pair(scene, labels, "scene")), tmp_path, options(ratios=(1, 0, 0), max_nodata=1))
    opened = open_dataset(DataConfig(dataset="patches", root=tmp_path), tmp_path / "Patch" / "classes.csv")
    marks = set()
    for patch in opened.pairs:
        part = Window(*map(int, patch.name.rsplit("_", 2)[1:]), 32, 32).slices
        again, whole = patch.scene.read()
        assert np.array_equal(whole, valid[part])
        assert np.array_equal(again, values[:, *part])
        assert np.array_equal(patch.labels.read() == 0, valid[part])
        with rasterio.open(patch.scene.paths[0]) as image:
            marks.add((str(image.nodata), str(image.mask_flag_enums)))
    assert len(opened.pairs) == (scene.grid.height // 32) ** 2
    assert len(marks) == 1  # though some patches lack no pixel
    assert {path.suffix for path in (tmp_path / "Patch" / "train").rglob("*.*")} == {".tif"}


def test_patches_of_a_scene_without_nodata_have_no_mask(tmp_path):
    given = pair()
    given.scene.source.valid[:] = True
    (row, *_) = extract_patches(dataset(given), tmp_path, options(max_nodata=1)).rows
    with rasterio.open(tmp_path / "Patch" / row["split"] / "images" / f"{row['name']}.tif") as image:
        assert image.mask_flag_enums[0] == [rasterio.enums.MaskFlags.all_valid]


def test_a_mask_that_cannot_be_written_leaves_no_patch(tmp_path, monkeypatch):
    def full(path, mode="r", *given, really=rasterio.open, **options):
        if mode == "r+":
            raise rasterio.errors.RasterioIOError("No space left on device")
        return really(path, mode, *given, **options)

    monkeypatch.setattr(rasterio, "open", full)
    with pytest.raises(OutputError, match=r"Cannot write the mask .*No space left on device"):
        extract_patches(dataset(), tmp_path, options(max_nodata=1))
    assert not list((tmp_path / "Patch").rglob("*.tif"))


def test_a_grid_of_cells_gives_a_patch_around_each_centre(tmp_path):
    cells = [
        box(500_000 + x, 5_800_000 - y - 300, 500_000 + x + 300, 5_800_000 - y) for x, y in ((500, 400), (1000, 700))
    ]
    far = box(500_000, 5_799_950, 500_050, 5_800_000)
    frame = gpd.GeoDataFrame(geometry=[*cells, far], crs=32633).to_crs(4326)
    frame.to_file(tmp_path / "grid.gpkg")
    result = extract_patches(dataset(), tmp_path, options(ratios=(1, 0, 0)), {"scene": tmp_path / "grid.gpkg"})
    assert [(row["row"], row["col"]) for row in result.rows] == [(39, 49), (69, 99)]
    assert result.skipped["cut by the edge of the scene"] == 1
    frame.translate(10).to_file(tmp_path / "away.gpkg")
    with pytest.raises(DataError, match="lies on the scene"):
        extract_patches(dataset(), tmp_path / "x", options(), {"scene": tmp_path / "away.gpkg"})


def test_blocks_never_share_a_pixel_across_sides(tmp_path):
    cut = options(size_px=24, stride_px=20, split="block", block_px=40)
    result = extract_patches(dataset(pair(height=160, width=160)), tmp_path, cut)
    assert result.skipped["overlap a patch of another side"] > 0
    covered = {side: np.zeros((160, 160), bool) for side in ("train", "validation", "test")}
    for row in result.rows:
        covered[row["split"]][row["row"] : row["row"] + 24, row["col"] : row["col"] + 24] = True
    assert not (covered["train"] & covered["validation"]).any()
    assert not (covered["train"] & covered["test"]).any()
    assert not (covered["validation"] & covered["test"]).any()


def test_small_scenes_are_divided_into_enough_blocks():
    chosen = options(split="block", ratios=(0.8, 0.1, 0.1))
    planned = plan_pair(0, pair(height=256, width=256), SCHEME, chosen, None, Counter())
    sides = assign_sides(planned, chosen, Counter(), [])
    shares = np.bincount(sides) / len(sides)
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.07)  # blocks of four patches would give a quarter each
    blocks = {(p.window.row // 64, p.window.col // 64, side) for p, side in zip(planned, sides, strict=True)}
    assert len(blocks) == 16  # two by two patches stay together


def test_a_class_without_a_training_patch_is_noted(tmp_path):
    given = pair()
    given.labels.values[:] = 0
    given.labels.values[64:96, 128:] = 1
    planned = plan_pair(0, given, SCHEME, options(), None, Counter())
    (place,) = (number for number, patch in enumerate(planned) if patch.counts[1])
    sides = [assign_sides(planned, options(seed=seed), Counter(), [])[place] for seed in range(20)]
    for seed in (sides.index(0), next(number for number, side in enumerate(sides) if side > 0)):
        notes = extract_patches(dataset(given), tmp_path / str(seed), options(seed=seed)).notes
        assert ("No training patch holds water: it can never be learnt. Try another seed." in notes) == bool(
            sides[seed]
        )


def test_scenes_go_to_one_side_and_random_overlap_is_noted(tmp_path):
    pairs = [pair(f"s{i}", 64, 64, seed=i, left=i * 200) for i in range(4)]
    result = extract_patches(dataset(*pairs), tmp_path / "a", options(split="scene"))
    sides = {}
    for row in result.rows:
        sides.setdefault(row["name"].split("_")[0], set()).add(row["split"])
    assert all(len(found) == 1 for found in sides.values())
    noted = extract_patches(dataset(pair(height=96, width=96)), tmp_path / "b", options(stride_px=20))
    assert any("overlap patches of another side" in note for note in noted.notes)


def test_a_stopped_run_is_continued(tmp_path, monkeypatch):
    whole = extract_patches(dataset(), tmp_path / "whole", options())
    write, written = extract._write, []

    def failing(*arguments):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(arguments[2])
        return write(*arguments)

    monkeypatch.setattr(extract, "_write", failing)
    with pytest.raises(KeyboardInterrupt):
        extract_patches(dataset(), tmp_path / "cut", options())
    with pytest.raises(DataError, match=r"no manifest.csv|There is no"):
        describe_patches(tmp_path / "cut")
    again = []
    monkeypatch.setattr(extract, "_write", lambda *a: again.append(a[2]) or write(*a))
    result = extract_patches(dataset(), tmp_path / "cut", options())
    assert len(again) == len(whole.rows) - 5
    assert not set(again) & set(written)
    assert result.rows == whole.rows


def test_a_row_cut_off_in_the_journal_is_written_again(tmp_path):
    first = extract_patches(dataset(), tmp_path, options())
    journal = tmp_path / "Patch" / ".extract.jsonl"
    journal.write_text(journal.read_text()[:-40])
    assert extract_patches(dataset(), tmp_path, options()).rows == first.rows


def test_other_patches_are_not_mixed_in(tmp_path):
    extract_patches(dataset(), tmp_path, options())
    with pytest.raises(OutputError, match="other data or options"):
        extract_patches(dataset(), tmp_path, options(seed=5))
    assert len(extract_patches(dataset(), tmp_path, options(seed=5), overwrite=True).rows) == 19
    (tmp_path / "full" / "Patch").mkdir(parents=True)
    (tmp_path / "full" / "Patch" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="is not empty"):
        extract_patches(dataset(), tmp_path / "full", options())


def test_a_scene_that_cannot_be_read_is_reported_and_the_rest_done(tmp_path):
    class Broken(Scene):
        def read(self, window=None):
            raise SceneError("truncated")

    good, bad = pair("good"), pair("bad")
    bad = Pair(Broken("bad", bad.scene.source), bad.labels, "bad")
    result = extract_patches(dataset(bad, good), tmp_path, options())
    assert len(result.rows) == 19
    assert result.failures == ["bad: truncated"]


@pytest.mark.parametrize(
    "changes",
    [{"ratios": (0.5, 0.5, 0.5)}, {"ratios": (1.5, -0.5, 0)}, {"size_px": 0}, {"stride_px": 0}, {"max_nodata": 2}],
)
def test_options_that_cannot_be_meant(changes):
    with pytest.raises(DataError):
        options(**changes)


def test_sides_that_stay_empty_and_scenes_that_are_too_small(tmp_path):
    with pytest.raises(DataError, match="leaves no validation patch"):
        extract_patches(dataset(), tmp_path, options(split="scene"))
    with pytest.raises(DataError, match="smaller than 500 x 500"):
        extract_patches(dataset(), tmp_path, options(size_px=500))


def test_regular_windows():
    windows = regular_windows(Grid(70, 100), 32, 30)
    assert [(w.row, w.col) for w in windows] == [(r, c) for r in (0, 30, 60) for c in (0, 30, 60, 90)]
    assert len(regular_windows(Grid(64, 96), 32, 32)) == 6  # nothing left over
    assert regular_windows(Grid(31, 96), 32, 32) == []


def test_what_a_regular_grid_leaves_at_the_edges_is_told(tmp_path):
    given = pair()
    grid = given.scene.grid
    result = extract_patches(dataset(given), tmp_path, options(size_px=48, max_nodata=1))
    whole = (grid.height // 48) * (grid.width // 48)
    assert len(result.rows) == whole
    assert result.skipped["cut by the edge of the scene"] == -(-grid.height // 48) * -(-grid.width // 48) - whole > 0


def test_a_sheet_shows_patches_with_labels_first(tmp_path, monkeypatch):
    extract_patches(dataset(), tmp_path, options(max_nodata=1))
    shown = []

    def seen(folder, row, scheme, draw=extract_view._row):
        shown.append(row)
        return draw(folder, row, scheme)

    monkeypatch.setattr(extract_view, "_row", seen)
    patch_sheet(tmp_path, tmp_path / "sheet.png", number=18)
    assert len(shown) == 18  # of 20 patches, two without labels
    assert all(int(row["pixels_field"]) + int(row["pixels_water"]) for row in shown)


def test_a_sheet_of_pictures(tmp_path, monkeypatch):
    extract_patches(dataset(), tmp_path, options(max_nodata=1))
    patch_sheet(tmp_path, tmp_path / "sheet.png", number=3)
    picture = imread(tmp_path / "sheet.png")
    for color in SCHEME.colors:
        assert (picture[..., :3] == color).all(axis=-1).sum() > 1000
    with pytest.raises(OutputError):
        patch_sheet(tmp_path, tmp_path / "missing" / "sheet.png")
    monkeypatch.setattr(extract_view, "_MOST_PATCHES", 2)
    with pytest.raises(DataError, match=r"at most 2 patches; 600 .* smaller -n"):
        patch_sheet(tmp_path, tmp_path / "sheet.png", number=600)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_batches_are_matched_by_folder_and_number(tmp_path):
    touch(
        tmp_path / "Image_1.TIF", tmp_path / "label_1.tif", tmp_path / "GRID_1.gpkg", tmp_path / "Image_1.tif.aux.xml"
    )
    touch(tmp_path / "deep" / "image_1.tif", tmp_path / "deep" / "LABEL_1.gpkg", tmp_path / "deep" / "grid_1.gpkg")
    touch(tmp_path / "image_2.tif", tmp_path / "label_3.tif")
    flat = match_sources(tmp_path)
    assert [(s.image.name, s.labels.name, s.grid.name) for s in flat.sources] == [
        ("Image_1.TIF", "label_1.tif", "GRID_1.gpkg")
    ]
    assert [line.rpartition("/")[2] for line in flat.problems] == [
        "image_2.tif has no labels",
        "image_2.tif has no grid (--no-grid cuts all without)",
        "label_3.tif has no image",
    ]
    assert len(match_sources(tmp_path, recursive=True).sources) == 2
    assert match_sources(tmp_path / "deep", grid=None).sources[0].grid is None


def test_batches_in_folders_of_their_own(tmp_path):
    for site in ("north", "south"):
        touch(*(tmp_path / site / kind for kind in ("Images/a_1.jpg", "masks/a_1.png", "clouds/a_1.tif")))
    patterns = {"image": "images/*.jpg", "labels": "masks/*", "mask": "clouds/*"}
    found = match_sources(tmp_path, **patterns, recursive=True)
    assert [s.name for s in found.sources] == ["north/Images/a_1", "south/Images/a_1"]
    assert found.sources[1].mask == tmp_path / "south" / "clouds" / "a_1.tif"
    assert len(match_sources(tmp_path / "north", **patterns).sources) == 1
    with pytest.raises(DataError, match="No image named"):
        match_sources(tmp_path, **patterns)
    (tmp_path / "south" / "clouds" / "a_1.tif").unlink()
    missing = match_sources(tmp_path, **patterns, recursive=True)
    assert len(missing.sources) == 1
    assert missing.problems == [f"{tmp_path / 'south' / 'Images' / 'a_1.jpg'} has no mask"]


def test_batches_that_cannot_be_matched(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        match_sources(tmp_path / "missing")
    with pytest.raises(DataError, match="No image named"):
        match_sources(tmp_path)
    with pytest.raises(DataError, match=r"exactly one \*"):
        match_sources(tmp_path, image="image")
    touch(tmp_path / "image_1.tif", tmp_path / "IMAGE_1.png")
    with pytest.raises(DataError, match="same number"):
        match_sources(tmp_path)


def test_a_batch_from_files(tmp_path):
    for i in (1, 2):
        given = pair(f"Image_{i}", seed=i)
        profile = {"driver": "GTiff", "height": 128, "width": 160, "crs": "EPSG:32633", "transform": PLACE}
        with rasterio.open(tmp_path / f"Image_{i}.tif", "w", dtype="uint16", count=3, **profile) as target:
            target.write(given.scene.read()[0])
        with rasterio.open(tmp_path / f"Label_{i}.tif", "w", dtype="uint8", count=1, **profile) as target:
            target.write(given.labels.values, 1)
    found = match_sources(tmp_path)
    listing = Listing([Entry(s.name, (s.image,), s.labels) for s in found.sources], found.problems)
    opened = open_listing(listing, DataConfig())
    result = extract_patches(opened, tmp_path / "out", options(), {s.name: s.grid for s in found.sources if s.grid})
    assert len(result.rows) == 40
    assert {Path(row["source"]).name for row in result.rows} == {"Image_1.tif", "Image_2.tif"}


def test_scenes_whose_patches_would_have_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match="patches named a_b"):
        extract_patches(dataset(pair("a b"), pair("a/b", 1)), tmp_path, options())
    assert not list(tmp_path.iterdir())
