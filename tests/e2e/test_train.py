"""``sparsecover train``: stopped, killed, short of disk, on several devices, in folds.

In processes of their own where a process must end or be ended; elsewhere by the command line in this one, quicker.
"""

import csv
import hashlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml

from sparsecover.checkpoint import load_checkpoint
from sparsecover.cli import run
from sparsecover.errors import SceneError
from sparsecover.grid import Window
from sparsecover.raster import Scene
from sparsecover.training import device

from .conftest import SmallScene, assert_users_mistake
from .warm import COMMAND, run_python

Result = subprocess.CompletedProcess[str]
Inside = Callable[..., Result]

# Training whose process is struck at a point of its work: in a step (there are gradients, but the weights have not
# changed), a validation, while a file is written, or windows are read; at a given call of it, in a given process.
STRUCK = """
import itertools, os, signal, sys, threading
from sparsecover import cli
from sparsecover.errors import SceneError
from sparsecover.patches import PatchReader
from sparsecover.training import loader, stepper, validation

loader._STALLED_S = 1.0
owner, name = {
    "step": (stepper.Stepper, "_gradients"), "validation": (validation, "_confusion"), "saving": (os, "fsync"),
    "reading": (PatchReader, "batch"),
}[sys.argv.pop(1)]
def fail():
    raise SceneError("b cannot be read: the disk has gone.")
action = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "fail": fail, "hang": threading.Event().wait,
    "term": lambda: signal.raise_signal(signal.SIGTERM), "int": lambda: signal.raise_signal(signal.SIGINT),
}[sys.argv.pop(1)]
call, process = sys.argv.pop(1).split("@")
real, calls = getattr(owner, name), itertools.count(1)
def struck(*arguments):
    if next(calls) == int(call) and os.environ.get("LOCAL_RANK", "0") == process:
        action()
    return real(*arguments)
setattr(owner, name, struck)
cli.main()
"""


def train(*arguments: object, struck: str = "", largest_file: int | None = None) -> Result:
    """``sparsecover train`` in a process of its own; struck at ``POINT ACTION CALL@PROCESS``."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))\n"
    code = (limit if largest_file else "") + (STRUCK if struck else COMMAND)
    return run_python(code, *struck.split(), "train", *arguments)


@pytest.fixture
def inside(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """``sparsecover ARGUMENTS`` in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run(list(map(str, arguments)))
        return subprocess.CompletedProcess([], code, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def config(small: SmallScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes with dense labels, two of them to validate on; four epochs of four steps."""
    folder = tmp_path_factory.mktemp("config")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for scene in "abcdef":
        (folder / "images" / f"{scene}.tif").write_bytes(small.scene.read_bytes())
        (folder / "masks" / f"{scene}.tif").write_bytes(small.truth.read_bytes())
    return write_config(folder / "run.yaml", folder, {})


def write_config(file: Path, root: Path, changes: dict[str, Any]) -> Path:
    values = {
        "data": {"root": str(root), "images": "images/*.tif", "labels": "masks/*.tif",
                 "simulate": {"sampler": "pixels", "fraction": 0.05}},
        "classes": ["water", "land"],
        "split": {"by": "pattern", "pattern": "([a-f])", "validation": ["e", "f"]},
        "patches": {"size_px": 32, "per_epoch": 16},
        "model": {"name": "unet", "base_channels": 4, "depth": 2, "norm": "group", "dropout": 0.0},
        "optim": {"lr": 0.01},
        "train": {"epochs": 4, "batch_size": 4, "precision": "fp32"},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(values | changes))
    return file


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open() as file:
        return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    result = train("--config", config, "--out", out)
    assert result.returncode == 0, result.stderr
    return out


def assert_goes_on_to(whole: Path, config: Path, out: Path) -> None:
    result = train("--config", config, "--out", out, "--resume")
    assert result.returncode == 0, result.stderr
    assert "Going on after step" in result.stderr
    assert digest(out / "last.safetensors") == digest(whole / "last.safetensors")
    for name in ("best_loss", "best_iou"):  # these may tell how often the state was saved when they were written
        ours, theirs = (load_checkpoint(folder / f"{name}.safetensors") for folder in (out, whole))
        assert ours.metrics == theirs.metrics
        assert all(torch.equal(ours.state[key], theirs.state[key]) for key in {*ours.state, *theirs.state})
    assert history(out) == history(whole)
    assert not list(out.glob(".*"))


def test_a_run_tells_what_it_stands_on(whole: Path, config: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["split"]["validation"]["scenes"] == ["e", "f"]
    scenes = {scene["name"]: scene["files"][0] for scene in manifest["scenes"]}
    assert sorted(scenes) == list("abcdef")
    for name, entry in scenes.items():
        assert entry["sha256"] == digest(config.parent / "images" / f"{name}.tif")
    assert manifest["environment"]["packages"]["torch"]
    assert len(manifest["code"]["source_sha256"]) == 64


def test_killed_in_a_step_in_validation_and_while_saving_it_ends_with_the_same_bytes(
    config: Path, whole: Path, tmp_path: Path
) -> None:
    often = ("--config", config, "--out", tmp_path, "--resume", "--set", "train.save_every_minutes=0.00001")
    for struck in ("step kill 6@0", "validation kill 3@0", "saving kill 9@0"):
        assert train(*often, struck=struck).returncode == -signal.SIGKILL, struck
        assert (tmp_path / "state.pt").is_file()
    assert list(tmp_path.glob(".*.tmp"))  # struck with a file half-written
    assert_goes_on_to(whole, config, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("point", ["step", "validation", "saving"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    config: Path, whole: Path, tmp_path: Path, point: str
) -> None:
    often = ("--config", config, "--out", tmp_path, "--resume", "--set", "train.save_every_minutes=0.00001")
    for call in (3, 2, 9 if point == "saving" else 5, 4, 3):  # the ninth file that is saved comes after the first state
        assert train(*often, struck=f"{point} kill {call}@0").returncode == -signal.SIGKILL
    assert_goes_on_to(whole, config, tmp_path)


def test_stopped_by_signals_and_full_disks_it_ends_with_the_same_bytes(
    config: Path, whole: Path, tmp_path: Path
) -> None:
    run = ("--config", config, "--out", tmp_path, "--resume")
    for struck, code in (("step term 6@0", 143), ("validation int 2@0", 130)):
        stopped = train(*run, struck=struck)
        assert stopped.returncode == code, stopped.stderr
        assert "go on with --resume" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "state.pt").stat().st_size > (tmp_path / "last.safetensors").stat().st_size + 2000
    for name in ("state.pt", "last.safetensors"):
        before = digest(tmp_path / name)
        full = train(*run, largest_file=(tmp_path / name).stat().st_size - 1000)
        assert_users_mistake(full, f"{name} cannot be written")
        assert digest(tmp_path / name) == before
        assert not list(tmp_path.glob(".*"))
    load_checkpoint(tmp_path / "last.safetensors")
    assert_goes_on_to(whole, config, tmp_path)


def test_data_alone_are_trained_on_by_what_their_labels_call_for(config: Path, inside: Inside, tmp_path: Path) -> None:
    values = yaml.safe_load(config.read_text())
    alone = tmp_path / "data.yaml"
    alone.write_text(yaml.safe_dump({key: values[key] for key in ("data", "classes", "split")}))
    result = inside("train", "--config", alone, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert "labelled pixels are below" in result.stderr
    assert "Trained hypercolumns: validation mIoU" in result.stdout
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["name"] == "hypercolumns"
    folds = inside(
        "train", "--config", alone, "--out", tmp_path / "folds", "--set", "split={by: scene, folds: 2}",
        "--set", "model={name: random-forest, trees: 5}",
    )  # fmt: skip
    assert folds.returncode == 0, folds.stderr
    scores = json.loads((tmp_path / "folds" / "metrics.json").read_text())
    assert min(fold["miou"] for fold in scores["folds"]) > 0.3  # folds of a forest are scored, too


def test_short_memory_is_explained(config: Path, inside: Inside, tmp_path: Path) -> None:
    result = inside("train", "--config", config, "--out", tmp_path, "--set", "train.batch_size=10000000000")
    assert_users_mistake(result, "Memory is short", "10000000000 windows", "Lower train.batch_size")


EXPLODING = ("--set", "optim.lr=1e30", "--set", "optim.name=sgd", "--set", "train.clip=null")


def test_a_loss_that_explodes_names_windows_step_and_rate(config: Path, inside: Inside, tmp_path: Path) -> None:
    result = inside("train", "--config", config, "--out", tmp_path, *EXPLODING)
    assert_users_mistake(result, "at step", "learning rate", "rows from", "Lower optim.lr")
    listed = (tmp_path / "diverged.txt").read_text().splitlines()
    assert sum("rows from" in line for line in listed[1:]) == 4


def test_a_scene_that_fails_in_the_middle_is_named_or_skipped(
    config: Path, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reads = Scene.read, 0

    def read(scene: Scene, window: Window | None = None) -> Any:
        nonlocal reads
        reads += scene.name == "b" and window is not None
        if scene.name == "b" and reads > 5:
            raise SceneError("b cannot be read: the disk has gone.")
        return real(scene, window)

    monkeypatch.setattr(Scene, "read", read)
    arguments = ("train", "--config", config, "--set", "train.epochs=3", "--set", "patches.cache=none")
    stopped = inside(*arguments, "--out", tmp_path / "a")
    assert_users_mistake(stopped, "b cannot be read")
    assert "Memory after the first step" in stopped.stderr
    reads = 0
    skipped = inside(*arguments, "--out", tmp_path / "b", "--on-read-error", "skip")
    assert skipped.returncode == 0, skipped.stderr
    assert "left out" in skipped.stderr
    assert "b cannot be read" in skipped.stderr


def test_a_reader_that_hangs_does_not_keep_the_training_from_ending(config: Path, tmp_path: Path) -> None:
    hung = train("--config", config, "--out", tmp_path, struck="reading hang 3@0")
    assert_users_mistake(hung, "No batch came", "--resume")


def test_find_lr_draws_and_suggests(config: Path, inside: Inside, tmp_path: Path) -> None:
    result = inside("train", "--config", config, "--out", tmp_path, "--find-lr")
    assert result.returncode == 0, result.stderr
    rate = float(result.stdout.split("learning rate of ")[1].split(":")[0])
    assert 1e-6 < rate < 1
    assert (tmp_path / "learning_rate.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "learning_rate.csv").read_text().splitlines()
    assert rows[0] == "learning_rate,loss"
    assert len(rows) > 10
    assert not (tmp_path / "last.safetensors").exists()


def test_folds_are_scored_pooled_resumed_and_predict_together(
    config: Path, small: SmallScene, inside: Inside, tmp_path: Path
) -> None:
    out = tmp_path / "folds"
    split, short = {"by": "scene", "folds": 3}, {"epochs": 2, "batch_size": 4, "precision": "fp32"}
    folds = write_config(tmp_path / "folds.yaml", config.parent, {"split": split, "train": short})
    killed = train("--config", folds, "--out", out, struck="step kill 14@0")  # in the second epoch of the second fold
    assert killed.returncode == -signal.SIGKILL
    first = (out / "fold_1" / "last.safetensors").stat().st_mtime_ns
    result = inside("train", "--config", folds, "--out", out, "--resume")
    assert result.returncode == 0, result.stderr
    assert "Going on after step 4 of 8" in result.stderr
    assert (out / "fold_1" / "last.safetensors").stat().st_mtime_ns == first  # it went on, not anew
    metrics = assert_pooled(out, 3)
    assert np.sum(metrics["confusion"]) == 6 * (96 * 128 - 256)  # each labelled pixel once, with its dense labels
    assert "pooled" in result.stdout
    models = [part for k in (1, 2, 3) for part in ("--model", out / f"fold_{k}" / "last.safetensors")]
    mapped = inside("predict", small.scene, *models, "--out", tmp_path / "map.tif")
    assert mapped.returncode == 0, mapped.stderr
    with rasterio.open(tmp_path / "map.tif") as file:
        assert set(np.unique(file.read(1))) <= {0, 1, file.nodata}


def assert_pooled(out: Path, folds: int) -> dict[str, Any]:
    """The scores in metrics.json are those of the folds, added up and spread."""
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    assert len(metrics["folds"]) == folds
    assert np.sum([fold["confusion"] for fold in metrics["folds"]], 0).tolist() == metrics["confusion"]
    for number, fold in enumerate(metrics["folds"], start=1):
        assert fold["confusion"] == json.loads((out / f"fold_{number}" / "metrics.json").read_text())["confusion"]
    scores = [fold["miou"] for fold in metrics["folds"]]
    spread = metrics["spread"]["miou"]
    assert spread["mean"] == pytest.approx(np.mean(scores))
    assert spread["std"] == pytest.approx(np.std(scores, ddof=1))
    assert spread["interval"][0] <= spread["mean"] <= spread["interval"][1]
    return metrics


@pytest.mark.parametrize("by", ["block", "polygon"])
def test_folds_of_one_scene_hold_each_label_out_once(
    by: str, small: SmallScene, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter(["fp32", "bf16", "bf16"])  # what a probe would choose for each fold
    monkeypatch.setattr(device, "_probe", lambda *_: (next(found), "found by a test"))
    data = {"root": str(small.folder), "images": "scene.tif"}
    data |= {"labels": "labels.gpkg", "field": "class"} if by == "polygon" else {"labels": "truth.tif"}
    split = {"by": by, "folds": 3, "block_px": 16, "buffer_px": 4}
    changes = {"data": data, "split": split, "train": {"epochs": 1, "batch_size": 4}}
    folds = write_config(tmp_path / "folds.yaml", small.folder, changes)
    result = inside("train", "--config", folds, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    for number in (1, 2, 3):
        checkpoint = load_checkpoint(tmp_path / "out" / f"fold_{number}" / "last.safetensors")
        assert checkpoint.config["train"]["precision"] == "fp32"  # trained alike
    pooled = np.sum(assert_pooled(tmp_path / "out", 3)["confusion"])
    used = [
        json.loads((tmp_path / "out" / f"fold_{number}" / "metrics.json").read_text())["labelled_pixels"]
        for number in (1, 2, 3)
    ]
    labelled = sum(side["validation"] for side in used)
    assert pooled == labelled
    if by == "block":
        assert labelled == 96 * 128 - 256
    for side in used:  # what lies within the buffer of held-out labels does not train
        assert 0 < side["train"] <= labelled - side["validation"]
    assert any(side["train"] < labelled - side["validation"] for side in used) == (by == "block")


def test_more_folds_than_scenes_are_refused(config: Path, inside: Inside, tmp_path: Path) -> None:
    settings = ("--set", "split.by=scene", "--set", "split.validation=[]", "--set", "split.folds=7")
    assert_users_mistake(inside("train", "--config", config, "--out", tmp_path / "out", *settings), "7 folds", "6")
    assert not (tmp_path / "out").exists()


def test_two_devices_stop_go_on_and_train_as_one(config: Path, inside: Inside, tmp_path: Path) -> None:
    # Without augmentation, which each process draws for itself.
    settings = ("--config", config, "--set", "train.epochs=2", "--set", "augment=none")
    two = (*settings, "--out", tmp_path / "two", "--devices", 2, "--deterministic", "--set", "train.batch_size=4")
    stopped = train(*two, struck="step term 1@0")
    assert stopped.returncode == 143, stopped.stderr
    assert "go on with --resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    ended = train(*two, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Trained unet") == 1
    one = inside("train", *settings, "--out", tmp_path / "one", "--set", "train.batch_size=8")
    assert one.returncode == 0, one.stderr
    for ours, theirs in zip(history(tmp_path / "two"), history(tmp_path / "one"), strict=True):
        assert ours["step"] == theirs["step"]
        for column in ("train_loss", "val_loss", "miou"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=2e-3), column


@pytest.mark.parametrize(
    ("struck", "settings", "words"),
    [
        ("reading fail 8@1", (), ("b cannot be read", "Process 1 of 2", "--resume")),
        ("step kill 3@1", (), ("process 1 of 2 has ended by signal 9", "--resume")),
        ("", EXPLODING, ("Lower optim.lr",)),
    ],
)
def test_where_one_of_two_devices_fails_both_end_with_one_message(
    config: Path, tmp_path: Path, struck: str, settings: tuple[str, ...], words: tuple[str, ...]
) -> None:
    failed = train("--config", config, "--out", tmp_path, "--devices", 2, *settings, struck=struck)
    assert_users_mistake(failed, *words)
    assert failed.stderr.count("Error:") == 1
    if settings:
        assert len((tmp_path / "diverged.txt").read_text().split("rows from")) > 8  # the windows of both
