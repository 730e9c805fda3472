"""The other commands, each in a process of its own: what they print, write and refuse."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image

from sparsecover.cli import run

from .conftest import QUICK, Command, SmallScene, assert_users_mistake


@pytest.fixture(scope="module")
def config(small: SmallScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration over two copies of the small scene with dense labels: one to train on, one to test."""
    folder = tmp_path_factory.mktemp("config")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for scene in ("a", "b"):
        (folder / "images" / f"{scene}.tif").write_bytes(small.scene.read_bytes())
        (folder / "masks" / f"{scene}.tif").write_bytes(small.truth.read_bytes())
    values = {
        "data": {"root": str(folder), "images": "images/*.tif", "labels": "masks/*.tif",
                 "simulate": {"sampler": "pixels", "fraction": 0.05}},
        "classes": ["water", "land"],
        "split": {"by": "pattern", "pattern": "([ab])", "train": ["a"], "test": ["b"]},
        "patches": {"size_px": 32, "per_epoch": 96},
        "model": {"name": "unet", "base_channels": 4, "depth": 3},
        "optim": {"lr": 0.01},
        "train": {"epochs": 4, "batch_size": 4},
    }  # fmt: skip
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture(scope="module")
def trained(config: Path, fresh: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "run"
    result = fresh("train", "--config", config, "--out", out)
    assert result.returncode == 0, result.stderr
    return out


def test_train_writes_what_it_promises(trained: Path) -> None:
    assert {"last.safetensors", "history.csv", "metrics.json", "curves.png", "config.yaml"} <= {
        file.name for file in trained.iterdir()
    }
    assert not (trained / "best_iou.safetensors").exists()  # no validation labels, so nothing can be called best
    with Image.open(trained / "curves.png") as curves:  # of the loss alone
        assert curves.width < 2 * curves.height
    rows = (trained / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + 4


def test_train_counts_the_simulated_labels_as_its_budget(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["labelled_pixels"]["train"] == pytest.approx(0.05 * (96 * 128 - 256), rel=0.15)


def test_train_keeps_earlier_results(trained: Path, config: Path, cli: Command) -> None:
    assert_users_mistake(cli("train", "--config", config, "--out", trained), "--overwrite")


def test_evaluate_scores_the_test_side_on_all_its_labels(
    trained: Path, config: Path, fresh: Command, tmp_path: Path
) -> None:
    model = trained / "last.safetensors"
    result = fresh("evaluate", "--model", model, "--config", config, "--split", "test", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert np.sum(metrics["confusion"]) == 96 * 128 - 256
    assert metrics["miou"] > 0.8
    assert f"mIoU {metrics['miou']:.3f}" in result.stdout


def test_predict_then_evaluate_the_map(trained: Path, small: SmallScene, cli: Command, tmp_path: Path) -> None:
    target, model = tmp_path / "map.tif", trained / "last.safetensors"
    options = ("--probabilities", "--polygons", "--overlap", "8")
    result = cli("predict", small.scene, "--model", model, "--out", target, *options)
    assert result.returncode == 0, result.stderr
    assert "hectares" in result.stdout
    names = {file.name for file in tmp_path.iterdir()}
    assert {"map.tif", "map.qml", "map_confidence.tif", "map_probabilities.tif"} <= names
    scored = cli("evaluate", "--map", target, "--truth", small.truth, "--out", tmp_path / "scores")
    assert scored.returncode == 0, scored.stderr
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["miou"] > 0.8


def test_predict_does_what_can_be_done_and_says_what_could_not(
    trained: Path, small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    model = trained / "last.safetensors"
    result = cli("predict", small.scene, tmp_path / "nowhere.tif", "--model", model, "--out", tmp_path / "maps")
    assert_users_mistake(result, "nowhere.tif")
    assert (tmp_path / "maps" / "scene_map.tif").is_file()
    again = cli("predict", small.scene, "--model", model, "--out", tmp_path / "maps" / "scene_map.tif")
    assert_users_mistake(again, "overwrite")


# A limit on the size of files does what a full disk does: writing fails in the middle.
FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
from sparsecover.cli import run
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on the size of files are POSIX")
@pytest.mark.parametrize("size", [200, 700, 1500])
def test_a_full_disk_leaves_nothing_half_written(size: int, trained: Path, small: SmallScene, tmp_path: Path) -> None:
    command = [size, "predict", small.scene, "--model", trained / "last.safetensors", "--out", tmp_path / "map.tif"]
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert_users_mistake(result, "map.tif", "cannot be written")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="limits on the size of files are POSIX")
def test_a_disk_that_fills_up_during_map_leaves_no_result(small: SmallScene, tmp_path: Path) -> None:
    command = [
        3000,
        "map",
        small.scene,
        "--labels",
        small.labels,
        "--field",
        "class",
        *QUICK,
        "--out",
        tmp_path / "out",
    ]
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert_users_mistake(result, "cannot be written")
    assert not (tmp_path / "out").exists()


def test_predict_refuses_other_bands(trained: Path, small: SmallScene, cli: Command, tmp_path: Path) -> None:
    result = cli("predict", small.truth, "--model", trained / "last.safetensors", "--out", tmp_path / "map.tif")
    assert_users_mistake(result, "1 band ", "3")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "text", "changed"])
def test_damaged_checkpoints_are_refused(
    damage: str, trained: Path, small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    content = (trained / "last.safetensors").read_bytes()
    broken = tmp_path / "model.safetensors"
    flipped = content[:-9] + bytes([content[-9] ^ 255]) + content[-8:]
    broken.write_bytes({"cut": content[:-100], "text": b"not a model", "changed": flipped}[damage])
    result = cli("predict", small.scene, "--model", broken, "--out", tmp_path / "map.tif")
    assert_users_mistake(result, "model.safetensors")
    assert not (tmp_path / "map.tif").exists()


def test_check_tells_good_from_bad_by_its_exit_code(
    small: SmallScene, config: Path, cli: Command, fresh: Command
) -> None:
    good = fresh("check", small.scene, "--labels", small.labels, "--field", "class")
    assert good.returncode == 0, good.stdout
    assert "water" in good.stdout
    bad = cli("check", small.scene, "--labels", small.labels, "--field", "clas")
    assert bad.returncode == 2
    assert "clas" in bad.stdout
    numbered = cli("check", small.scene, "--labels", small.labels, "--field", "number")
    assert "looks like an identifier" in numbered.stdout
    assert "Few groups of labels" in numbered.stdout  # they may be classes after all
    twins = cli("check", "--config", config)
    assert twins.returncode == 0
    assert "byte-identical" in twins.stdout  # the two scenes of the configuration are copies


def test_a_check_looks_at_the_bands_and_pixels_that_a_map_would(small: SmallScene, cli: Command) -> None:
    arguments = ("check", small.scene, "--labels", small.labels, "--field", "class")
    whole, coarse = cli(*arguments), cli(*arguments, "--resolution", "4", "--bands", "1,2")
    counts = [sum(int(n) for n in re.findall(r"(\d+) │$", r.stdout, re.M)) for r in (whole, coarse)]
    assert coarse.returncode == 0, coarse.stdout
    assert counts[1] < counts[0] / 2
    assert_users_mistake(cli(*arguments, "--resolution", "0"), "resolution")


def test_a_check_takes_folders_and_patterns(small: SmallScene, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(small.scene.read_bytes())
    options = ["--labels", str(small.labels), "--field", "class"]
    told = []
    for scenes in ([tmp_path], [tmp_path / "*.tif"], [tmp_path / "a.tif", tmp_path / "b.tif"]):
        assert run(["check", *map(str, scenes), *options]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] == told[2]
    assert run(["check", str(tmp_path / "*.jp2"), *options]) == 2
    assert "holds no rasters" in capsys.readouterr().out


def test_a_check_that_cannot_read_shows_the_error_alone(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    result = cli("check", tmp_path / "empty.tif", "--labels", small.labels, "--field", "class")
    assert result.returncode == 2
    assert result.stdout.startswith("error")


def test_labels_burn_simulate_and_info(small: SmallScene, cli: Command, fresh: Command, tmp_path: Path) -> None:
    burnt, partial = tmp_path / "burnt.tif", tmp_path / "partial.tif"
    result = fresh("labels", "burn", small.scene, "--labels", small.labels, "--field", "class", "--out", burnt)
    assert result.returncode == 0, result.stderr
    with rasterio.open(burnt) as file:
        values = file.read(1)
    assert file.nodata == 255
    assert set(np.unique(values)) == {0, 1, 255}
    arguments = ("--sampler", "per_class", "-n", 40, "--seed", 3, "--out", partial)
    result = cli("labels", "simulate", small.truth, *arguments)
    assert result.returncode == 0, result.stderr
    with rasterio.open(partial) as file:
        kept = file.read(1)
    assert [(kept == code).sum() for code in (0, 1)] == [40, 40]
    info = cli("labels", "info", partial)
    assert re.search(r"80 of 12,288 pixels", info.stdout), info.stdout


def test_models_and_doctor_print_tables(fresh: Command) -> None:
    doctor = fresh("doctor")
    assert doctor.returncode == 0, doctor.stderr
    assert "torch" in doctor.stdout
    models = fresh("models")
    assert models.returncode == 0, models.stderr
    assert "unetplusplus" in models.stdout.lower() or "unetpp" in models.stdout.lower()


def test_registered_parts_are_usable_by_name(small: SmallScene, tmp_path: Path) -> None:
    import torch

    import sparsecover as sc

    def tiny(in_channels: int, num_classes: int) -> torch.nn.Module:
        return torch.nn.Conv2d(in_channels, num_classes, 1)

    sc.register_model("tiny-for-this-test", tiny)
    scene = sc.open_scene(small.scene)
    labels = sc.burn_labels(small.labels, scene.grid, field="class")
    config = sc.Config.from_dict(
        {"model": {"name": "tiny-for-this-test"}, "patches": {"size_px": 32, "per_epoch": 8}, "train": {"epochs": 1}}
    )
    checkpoint = sc.fit([(scene, labels)], config, tmp_path / "run")
    assert sc.load_checkpoint(tmp_path / "run" / "last.safetensors").model_spec.name == "tiny-for-this-test"
    assert sc.predict(scene, checkpoint, tmp_path / "map.tif").map.is_file()
