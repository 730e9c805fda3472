"""`map` through the command line: everything the files promise, and every mistake answered in one message."""

import csv
import html
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from shapely.geometry import box

from sparsecover.checkpoint import load_checkpoint
from sparsecover.cli import run
from sparsecover.errors import DataError
from sparsecover.raster import Scene

from .conftest import QUICK, Command, SmallScene, assert_users_mistake


@pytest.fixture(scope="module")
def mapped(small: SmallScene, cli: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("map") / "result"
    result = cli("map", small.scene, "--labels", small.labels, "--field", "class", *QUICK, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "mIoU" in result.stdout
    return out


def test_all_promised_files_are_there_and_nothing_half_written(mapped: Path) -> None:
    promised = {"map.tif", "map.qml", "confidence.tif", "model.safetensors", "history.csv", "metrics.json",
                "report.html", "config.yaml"}  # fmt: skip
    assert promised <= {file.name for file in mapped.iterdir()}
    assert not [file for file in mapped.rglob("*") if "tmp" in file.name.lower()]


def test_the_map_lies_on_the_scene_with_codes_names_and_colours(mapped: Path, small: SmallScene) -> None:
    with rasterio.open(mapped / "map.tif") as result, rasterio.open(small.scene) as scene:
        assert (result.crs, result.transform, result.shape) == (scene.crs, scene.transform, scene.shape)
        assert result.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert result.nodata == 255
        assert set(np.unique(result.read(1))) <= {0, 1, 255}
        assert (result.read(1)[:16, :16] == 255).all()
        assert not (result.read(1)[16:, 16:] == 255).any()
        assert len({result.colormap(1)[code][:3] for code in (0, 1)}) == 2
    style = (mapped / "map.qml").read_text()
    assert "land" in style
    assert "water" in style


def test_confidence_is_percent_with_nodata(mapped: Path) -> None:
    with rasterio.open(mapped / "confidence.tif") as file:
        values = file.read(1)
    assert file.dtypes == ("uint8",)
    assert (values[:16, :16] == 255).all()
    assert values[16:, 16:].max() <= 100
    assert values[16:, 16:].min() >= 50  # the larger of two probabilities


def test_metrics_have_the_promised_keys_and_add_up(mapped: Path) -> None:
    metrics = json.loads((mapped / "metrics.json").read_text())
    assert set(metrics["per_class_iou"]) == {"land", "water"}
    assert [c["name"] for c in metrics["classes"]] == ["land", "water"]
    assert np.sum(metrics["confusion"]) == metrics["labelled_pixels"]["held_out"]
    assert 0 <= metrics["miou"] <= 1
    assert metrics["labelled_pixels"]["train"] > 0
    models = metrics["comparison"]["models"]
    assert set(models) == {"unet", "random-forest", "random-forest-features"}
    best = max(models, key=lambda name: models[name]["miou"])
    assert models[metrics["comparison"]["made_by"]]["miou"] == models[best]["miou"] == metrics["miou"]


def test_the_better_model_makes_the_map_and_log_summary_and_report_say_so(
    mapped: Path, small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    """Trained for a few steps only, the network is no match for the forest, unless it was asked for."""
    assert load_checkpoint(mapped / "model.safetensors").model_spec.name.startswith("random-forest")
    verdict = json.loads((mapped / "metrics.json").read_text())["comparison"]["verdict"]
    assert "It makes the map" in verdict
    assert verdict in html.unescape((mapped / "report.html").read_text())
    out = tmp_path / "asked"
    arguments = ("map", small.scene, "--labels", small.labels, "--field", "class", "--model", "unet", *QUICK)
    result = cli(*arguments, "--out", out)
    assert result.returncode == 0, result.stderr
    assert load_checkpoint(out / "model.safetensors").model_spec.name == "unet"
    told = json.loads((out / "metrics.json").read_text())["comparison"]["verdict"]
    assert "as was asked for" in told
    assert told in result.stdout
    assert told in result.stderr
    assert "leave out --model" in result.stdout


def test_the_report_is_one_self_contained_file(mapped: Path) -> None:
    text = (mapped / "report.html").read_text()
    assert "data:image" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_earlier_results_are_kept_unless_overwriting_is_asked_for(
    mapped: Path, small: SmallScene, cli: Command
) -> None:
    before = (mapped / "map.tif").read_bytes()
    result = cli("map", small.scene, "--labels", small.labels, "--field", "class", *QUICK, "--out", mapped)
    assert_users_mistake(result, "--overwrite")
    assert (mapped / "map.tif").read_bytes() == before


def test_the_same_seed_gives_the_same_map(mapped: Path, small: SmallScene, cli: Command, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert cli("map", small.scene, "--labels", small.labels, "--field", "class", *QUICK, "--out", out).returncode == 0
    for name in ("map.tif", "confidence.tif"):
        assert (out / name).read_bytes() == (mapped / name).read_bytes()


def test_folds_score_every_label_once(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    result = cli("map", small.scene, "--labels", small.labels, "--field", "class", *QUICK, "--folds", 2, "--out", out)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["labelled_pixels"]["held_out"] == metrics["labelled_pixels"]["train"]
    assert np.sum(metrics["confusion"]) == metrics["labelled_pixels"]["train"]


def test_quick_maps_with_a_forest(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    out = tmp_path / "quick"
    result = cli("map", small.scene, "--labels", small.labels, "--field", "class", "--quick", "--out", out)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["miou"] > 0.9
    # As --help and README say.
    assert metrics["comparison"]["made_by"] == "random-forest-features"
    assert set(metrics["comparison"]["models"]) == {"random-forest-features", "random-forest"}


def test_a_background_is_made_only_where_the_area_was_labelled(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    water = tmp_path / "ponds.gpkg"
    gpd.read_file(small.labels).query("`class` == 'water'").drop(columns="class").to_file(water)
    area = tmp_path / "area.gpkg"
    gpd.GeoDataFrame(geometry=[box(500_040, 5_399_820, 500_250, 5_399_960)], crs="EPSG:32632").to_file(area)
    out = tmp_path / "background"
    options = ("--background", "other", "--labelled-area", area)
    result = cli("map", small.scene, "--labels", water, *options, *QUICK, "--out", out)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert {c["name"] for c in metrics["classes"]} == {"ponds", "other"}
    assert sum(metrics["labelled_pixels"].values()) <= 105 * 70  # pixels of the area
    water_iou = next(value for name, value in metrics["per_class_iou"].items() if name != "other")
    assert metrics["miou_without_background"] == pytest.approx(water_iou)


def test_several_scenes_get_a_folder_each_and_are_kept(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tif").write_bytes(small.scene.read_bytes())
    arguments = ("map", tmp_path / "a.tif", tmp_path / "b.tif", "--labels", small.labels, "--field", "class", "--quick")
    result = cli(*arguments, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    maps = [tmp_path / "out" / name / "map.tif" for name in ("a", "b")]
    assert maps[0].read_bytes() == maps[1].read_bytes()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(metrics["maps"]) == ["a/map.tif", "b/map.tif"]
    (tmp_path / "out" / "report.html").unlink()  # as if stopped at the very end
    again = cli(*arguments, "--out", tmp_path / "out")
    assert_users_mistake(again, "map.tif", "--overwrite")
    assert "Training" not in again.stderr


def test_scenes_without_labels_are_ground_that_is_looked_at_too(
    small: SmallScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rasterio.open(small.scene) as scene:
        values, profile = scene.read(), scene.profile
    profile["transform"] @= rasterio.Affine.translation(10_000, 0)  # away from the labels
    with rasterio.open(tmp_path / "other.tif", "w", **profile) as file:
        file.write(values)
    looked_at = []

    def fit(*_: object, ground: tuple[Scene, ...] = (), **__: object) -> None:
        looked_at.extend(scene.name for scene in ground)
        raise DataError("That is all.")

    monkeypatch.setattr("sparsecover.pipeline.map_job.fit", fit)
    scenes, out = [str(small.scene), str(tmp_path / "other.tif")], str(tmp_path / "out")
    assert run(["map", *scenes, "--labels", str(small.labels), "--field", "class", "--out", out]) == 2
    assert looked_at == [small.scene.stem, "other"]


def test_stacked_files_a_mask_and_a_label_raster(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    with rasterio.open(small.scene) as scene, rasterio.open(small.truth) as truth:
        bands, profile, dense = scene.read(), scene.profile, truth.read(1)
    profile |= {"count": 1, "driver": "GTiff"}
    sparse = np.full_like(dense, 9)
    sparse[24:80:3, 24:110:3] = dense[24:80:3, 24:110:3]
    clouds = np.zeros_like(dense)
    clouds[60:, 100:] = 1
    for name, values in (("red", bands[0]), ("green", bands[1]), ("clouds", clouds), ("labels", sparse)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **(profile | {"nodata": None})) as file:
            file.write(values, 1)
    out = tmp_path / "out"
    files = ("map", tmp_path / "red.tif", tmp_path / "green.tif", "--stack", "--mask", tmp_path / "clouds.tif")
    result = cli(*files, "--labels", tmp_path / "labels.tif", "--unlabelled", "9", "--quick", "--out", out)
    assert result.returncode == 0, result.stderr
    with rasterio.open(out / "map.tif") as made:
        mapped = made.read(1)
    assert (mapped[60:, 100:] == 255).all()
    seen = (clouds == 0) & (dense != 255)
    assert (mapped == dense)[seen].mean() > 0.95
    metrics = json.loads((out / "metrics.json").read_text())
    assert 0 < sum(metrics["labelled_pixels"].values()) <= (sparse[clouds == 0] != 9).sum()


def test_a_stopped_map_goes_on_to_the_same_result(
    mapped: Path, small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    """Killed while it trains, and terminated after that."""
    out = tmp_path / "out"
    arguments = ("map", small.scene, "--labels", small.labels, "--field", "class", *QUICK, "--out", out)
    command = [sys.executable, "-m", "sparsecover", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment)
    while process.poll() is None and not (out / "state.pt").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "report.html").exists()
    with subprocess.Popen([*command, "--resume"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "To compare" in line:
                process.terminate()
                break
        said = process.stderr.read()
    assert process.returncode == 143, said
    assert "the same command with --resume goes on" in said
    with (out / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (out / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"seconds": "500"} for row in rows)
    (out / "another-run").mkdir()
    for name in ("history.csv", "state.pt"):
        shutil.copy(out / name, out / "another-run")
    result = cli(*arguments, "--resume")
    assert result.returncode == 0, result.stderr
    assert (out / "map.tif").read_bytes() == (mapped / "map.tif").read_bytes()
    # Trained in earlier sessions; what lies below of another run does not count.
    seconds = json.loads((out / "metrics.json").read_text())["seconds"]["training and scoring"]
    assert 500 * len(rows) <= seconds < 1000 * len(rows)


def test_the_configuration_beside_a_map_is_the_resolved_one(mapped: Path) -> None:
    config = yaml.safe_load((mapped / "config.yaml").read_text())
    assert config["patches"]["sampling"] != "auto"
    assert config["train"]["precision"] in ("fp32", "bf16")


def test_the_configuration_beside_a_map_trains_on_the_same_labels(mapped: Path, cli: Command, tmp_path: Path) -> None:
    assert_trains_on_the_same_labels(mapped, cli, tmp_path / "run", "--set", "train.epochs=1")


def close_clicks(small: SmallScene, folder: Path) -> list[Path]:
    """So many clicks that the buffer between the sides has to shrink."""
    rng = np.random.default_rng(0)
    x, y = 500_000 + rng.uniform(60, 250, 300), 5_400_000 - rng.uniform(40, 190, 300)
    kinds = np.where(x > 500_128, "land", "water")
    clicks = gpd.GeoDataFrame({"class": kinds}, geometry=gpd.points_from_xy(x, y), crs="EPSG:32632")
    clicks.to_file(folder / "clicks.gpkg")
    return [small.scene, folder / "clicks.gpkg"]


def two_scenes(small: SmallScene, folder: Path) -> list[Path]:
    """The scene and a copy of it further east, each with labels of its own."""
    (folder / "scenes").mkdir()
    with rasterio.open(small.scene) as scene:
        profile, values = scene.profile, scene.read()
    labels = []
    for number, name in enumerate(("west", "east")):
        moved = rasterio.Affine.translation(1000 * number, 0) @ profile["transform"]
        with rasterio.open(folder / "scenes" / f"{name}.tif", "w", **{**profile, "transform": moved}) as scene:
            scene.write(values)
        features = gpd.read_file(small.labels)
        labels.append(features.set_geometry(features.translate(1000 * number)))
    pd.concat(labels).to_file(folder / "both.gpkg")
    return [folder / "scenes", folder / "both.gpkg"]


def another_way(small: SmallScene, folder: Path) -> list[Path]:
    """The same files by a path with steps back."""
    (small.folder / "aside").mkdir(exist_ok=True)
    return [small.folder / "aside" / ".." / small.scene.name, small.labels]


def label_raster(small: SmallScene, folder: Path) -> list[Path]:
    """Codes for all pixels, held out by block."""
    return [small.scene, small.truth]


@pytest.mark.parametrize("make", [close_clicks, two_scenes, label_raster, another_way])
def test_another_training_takes_the_division_of_a_map(
    make: Callable[[SmallScene, Path], list[Path]], small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    scenes, labels = make(small, tmp_path)
    field = ("--field", "class") if labels.suffix == ".gpkg" else ()
    # The seed that is set divides, too.
    arguments = ("--labels", labels, *field, "--model", "random-forest", "--set", "seed=7", "--out", tmp_path / "map")
    result = cli("map", scenes, *arguments)
    assert result.returncode == 0, result.stderr
    assert_trains_on_the_same_labels(tmp_path / "map", cli, tmp_path / "run")


def assert_trains_on_the_same_labels(mapped: Path, cli: Command, out: Path, *settings: str) -> None:
    result = cli("train", "--config", mapped / "config.yaml", *settings, "--out", out)
    assert result.returncode == 0, result.stderr
    assert (out / "split.json").read_text() == (mapped / "split.json").read_text()
    budgets = [json.loads((folder / "metrics.json").read_text())["labelled_pixels"] for folder in (mapped, out)]
    assert budgets[0]["train"] == budgets[1]["train"] > 0
    assert budgets[0]["held_out"] == budgets[1]["validation"] > 0


def test_a_map_of_folds_says_that_a_training_divides_anew(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    arguments = ("--labels", small.labels, "--field", "class", "--model", "random-forest", "--out", tmp_path / "map")
    assert cli("map", small.scene, *arguments).returncode == 0
    assert (tmp_path / "map/split.json").exists()
    assert cli("map", small.scene, *arguments, "--folds", "2", "--overwrite").returncode == 0
    assert not (tmp_path / "map/split.json").exists()
    text = (tmp_path / "map/config.yaml").read_text()
    assert "`train` divides the labels in its own way" in text
    assert "random-forest is fitted at once" in text
    page = html.unescape((tmp_path / "map/report.html").read_text())
    shown = yaml.safe_load(page.partition("<summary>Configuration</summary><pre>")[2].partition("</pre>")[0])
    assert shown["train"] == {"precision": "auto", "deterministic": False}
    assert {"model", "normalize", "seed"} < shown.keys()
    assert not {"augment", "loss"} & shown.keys(), "of which forests take nothing"
    assert not {"optim", "schedule", "data", "split"} & shown.keys()


def test_few_places_of_a_class_are_told_before_and_in_the_report(
    small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    features = gpd.read_file(small.labels).iloc[[0, 1, 6, 7]]
    features["class"] = [3, 3, 5, 5]
    features.to_file(tmp_path / "few.gpkg")
    arguments = ("--labels", tmp_path / "few.gpkg", "--field", "class", "--quick", "--out", tmp_path / "out")
    assert cli("map", small.scene, *arguments).returncode == 0
    said = "Few groups of labels (polygons, clusters of points, blocks of filled areas): class 3 (2), class 5 (2)."
    assert said in (tmp_path / "out/report.html").read_text()
    checked = cli("check", small.scene, *arguments[:4])
    assert said in " ".join(checked.stdout.split())


def test_an_option_of_the_chosen_network_needs_no_name_and_the_report_says_what_it_came_to(
    small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    arguments = ("--labels", small.labels, "--field", "class", "--out", tmp_path / "out")
    result = cli("map", small.scene, *arguments, "--set", "model.estimate_shares=true", "--set", "model.hidden=32")
    assert result.returncode == 0, result.stderr
    said = "How common classes are was not estimated: each class must train in 20 places, squares of 64 px ("
    assert said in " ".join(result.stderr.split())
    report = (tmp_path / "out/report.html").read_text()
    assert said in report
    assert "as was asked for" not in report


def test_a_model_that_is_handed_on_does_not_tell_where_the_data_lay(mapped: Path, small: SmallScene) -> None:
    models = list(mapped.glob("*.safetensors"))
    assert {"model.safetensors", "last.safetensors"} <= {model.name for model in models}
    assert not [model.name for model in models if small.folder.name.encode() in model.read_bytes()]
    assert yaml.safe_load((mapped / "config.yaml").read_text())["data"]["root"] == small.folder.as_posix()


MISTAKES = {
    "scene is missing": (("nowhere.tif", "--labels", "{labels}", "--field", "class"), ("nowhere.tif",)),
    "labels are missing": (("{scene}", "--labels", "nowhere.gpkg"), ("nowhere.gpkg", "not exist")),
    "scene as labels": (("{scene}", "--labels", "{scene}"), ("as scene and as labels",)),
    "scene and labels exchanged": (("{labels}", "--labels", "{scene}"), ("wrong way round",)),
    "no such field": (("{scene}", "--labels", "{labels}", "--field", "clas"), ("clas", "class", "number")),
    "labels outside": (("{scene}", "--labels", "{far}", "--field", "class"), ("scene",)),
    "labels without a coordinate system": (("{scene}", "--labels", "{lost}", "--field", "class"), ("coordinate",)),
    "one class only": (("{scene}", "--labels", "{one}", "--field", "class"), ("one class", "--background")),
    "fractional codes": (("{scene}", "--labels", "{fractions}", "--field", "class"), ("fraction",)),
    "too many classes": (("{scene}", "--labels", "{many}", "--field", "class"), ("255",)),
    "background without area": (("{scene}", "--labels", "{one}", "--background", "x"), ("--labelled-area",)),
    "unknown setting": (("{scene}", "--labels", "{labels}", "--field", "class", "--set", "train.epoch=1"), ("epochs",)),
    "unknown model": (("{scene}", "--labels", "{labels}", "--field", "class", "--model", "unett"), ("unet",)),
    "band that is not there": (("{scene}", "--labels", "{labels}", "--field", "class", "--bands", "7"), ("7", "3")),
}


@pytest.fixture(scope="module")
def bad_files(small: SmallScene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad")
    good = gpd.read_file(small.labels)
    variants = {
        "far": good.set_geometry(good.translate(1e6, 0)),
        "lost": good.to_crs(4326).set_crs(None, allow_override=True),
        "one": good[good["class"] == "water"],
        "fractions": good.assign(**{"class": np.linspace(0.5, 6, len(good))}),
        "many": gpd.GeoDataFrame({"class": range(300)}, geometry=_grid_of_boxes(300), crs="EPSG:32632"),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        for name, frame in variants.items():
            frame.to_file(folder / f"{name}.gpkg")
    files = {name: str(folder / f"{name}.gpkg") for name in variants}
    return files | {"scene": str(small.scene), "labels": str(small.labels)}


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("map", ("--quick", "--set", "train.regularisers=[{name: superpixels}]")),
        ("train", ("--device", "mps")),
        ("train", ("--set", "split.folds=2", "--device", "mps")),
        ("train", ("--find-lr", "--device", "mps")),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="has the device that is to be absent")
def test_what_is_refused_late_leaves_no_folder(
    verb: str, given: tuple[str, ...], mapped: Path, small: SmallScene, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = {
        "map": (str(small.scene), "--labels", str(small.labels), "--field", "class"),
        "train": ("--config", str(mapped / "config.yaml")),
    }
    assert run([verb, *data[verb], *given, "--out", str(tmp_path / "new" / "out")]) == 2
    assert "Error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    assert run([verb, *data[verb], *given, "--out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine").is_dir()


def _grid_of_boxes(count: int) -> list:
    corners = [(500_050 + 2 * (i % 60), 5_399_850 + 2 * (i // 60)) for i in range(count)]
    return [box(x, y, x + 1, y + 1) for x, y in corners]


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_ends_with_one_message_and_no_output(
    case: str, bad_files: dict[str, str], cli: Command, tmp_path: Path
) -> None:
    arguments, words = MISTAKES[case]
    out = tmp_path / "out"
    result = cli("map", *(a.format(**bad_files) for a in arguments), "--out", out)
    assert_users_mistake(result, *words)
    assert not (out / "map.tif").exists()
    assert not (out / "report.html").exists()
