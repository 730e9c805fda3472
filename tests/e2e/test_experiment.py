"""Studies end to end: each recipe on a tiny set in its dataset's own layout; one that stops, fails and goes on."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import layouts
from sparsecover.cli import run
from sparsecover.errors import DataError, OutputError
from sparsecover.experiments import ExperimentResult, Recipe, find_recipe, list_jobs, run_experiment
from sparsecover.experiments.jobs import cells
from sparsecover.progress import Silent

from .conftest import Command, assert_users_mistake

SHORT = ("train.epochs=1", "train.precision=fp32", "train.batch_size=2", "train.workers=0", "patches.per_epoch=2",
         "patches.size_px=32", "patches.sampling=random")  # fmt: skip


class Listener(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


TINY = (*SHORT, "model.base_channels=2")
ENCODER = (*SHORT, "model.encoder=mobilenet_v2", "model.encoder_weights=null", "split.folds=2")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stripes(root: Path, count: int = 3, side: int = 40) -> Path:
    """Scenes of three classes in blocks, with noise."""
    rng = np.random.default_rng(0)
    for i in range(count):
        mask = np.zeros((side, side), np.uint8)
        mask[:, side // 3 :], mask[side // 2 :, side // 2 :] = 1, 2
        colors = np.array([[40, 60, 90], [180, 150, 90], [60, 170, 70]])[mask]
        image = (colors + rng.normal(0, 18, colors.shape)).clip(0, 255).astype(np.uint8)
        layouts.raster(root / "images" / f"tile{i}.tif", np.moveaxis(image, -1, 0))
        layouts.mask(root / "masks" / f"tile{i}.png", mask)
    return root


def landsat(root: Path) -> Path:
    """Patches of twelve bands with water and WorldCover masks."""
    rng = np.random.default_rng(0)
    for i in range(4):
        layouts.raster(root / "images" / f"{i:03}.tif", rng.integers(0, 3000, (12, 32, 32)).astype(np.int16))
        layouts.mask(root / "masks_water" / f"{i:03}.png", layouts.codes(0, 1, height=32, width=32))
        layouts.mask(
            root / "masks_worldcover" / f"{i:03}.png", layouts.codes(0, 1, 2, 3, 4, 5, 7, 8, height=32, width=32)
        )
    return root


def dubai(root: Path) -> Path:
    """Parts of tiles."""
    for tile in (1, 3, 4, 5, 7):
        for part in range(1, 10):
            layouts.image(root / "images" / f"tile{tile}_part_{part:03}.jpg", 64, 64, seed=part)
            mask = layouts.codes(0, 1, 2, 3, 4, height=64, width=64)
            layouts.mask(root / "masks_id" / f"tile{tile}_part_{part:03}.png", mask)
    return root


SETS = {  # maker of the tiny set, settings, and which cells of the quick form are run
    "landcoverai-partial": (layouts.landcoverai, [*TINY, "model.depth=2", "data.resize=0.1"], (0, 3, 7)),
    "landcoverai-partial-better": (layouts.landcoverai, [*TINY, "model.depth=2", "data.resize=0.1"], (0, 5, 9)),
    "deepglobe-pce": (layouts.deepglobe, [*TINY, "model.depth=2"], (0, 7, 11)),
    "oxford-pet-unet-variants": (layouts.oxford_pet, [*TINY, "model.depth=2", "data.resize=[32,32]"], (0, 3, 4)),
    "eo-water": (landsat, ENCODER, (0, 1, 3)),
    "eo-multiclass": (landsat, ENCODER, (0, 3)),
    "dubai-label-efficiency": (dubai, [*TINY, "model.depth=2"], (2, 5, -2)),
    "landsat12-label-efficiency": (landsat, [*TINY, "model.depth=2"], (3, -2)),
}


def shortened(name: str, which: tuple[int, ...], folder: Path) -> Path:
    """A recipe whose quick form has few cells."""
    source = find_recipe(name)
    quick = cells(Recipe.from_yaml(source).adapted(quick=True))
    values = yaml.safe_load(source.read_text(encoding="utf-8"))
    values["quick"] = {**values["quick"], "only": [quick[number] for number in which]}
    shutil.copy(source.parent / "deepglobe-classes.csv", folder)
    (folder / source.name).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder / source.name


@pytest.mark.parametrize("name", SETS)
def test_recipes_run_in_their_quick_form(name: str, tmp_path: Path) -> None:
    make, settings, which = SETS[name]
    given = [f"data.root={make(tmp_path / 'data')}", *settings]
    result = run_experiment(shortened(name, which, tmp_path), tmp_path / "out", quick=True, settings=given)
    assert result.failures == []
    assert result.exit_code == 0
    rows = rows_of(tmp_path / "out" / "results.csv")
    assert rows
    assert all(row["state"] == "done" and 0 <= float(row["miou"]) <= 1 for row in rows)
    assert all(int(row["labelled_pixels"]) > 0 and float(row["seconds"]) > 0 for row in rows)
    plots = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    kind = "label_efficiency" if result.recipe.budget else "scores"
    assert any(plot.startswith(kind) and plot.endswith(".svg") for plot in plots)
    assert list((tmp_path / "out" / "sheets").glob("*.png"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert result.recipe.title in page
    for published in (row.published for row in result.rows if row.published):
        assert f"{published.miou or published.accuracy:.4f}" in (tmp_path / "out" / "summary.md").read_text()


def study(folder: Path, **changes: object) -> Path:
    """A small study of a network and a forest over two folds."""
    stripes(folder / "data", 4)
    values = {
        "title": "Stripes",
        "base": {
            "data": {"root": str(folder / "data"), "images": "images/*.tif", "labels": "masks/*.png",
                     "simulate": {"sampler": "pixels", "fraction": 0.1}},
            "classes": ["water", "land", "tree"],
            "split": {"by": "scene", "folds": 2},
            "patches": {"size_px": 32, "per_epoch": 2},
            "model": {"name": "unet", "base_channels": 2, "depth": 2},
            "train": {"epochs": 1, "batch_size": 2, "workers": 0, "precision": "fp32"},
        },
        "grid": {"method": {"U-Net": {}, "forest": {"model": {"name": "random-forest", "trees": 5}}}},
        "baseline": {"method": "forest"},
        **changes,
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return folder / "study.yaml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExperimentResult]:
    """A study that has run, two jobs at a time."""
    folder = tmp_path_factory.mktemp("study")
    return study(folder), run_experiment(folder / "study.yaml", folder / "out", jobs=2)


def states(recipe: Path, out: Path) -> dict[str, str]:
    return {name.partition(",")[0]: state for name, state in list_jobs(recipe, out)}


def test_finished_jobs_are_kept_and_only_changed_ones_are_to_do(done: tuple, tmp_path: Path) -> None:
    recipe, result = done
    assert result.exit_code == 0
    out, own = result.out, tmp_path / "study.yaml"
    first = {path: path.stat().st_mtime_ns for path in (out / "jobs").glob("*/result.json")}
    assert len(first) == 2 * 2
    listener = Listener()
    run_experiment(recipe, out, reporter=listener)
    assert any("nothing left to train" in note for note in listener.notes)
    assert {path: path.stat().st_mtime_ns for path in (out / "jobs").glob("*/result.json")} == first
    values = yaml.safe_load(recipe.read_text())
    values["grid"]["method"]["forest"]["model"]["trees"] = 6
    own.write_text(yaml.safe_dump(values, sort_keys=False))
    assert states(own, out) == {"U-Net": "done", "forest": "to do"}
    values["grid"]["method"] = {"renamed": {}, "forest": {"model": {"name": "random-forest", "trees": 5}}}
    own.write_text(yaml.safe_dump(values, sort_keys=False))
    assert states(own, out) == {"renamed": "done", "forest": "done"}
    shutil.copytree(recipe.parent / "data", tmp_path / "data")
    moved = own.write_text(recipe.read_text().replace(str(recipe.parent / "data"), str(tmp_path / "data")))
    assert moved
    assert states(own, out) == {"U-Net": "done", "forest": "done"}  # the same data elsewhere
    layouts.mask(tmp_path / "data" / "masks" / "tile0.png", np.ones((40, 40)))
    assert states(own, out) == {"U-Net": "to do", "forest": "to do"}


def test_reports_of_others_and_missing_data_are_left_alone(tmp_path: Path) -> None:
    recipe, taken = study(tmp_path), tmp_path / "map"
    taken.mkdir()
    (taken / "report.html").write_text("a map's")
    with pytest.raises(OutputError, match=r"map holds a report.html that is not of a study. Give another --out"):
        run_experiment(recipe, taken)
    with pytest.raises(OutputError, match="not of a study"):
        list_jobs(recipe, taken)
    assert [path.name for path in taken.iterdir()] == ["report.html"]
    with pytest.raises(DataError):
        run_experiment(recipe, tmp_path / "none", settings=[f"data.root={tmp_path / 'nowhere'}"])
    assert not (tmp_path / "none").exists()


def test_a_job_that_was_stopped_is_told_from_one_never_begun(done: tuple, tmp_path: Path) -> None:
    recipe, result = done
    out = tmp_path / "out"
    shutil.copytree(result.out, out)
    for path in (out / "jobs").glob("U-Net*/result.json"):
        path.unlink()
    shutil.rmtree(next((out / "jobs").glob("forest*")))
    found = [state for _, state in list_jobs(recipe, out)]
    assert sorted(found) == ["begun", "begun", "done", "to do"]
    shutil.rmtree(out / "jobs")
    assert {state for _, state in list_jobs(recipe, out)} == {"to do"}  # the tables show that it is a study's folder


def test_scores_are_pooled_over_folds_and_forests_stand_beside_networks(done: tuple) -> None:
    _, result = done
    network, forest = result.rows
    assert {scene for o in forest.outcomes for scene in o.scenes} == {f"tile{i}" for i in range(4)}  # each once
    assert int(forest.runs[0].sum()) == 4 * 40 * 40
    assert forest.miou.mean > 0.9
    assert forest.spent_pixels == pytest.approx(0.1 * 2 * 40 * 40, rel=0.2)
    assert network.gain == pytest.approx(network.miou.mean - forest.miou.mean)
    for outcome in (*network.outcomes, *forest.outcomes):
        assert outcome.taught.keys() == {"water", "land", "tree"}
        assert sum(outcome.taught.values()) == outcome.spent_pixels
    results = rows_of(result.out / "results.csv")
    assert {row["fold"] for row in results} == {"fold 1", "fold 2"}
    assert all(float(row["peak_memory_mib"]) > 50 for row in results)


def test_a_failure_is_shown_and_does_not_lose_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {"method": {"wrong": {"data.bands": [1, 7]}, "forest": {"model": {"name": "random-forest", "trees": 5}}}}
    out = tmp_path / "out"
    arguments = ["experiment", str(study(tmp_path, grid=grid)), "--out", str(out)]
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert "Give different numbers from 1 to 3" in told.err
    assert "2 of 4 jobs failed" in told.err
    assert "Traceback" not in told.err
    assert [row["state"] for row in rows_of(out / "results.csv")] == ["failed", "failed", "done", "done"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the most common class, would have a mean IoU of" in page
    assert "the most common class, would have a mean IoU of" in " ".join(told.out.split())
    assert "wrong, fold 1, seed 0 and 1 more failed." in page
    assert "Give different numbers from 1 to 3" in page
    assert run([*arguments, "--list"]) == 0
    listed = capsys.readouterr().out
    assert (listed.count("failed"), listed.count("done")) == (2, 2)


def test_a_mistake_in_the_recipe_is_refused_before_anything_runs(cli: Command, tmp_path: Path) -> None:
    recipe = study(tmp_path, bugdet="labels")
    assert_users_mistake(cli("experiment", recipe, "--out", tmp_path / "out"), "Did you mean 'budget'")
    recipe = study(tmp_path, grid={"method": {"wrong": {"loss.name": "dicee"}, "right": {}}}, baseline={})
    assert_users_mistake(cli("experiment", recipe, "--out", tmp_path / "out"), "Did you mean 'dice'")
    assert not (tmp_path / "out").exists()


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiment", "--list"]) == 0
    assert "landcoverai-partial" in capsys.readouterr().out
    assert run(["experiment"]) == 2
    assert run(["experiment", "landcoverai-partal"]) == 2
    assert "Did you mean 'landcoverai-partial" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "setpgrp"), reason="signals to process groups are of POSIX systems")
def test_a_stopped_and_a_killed_study_go_on(tmp_path: Path) -> None:
    settings = ["train.epochs=12", "train.save_every_minutes=0.0001"]
    recipe, out = study(tmp_path, grid={"method": {"U-Net": {}}}, baseline={}), tmp_path / "out"
    command = [sys.executable, "-m", "sparsecover", "experiment", str(recipe), "--out", str(out),
               *(word for setting in settings for word in ("--set", setting))]  # fmt: skip
    said = stopped(command, signal.SIGINT, lambda: any((out / "jobs").glob("*/state.pt")), 130)
    assert "U-Net, fold 1, seed 0" in said  # what is at work is told before it ends
    assert "The same command goes on from here" in said
    assert {row["fold"]: row["state"] for row in rows_of(out / "results.csv")} == {"fold 1": "begun", "fold 2": "to do"}
    (state,) = (out / "jobs").glob("*/state.pt")
    assert not (state.parent / "result.json").exists()
    log = state.parent / "log.txt"
    stopped(command, signal.SIGKILL, lambda: "Going on after step" in log.read_text(), -signal.SIGKILL)
    wait_for(lambda: not working(state.parent))  # a job does not outlive its command
    assert not (state.parent / "result.json").exists()
    assert run_experiment(recipe, out, settings=settings).exit_code == 0
    assert log.read_text().count("Going on after step") == 2
    assert len(rows_of(state.parent / "history.csv")) == 12


def stopped(command: list[str], stop: signal.Signals, when: Callable[[], bool], code: int) -> str:
    """Start a command, send it a signal at some point, and see how it ends; what it said."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            wait_for(when)
            process.send_signal(stop)
            said = process.communicate(timeout=120)[1]
        finally:
            process.kill()
    assert process.returncode == code, said
    return said


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def working(folder: Path) -> bool:
    """Whether files in the folder still change."""
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.endswith(".tmp")}
    time.sleep(0.3)
    return before != {path: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.endswith(".tmp")}
