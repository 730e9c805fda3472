"""Real imagery through the command line, with trainings cut short: whether it runs and what must hold, not how well."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from sparsecover.raster import open_scene

from .conftest import QUICK, Command, assert_users_mistake

ROOT = Path(__file__).parents[2]


def recipe(name: str, folder: Path, out: Path, **changes: object) -> Path:
    """A recipe of this repository, pointed at the data and cut short."""
    values = yaml.safe_load((ROOT / "recipes" / name).read_text())
    values["data"]["root"] = str(folder)
    values["train"] |= {"epochs": 1, "batch_size": 2}
    values["patches"] |= {"per_epoch": 2}
    values["model"] |= {"base_channels": 4, "depth": 3}
    values |= changes
    (out / name).write_text(yaml.safe_dump(values))
    return out / name


def test_historical_map_with_polygons_and_a_border(real_data: Path, cli: Command, tmp_path: Path) -> None:
    folder = real_data / "vector_labels" / "historical_map"
    out = tmp_path / "out"
    arguments = ("map", folder / "map_lowres.tif", "--labels", folder / "train.gpkg", "--field", "Class")
    result = cli(*arguments, *QUICK, "--out", out)
    assert result.returncode == 0, result.stderr
    with rasterio.open(out / "map.tif") as made, rasterio.open(folder / "map_lowres.tif") as scene:
        assert made.transform == scene.transform
        nodata = (scene.read() == 0).any(0)
        assert ((made.read(1) == 255) == nodata).all()
        assert set(np.unique(made.read(1))) <= {1, 2, 3, 4, 5, 255}  # the user's own codes


def test_spacenet_buildings_against_a_background(real_data: Path, cli: Command, tmp_path: Path) -> None:
    folder = real_data / "vector_labels" / "spacenet_atlanta"
    arguments = ("map", folder / "sample_geotiff.tif", "--labels", folder / "geotiff_labels.geojson")
    options = ("--background", "other", "--labelled-area", "scene", "--resolution", "2", *QUICK)
    result = cli(*arguments, *options, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "other" in metrics["per_class_iou"]
    assert len(metrics["per_class_iou"]) == 2


def test_flood_chips_with_nan_and_unlabelled_ones(real_data: Path, cli: Command, tmp_path: Path) -> None:
    folder = real_data / "sen1floods11_s1"
    config = recipe("sen1floods11.yaml", folder, tmp_path)
    run = tmp_path / "run"
    result = cli("train", "--config", config, "--out", run)
    assert result.returncode == 0, result.stderr
    chip = folder / "S1" / "Ghana_97059_S1Hand.tif"
    result = cli("predict", chip, "--model", run / "last.safetensors", "--out", tmp_path / "map.tif")
    assert result.returncode == 0, result.stderr
    with rasterio.open(tmp_path / "map.tif") as made, rasterio.open(chip) as scene:
        assert ((made.read(1) == 255) == ~np.isfinite(scene.read()).all(0)).all()
    result = cli(
        "predict", folder / "S1" / "Paraguay_34417_S1Hand.tif", "--model", run / "last.safetensors",
        "--out", tmp_path / "empty.tif",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with rasterio.open(tmp_path / "empty.tif") as made:
        assert (made.read(1) == 255).all()


def test_hyperspectral_tiles_with_empty_bands(real_data: Path, cli: Command, tmp_path: Path) -> None:
    config = recipe("enmap-potsdam.yaml", real_data / "enmap_potsdam_hyperspectral", tmp_path)
    result = cli("train", "--config", config, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert "6 bands hold no data" in result.stderr
    result = cli("evaluate", "--config", config, "--model", tmp_path / "run" / "last.safetensors")
    assert result.returncode == 0, result.stderr


def test_dubai_with_one_percent_of_the_pixels(real_data: Path, cli: Command, tmp_path: Path) -> None:
    config = recipe("dubai-same-scenes.yaml", real_data / "dubai_mbrsc", tmp_path)
    result = cli("train", "--config", config, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    folder = real_data / "dubai_mbrsc" / "masks_id"
    grids = [open_scene(file).grid for t in (1, 3, 5, 7) for file in folder.glob(f"tile{t}_part_00[1-6].png")]
    pixels = sum(grid.window.size for grid in grids) / 4  # half resolution
    assert metrics["labelled_pixels"]["train"] == pytest.approx(0.01 * pixels, rel=0.03)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty_0_bytes.tif", "empty"),
        ("truncated_half_RGB.byte.tif", "truncated_half"),
        ("corrupt.tif", "corrupt.tif"),
        ("lfs_pointer_not_a_tif.tif", "LFS"),
        ("all-nodata.tif", "nodata"),
    ],
)
def test_broken_scenes_are_refused_in_one_message(
    name: str, words: str, real_data: Path, cli: Command, tmp_path: Path
) -> None:
    labels = real_data / "vector_labels" / "historical_map" / "train.gpkg"
    arguments = ("map", real_data / "geotiff_zoo" / name, "--labels", labels, "--field", "Class")
    assert_users_mistake(cli(*arguments, "--out", tmp_path / "out"), words)
    assert not (tmp_path / "out").exists()


def test_labels_in_the_wrong_coordinate_system_are_noticed(real_data: Path, cli: Command, tmp_path: Path) -> None:
    folder = real_data / "vector_labels" / "custom_proj"
    labels = folder / "geotiff_custom_proj_labels.geojson"
    result = cli("map", folder / "sample_geotiff_custom_proj.tif", "--labels", labels, "--out", tmp_path / "out")
    assert_users_mistake(result, "degrees", "coordinate system")
    assert not (tmp_path / "out").exists()
