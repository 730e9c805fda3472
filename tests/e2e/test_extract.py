"""``extract single``, ``batch``, ``info`` and ``show`` in a process of its own."""

import csv
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from shapely.geometry import box
from skimage.io import imread

from .conftest import Command, SmallScene, assert_users_mistake

CUT = ("--size", "32", "--ratios", "0.5,0.25,0.25")


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "Patch" / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_patches_of_a_scene_lie_where_they_were_cut(
    small: SmallScene, cli: Command, fresh: Command, tmp_path: Path
) -> None:
    result = fresh("extract", "single", small.scene, "--labels", small.truth, *CUT, "--bands", "3,1", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    rows = manifest(tmp_path)
    assert len(rows) == 12
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    with rasterio.open(small.scene) as scene:
        for row in rows:
            window = rasterio.windows.Window(int(row["col"]), int(row["row"]), 32, 32)
            with rasterio.open(tmp_path / "Patch" / row["split"] / "images" / f"{row['name']}.tif") as patch:
                assert patch.crs == scene.crs
                assert patch.transform == scene.transform @ Affine.translation(int(row["col"]), int(row["row"]))
                assert np.array_equal(patch.read(), scene.read([3, 1], window=window))
    shown = cli("extract", "info", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "patches of 32 px from 1 scene" in shown.stdout


def test_vector_labels_and_a_vector_grid_in_another_system(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    x, y = 500_000 + 2 * 61, 5_400_000 - 2 * 41  # the centre of the cell is the corner of pixels 61 and 41
    grid = gpd.GeoDataFrame(geometry=[box(x - 20, y - 20, x + 20, y + 20)], crs="EPSG:32632").to_crs("EPSG:4326")
    grid.to_file(tmp_path / "grid.gpkg")
    arguments = ("extract", "single", small.scene, "--labels", small.labels, "--field", "class")
    result = cli(*arguments, "--size", "32", "--ratios", "1,0,0", "--grid", tmp_path / "grid.gpkg", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    (row,) = manifest(tmp_path)
    assert (row["row"], row["col"]) == (str(41 - 16), str(61 - 16))
    with rasterio.open(tmp_path / "Patch" / "train" / "labels" / f"{row['name']}.tif") as labels:
        assert (labels.read(1) == 255).any()  # unlabelled is nodata, never a class


def test_a_batch_does_the_rest_and_says_what_failed(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in ("1", "2", "3"):
        shutil.copy(small.scene, folder / f"Image_{number}.tif")
        shutil.copy(small.truth, folder / f"LABEL_{number}.tif")
    (folder / "Image_2.tif").write_bytes(b"broken")
    result = cli("extract", "batch", folder, *CUT, "--split", "scene", "--ratios", "0.5,0.5,0", "--out", tmp_path)
    assert result.returncode == 2
    assert "Image_2.tif" in result.stderr
    assert "Traceback" not in result.stderr
    rows = manifest(tmp_path)
    assert {Path(row["source"]).stem: row["split"] for row in rows}.keys() == {"Image_1", "Image_3"}
    assert len(rows) == 24
    shutil.copy(small.scene, folder / "Image_2.tif")
    (folder / "LABEL_3.tif").unlink()
    stopped = cli("extract", "batch", folder, *CUT, "--out", tmp_path / "b")
    assert_users_mistake(stopped, "Image_3.tif has no labels", "--skip-unpaired leaves")
    assert not (tmp_path / "b").exists()
    done = cli("extract", "batch", folder, *CUT, "--skip-unpaired", "--out", tmp_path / "b")
    assert done.returncode == 2  # something was left out
    assert len(manifest(tmp_path / "b")) == 24


def test_the_same_call_goes_on_and_other_options_are_refused(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    arguments = ("extract", "single", small.scene, "--labels", small.truth, *CUT, "--out", tmp_path)
    assert cli(*arguments).returncode == 0
    journal = tmp_path / "Patch" / ".extract.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(lines[:5]) + "\n")
    kept = tmp_path / "Patch" / manifest(tmp_path)[0]["split"] / "images"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    (tmp_path / "Patch" / "manifest.csv").unlink()
    assert cli(*arguments).returncode == 0
    after = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert before.keys() == after.keys()
    assert any(before[path] == after[path] for path in before)  # what was written before the stop was not written again
    assert len(manifest(tmp_path)) == 12
    assert_users_mistake(cli(*arguments, "--seed", "1"), "other data or options")


def test_clouds_and_pixel_size(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    with rasterio.open(small.truth) as truth, rasterio.open(tmp_path / "mask_1.tif", "w", **truth.profile) as clouds:
        cloudy = np.zeros((1, 96, 128), np.uint8)
        cloudy[:, 32:64, :32] = 1
        clouds.write(cloudy)
    arguments = ("extract", "single", small.scene, "--labels", small.truth, "--size", "8", "--ratios", "1,0,0")
    given = (*arguments, "--resolution", "8", "--mask", tmp_path / "mask_1.tif", "--out", tmp_path / "a")
    result = cli(*given)
    assert result.returncode == 0, result.stderr
    assert "Left out: 1 (too much nodata)" in result.stdout
    rows = manifest(tmp_path / "a")
    assert len(rows) == 3 * 4 - 1
    with rasterio.open(tmp_path / "a" / "Patch" / "train" / "images" / f"{rows[0]['name']}.tif") as patch:
        assert patch.res == (8, 8)
    assert_users_mistake(cli(*given, "--resolution", "4"), "other data or options")
    for kind, file in (("images", small.scene), ("masks", small.truth), ("clouds", tmp_path / "mask_1.tif")):
        (tmp_path / kind).mkdir()
        shutil.copy(file, tmp_path / kind / "one.tif")
    batch = ("extract", "batch", tmp_path, "--image", "images/*", "--label", "masks/*", "--ratios", "1,0,0")
    result = cli(*batch, "--mask", "clouds/*", "--size", "32", "--out", tmp_path / "b")
    assert result.returncode == 0, result.stderr
    assert len(manifest(tmp_path / "b")) == 3 * 4 - 1


def test_a_sheet_of_patches(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    cli("extract", "single", small.scene, "--labels", small.truth, *CUT, "--out", tmp_path)
    result = cli("extract", "show", tmp_path, "-n", "3")
    assert result.returncode == 0, result.stderr
    sheet = imread(tmp_path / "patches.png")
    assert min(sheet.shape[:2]) > 4 * 3 * 32  # three rows and columns of patches, which are small and so enlarged
    assert len(np.unique(sheet.reshape(-1, sheet.shape[2]), axis=0)) > 100


def test_what_cannot_be_meant(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    single = ("extract", "single", small.scene, "--labels", small.truth, "--size", "32", "--out", tmp_path / "out")
    assert_users_mistake(cli(*single, "--ratios", "0.5,0.5,0.5"), "must sum to 1")
    assert_users_mistake(cli(*single, "--ratios", "half"), "three numbers")
    assert_users_mistake(cli(*single, "--split", "scene"), "leaves no validation")
    away = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10)], crs="EPSG:32632")
    away.to_file(tmp_path / "away.gpkg")
    assert_users_mistake(cli(*single, "--grid", tmp_path / "away.gpkg"), "lies on the scene")
    assert_users_mistake(cli("extract", "info", tmp_path), "nothing was extracted there")
    assert not (tmp_path / "out").exists()
