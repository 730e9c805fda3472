"""``sparsecover train`` in fresh processes: stopped, killed, short of disk, on several devices, in folds."""

import csv
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

from sparsecover.checkpoint import load_checkpoint

from .conftest import Command, SmallScene, assert_users_mistake

EPOCHS = 20


@pytest.fixture(scope="module")
def config(small: SmallScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes with dense labels, two of them to validate on; a training of some hundred short steps."""
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
        "patches": {"size_px": 32, "per_epoch": 32},
        "model": {"name": "unet", "base_channels": 4, "depth": 2, "norm": "group", "dropout": 0.0},
        "optim": {"lr": 0.01},
        "train": {"epochs": EPOCHS, "batch_size": 4, "precision": "fp32"},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(values | changes))
    return file


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run ``sparsecover train`` in the background; ``limit_bytes`` is the largest file that it may write."""
    started = []

    def run(*arguments: object, limit_bytes: int | None = None) -> "subprocess.Popen[str]":
        def limit() -> None:
            if limit_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "sparsecover", "train", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
                preexec_fn=limit,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open() as file:
        return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(config: Path, cli: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    result = cli("train", "--config", config, "--out", out)
    assert result.returncode == 0, result.stderr
    return out


def assert_same(out: Path, whole: Path) -> None:
    for name in ("last", "best_loss", "best_iou"):
        assert digest(out / f"{name}.safetensors") == digest(whole / f"{name}.safetensors"), name
    assert history(out) == history(whole)


def test_a_run_tells_what_it_stands_on(whole: Path, config: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["split"]["validation"]["scenes"] == ["e", "f"]
    scenes = {scene["name"]: scene["files"][0] for scene in manifest["scenes"]}
    assert sorted(scenes) == list("abcdef")
    for name, entry in scenes.items():
        assert entry["sha256"] == digest(config.parent / "images" / f"{name}.tif")
    assert manifest["environment"]["packages"]["torch"]
    assert len(manifest["code"]["source_sha256"]) == 64


def kill_again_and_again(start: Start, config: Path, out: Path, kills: int, seed: int) -> int:
    """Kill a training at random moments of its work and let it go on; returns how often it was killed at work."""
    rng, done = random.Random(seed), 0
    for _ in range(kills):
        before = (out / "state.pt").stat().st_mtime_ns if (out / "state.pt").exists() else 0
        process = start("--config", config, "--out", out, "--resume", "--set", "train.save_every_minutes=0.00001")
        state = out / "state.pt"
        wait_for(lambda: state.exists() and state.stat().st_mtime_ns > before, process)  # noqa: B023
        time.sleep(rng.random() * 0.2)
        process.kill()
        done += process.wait() == -signal.SIGKILL
        process.communicate()
    return done


def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    config: Path, whole: Path, cli: Command, start: Start, tmp_path: Path
) -> None:
    assert kill_again_and_again(start, config, tmp_path, 2, seed=0) > 0
    result = cli("train", "--config", config, "--out", tmp_path, "--resume")
    assert result.returncode == 0, result.stderr
    assert "Going on after step" in result.stderr
    assert_same(tmp_path, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_killed_more_often_it_ends_with_the_same_bytes(
    config: Path, whole: Path, cli: Command, start: Start, tmp_path: Path, seed: int
) -> None:
    kill_again_and_again(start, config, tmp_path, 5, seed)
    result = cli("train", "--config", config, "--out", tmp_path, "--resume")
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_and_leave_with_their_code(
    config: Path, whole: Path, cli: Command, start: Start, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start("--config", config, "--out", tmp_path)
    wait_for((tmp_path / "history.csv").exists, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == code, said
    assert "go on with --resume" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob(".*"))
    result = cli("train", "--config", config, "--out", tmp_path, "--resume")
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, whole)


def test_a_full_disk_leaves_the_previous_files_and_the_run_can_go_on(
    config: Path, whole: Path, cli: Command, start: Start, tmp_path: Path
) -> None:
    process = start("--config", config, "--out", tmp_path)
    wait_for((tmp_path / "history.csv").exists, process)
    process.terminate()
    process.communicate(timeout=300)
    assert (tmp_path / "state.pt").stat().st_size > (tmp_path / "last.safetensors").stat().st_size + 2000
    for name in ("state.pt", "last.safetensors"):
        before = digest(tmp_path / name)
        largest = (tmp_path / name).stat().st_size - 1000
        process = start("--config", config, "--out", tmp_path, "--resume", limit_bytes=largest)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 2, said
        assert f"{name} cannot be written" in said
        assert "Traceback" not in said
        assert digest(tmp_path / name) == before
        assert not list(tmp_path.glob(".*"))
    load_checkpoint(tmp_path / "last.safetensors")
    assert cli("train", "--config", config, "--out", tmp_path, "--resume").returncode == 0
    assert_same(tmp_path, whole)


def test_short_memory_is_explained(config: Path, cli: Command, tmp_path: Path) -> None:
    result = cli("train", "--config", config, "--out", tmp_path, "--set", "train.batch_size=10000000000")
    assert_users_mistake(result, "Memory is short", "10000000000 windows", "Lower train.batch_size")


def test_a_loss_that_explodes_names_windows_step_and_rate(config: Path, cli: Command, tmp_path: Path) -> None:
    settings = ("--set", "optim.lr=1e30", "--set", "optim.name=sgd", "--set", "train.clip=null")
    result = cli("train", "--config", config, "--out", tmp_path, *settings)
    assert_users_mistake(result, "at step", "learning rate", "rows from", "Lower optim.lr")
    listed = (tmp_path / "diverged.txt").read_text().splitlines()
    assert sum("rows from" in line for line in listed[1:]) == 4


BREAKING = """
import sys, threading
from pathlib import Path
from sparsecover.errors import SceneError
from sparsecover.patches import PatchReader
from sparsecover.training import loader
from sparsecover import cli

real, kind = PatchReader._read, sys.argv.pop(1)
loader._STALLED_S = 1.0
calls = 0

class Broken:
    def __init__(self, scene):
        self.scene = scene
    def __getattr__(self, name):
        return getattr(self.scene, name)
    def read(self, window):
        global calls
        calls += self.scene.name == "b"
        if self.scene.name == "b" and calls > 5:
            if kind == "stall":
                threading.Event().wait()
            raise SceneError(f"{{self.scene.name}} cannot be read: the disk has gone.")
        return self.scene.read(window)

PatchReader._read = lambda self, scene, window: real(self, Broken(scene), window)
cli.main()
"""


def broken(kind: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Training whose scene b fails or hangs after some windows."""
    return subprocess.run(
        [sys.executable, "-c", BREAKING.replace("{{", "{").replace("}}", "}"), kind, "train", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def test_a_scene_that_fails_in_the_middle_is_named_or_skipped(config: Path, tmp_path: Path) -> None:
    short = ("--config", config, "--set", "train.epochs=3")
    assert_users_mistake(broken("fail", *short, "--out", tmp_path / "a"), "b cannot be read")
    skipped = broken("fail", *short, "--out", tmp_path / "b", "--on-read-error", "skip")
    assert skipped.returncode == 0, skipped.stderr
    assert "left out" in skipped.stderr
    assert "b cannot be read" in skipped.stderr


def test_a_reader_that_hangs_does_not_keep_the_training_from_ending(config: Path, tmp_path: Path) -> None:
    assert_users_mistake(broken("stall", "--config", config, "--out", tmp_path), "No batch came", "--resume")


def test_find_lr_draws_and_suggests(config: Path, cli: Command, tmp_path: Path) -> None:
    result = cli("train", "--config", config, "--out", tmp_path, "--find-lr")
    assert result.returncode == 0, result.stderr
    rate = float(result.stdout.split("learning rate of ")[1].split(":")[0])
    assert 1e-6 < rate < 1
    assert (tmp_path / "learning_rate.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "learning_rate.csv").read_text().splitlines()
    assert rows[0] == "learning_rate,loss"
    assert len(rows) > 10
    assert not (tmp_path / "last.safetensors").exists()


def test_folds_are_scored_pooled_resumed_and_predict_together(
    config: Path, small: SmallScene, cli: Command, start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "folds"
    folds = write_config(
        tmp_path / "folds.yaml", config.parent, {"split": {"by": "scene", "folds": 3}, "train": {"epochs": 3}}
    )
    process = start("--config", folds, "--out", out)
    wait_for((out / "fold_2" / "history.csv").exists, process)
    process.kill()
    process.communicate()
    first = (out / "fold_1" / "last.safetensors").stat().st_mtime_ns
    result = cli("train", "--config", folds, "--out", out, "--resume")
    assert result.returncode == 0, result.stderr
    assert (out / "fold_1" / "last.safetensors").stat().st_mtime_ns == first  # it went on, not anew
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(metrics["folds"]) == 3
    assert np.sum(metrics["confusion"]) == 6 * (96 * 128 - 256)  # each labelled pixel once, with its dense labels
    assert np.sum([fold["confusion"] for fold in metrics["folds"]], 0).tolist() == metrics["confusion"]
    scores = [fold["miou"] for fold in metrics["folds"]]
    spread = metrics["spread"]["miou"]
    assert spread["mean"] == pytest.approx(np.mean(scores))
    assert spread["std"] == pytest.approx(np.std(scores, ddof=1))
    assert spread["interval"][0] <= spread["mean"] <= spread["interval"][1]
    assert "pooled" in result.stdout
    models = [part for k in (1, 2, 3) for part in ("--model", out / f"fold_{k}" / "last.safetensors")]
    mapped = cli("predict", small.scene, *models, "--out", tmp_path / "map.tif")
    assert mapped.returncode == 0, mapped.stderr
    with rasterio.open(tmp_path / "map.tif") as file:
        assert set(np.unique(file.read(1))) <= {0, 1, file.nodata}


def test_more_folds_than_scenes_are_refused(config: Path, cli: Command, tmp_path: Path) -> None:
    settings = ("--set", "split.by=scene", "--set", "split.folds=7")
    assert_users_mistake(cli("train", "--config", config, "--out", tmp_path / "out", *settings), "7 folds", "6")
    assert not (tmp_path / "out").exists()


def test_two_devices_train_as_one_and_talk_once(config: Path, cli: Command, tmp_path: Path) -> None:
    # Without augmentation, which each process draws for itself; accumulated batches are those of two processes.
    settings = ("--set", "train.epochs=2", "--set", "augment=none")
    two = cli("train", "--config", config, "--out", tmp_path / "two", "--devices", 2, "--deterministic",
              *settings, "--set", "train.batch_size=4")  # fmt: skip
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("Trained unet") == 1
    one = cli("train", "--config", config, "--out", tmp_path / "one", *settings, "--set", "train.batch_size=8")
    assert one.returncode == 0, one.stderr
    for ours, theirs in zip(history(tmp_path / "two"), history(tmp_path / "one"), strict=True):
        assert ours["step"] == theirs["step"]
        for column in ("train_loss", "val_loss", "miou"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=2e-3), column


def test_two_devices_stop_and_fail_together(config: Path, start: Start, tmp_path: Path) -> None:
    process = start("--config", config, "--out", tmp_path / "a", "--devices", 2)
    wait_for((tmp_path / "a" / "history.csv").exists, process)
    process.terminate()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 143, said
    assert "go on with --resume" in said
    assert "Traceback" not in said
    settings = ("--set", "optim.lr=1e30", "--set", "optim.name=sgd", "--set", "train.clip=null")
    process = start("--config", config, "--out", tmp_path / "b", "--devices", 2, *settings)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert "Lower optim.lr" in said
    assert "Traceback" not in said
    assert len((tmp_path / "b" / "diverged.txt").read_text().split("rows from")) > 8  # the windows of both
