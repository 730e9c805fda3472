"""What the jobs of a study are given and what they count: sides of the split, twins, budgets, folders of their own."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

import layouts
from sparsecover.cli import run
from sparsecover.errors import ConfigError, OutputError
from sparsecover.experiments import find_recipe, list_jobs, run_experiment
from sparsecover.experiments.running import Task
from sparsecover.experiments.shelf import paths_start
from sparsecover.experiments.work import work
from sparsecover.patches import HELD_OUT
from sparsecover.training.hints import held_out_hints

from .test_experiment import rows_of, study

FOREST = {"model": {"name": "random-forest", "trees": 5}}


def varied(folder: Path, base: dict[str, Any], **changes: object) -> Path:
    """The small study with other values in its base."""
    path = study(folder, **changes)
    values = yaml.safe_load(path.read_text())
    values["base"] |= base
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def in_this_process(tasks: list[Task], *, ended: Any, **others: Any) -> None:
    """Instead of processes, so that a test sees what the jobs do."""
    for task in tasks:
        work(task.job, task.folder, task.digest, "cpu", 0, 2)
        ended(task, task.outcome())


@pytest.mark.parametrize("share", [{"folds": 2}, {"fractions": [0.5, 0.25, 0.25]}])
def test_regularisers_infer_nothing_where_labels_score(
    share: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def spied(*given: Any) -> Any:
        hints = held_out_hints(*given)
        held.append(sum(int((hint.values == HELD_OUT).sum()) for hint in hints or ()))
        return hints

    monkeypatch.setattr("sparsecover.training.run.held_out_hints", spied)
    monkeypatch.setattr("sparsecover.experiments.experiment.run_tasks", in_this_process)
    split = {"split": {"by": "block", "block_px": 10, "buffer_px": 0, **share}}
    grid = {"method": {"CRF": {"train.regularisers": [{"name": "gated_crf"}]}}}
    result = run_experiment(varied(tmp_path, split, grid=grid, baseline={}), tmp_path / "out")
    assert result.failures == []
    scored = [int(outcome.confusion.sum()) for outcome in result.outcomes.values()]
    assert len(held) == len(scored)
    assert all(marked >= count > 0 for marked, count in zip(held, scored, strict=True))


def test_cells_with_the_same_settings_are_trained_once(tmp_path: Path) -> None:
    grid = {"method": {"plain": {}, "averaged, as it is anyway": {"train.ema": True}, "forest": FOREST}}
    recipe, out = study(tmp_path, grid=grid), tmp_path / "out"
    result = run_experiment(recipe, out, jobs=2)
    assert result.exit_code == 0
    assert len(list((out / "jobs").iterdir())) == 2 * 2
    plain, averaged, _ = result.rows
    assert plain.miou == averaged.miou
    assert [outcome.job.cell_name for outcome in averaged.outcomes] == ["averaged, as it is anyway"] * 2
    assert {state for _, state in list_jobs(recipe, out)} == {"done"}


def test_two_commands_do_not_share_a_folder(tmp_path: Path) -> None:
    recipe, out = study(tmp_path, grid={"method": {"forest": FOREST}}), tmp_path / "out"
    out.mkdir()
    with (
        FileLock(out / ".lock"),
        pytest.raises(OutputError, match=r"Another command is running a study in .*out\. Wait"),
    ):
        run_experiment(recipe, out)
    assert not (out / "jobs").exists()
    assert run_experiment(recipe, out).exit_code == 0


def test_ground_without_labels_fails_its_jobs_and_says_so(tmp_path: Path) -> None:
    named = {"bare": {"split.test": ["tile2", "tile3"]}, "labelled": {"split.test": ["tile1"]}}
    base = {"split": {"by": "pattern", "pattern": "(tile[0-9])", "train": ["tile0"]}}
    recipe = varied(tmp_path, base, grid={"method": {"forest": FOREST}}, folds=named)
    for number in (2, 3):
        layouts.mask(tmp_path / "data" / "masks" / f"tile{number}.png", np.full((40, 40), 255))
    result = run_experiment(recipe, tmp_path / "out")
    assert result.exit_code == 2
    assert [reason for _, reason in result.failures] == [
        "None of the 2 scored scenes has a labelled pixel with data; label some of them."
    ]


@pytest.mark.parametrize(
    ("split", "reason"),
    [({"by": "scene", "folds": 9}, "9 folds need at least 9 scenes"),
     ({"by": "pattern", "pattern": "(tile[0-9])", "train": ["tile0"], "test": ["tile9"]}, "lists 'tile9'")],
)  # fmt: skip
def test_a_study_of_which_no_part_can_be_divided_is_refused_once_and_leaves_nothing(
    split: dict, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = varied(tmp_path, {"split": split}, grid={"method": {"forest": FOREST, "U-Net": {}}}, seeds=[0, 1])
    assert run(["experiment", str(recipe), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.count(reason) == 1
    assert "begun" not in told
    assert not (tmp_path / "out").exists()


def test_what_is_done_is_shown_anew_though_nothing_that_is_left_can_be_divided(tmp_path: Path) -> None:
    recipe, out = half_wrong(tmp_path), tmp_path / "out"
    assert run_experiment(recipe, out).exit_code == 2
    (out / "report.html").unlink()
    again = run_experiment(recipe, out)
    assert [name for name, _ in again.failures] == ["forest, bad, seed 0"]
    assert (out / "report.html").exists()


def test_a_stopped_study_shows_what_failed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = half_wrong(tmp_path), tmp_path / "out"
    run_experiment(recipe, out)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sparsecover.experiments.experiment.run_tasks", stop)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(recipe, out)
    rows = rows_of(out / "results.csv")
    assert [row["state"] for row in rows] == [state for _, state in list_jobs(recipe, out)] == ["failed", "done"]
    assert "tile9" in rows[0]["error"]


def half_wrong(folder: Path) -> Path:
    """A study of two jobs, the first of which tests on a scene that there is not."""
    named = {"bad": {"split.test": ["tile9"]}, "good": {"split.test": ["tile1"]}}
    base = {"split": {"by": "pattern", "pattern": "(tile[0-9])", "train": ["tile0"]}}
    return varied(folder, base, grid={"method": {"forest": FOREST}}, folds=named)


def test_a_job_tells_in_its_log_what_there_is_to_know_of_data_and_split(tmp_path: Path) -> None:
    drawn = {"data.simulate": {"sampler": "points", "n": 100_000}}
    recipe = study(tmp_path, grid={"method": {"forest": {**FOREST, **drawn}}}, baseline={})
    run_experiment(recipe, tmp_path / "out")
    log = next((tmp_path / "out/jobs").glob("*/log.txt")).read_text(encoding="utf-8")
    assert "fewer points than asked" in log


def test_only_labels_that_chose_the_network_are_spent(tmp_path: Path) -> None:
    split = {"split": {"by": "scene", "fractions": [0.5, 0.25, 0.25]}}
    grid = {"method": {"U-Net": {}, "forest": FOREST}}
    recipe = varied(tmp_path, split, grid=grid, checkpoint="best_iou")
    network, forest = run_experiment(recipe, tmp_path / "out").rows
    (chosen,), (fitted,) = network.outcomes, forest.outcomes
    assert chosen.spent_pixels == chosen.labelled_pixels["train"] + chosen.labelled_pixels["validation"]
    assert fitted.labelled_pixels["validation"] > 0
    assert fitted.spent_pixels == fitted.labelled_pixels["train"]  # a forest has one network only


def test_a_job_that_was_ended_is_no_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = study(tmp_path, grid={"method": {"forest": FOREST}}), tmp_path / "out"
    monkeypatch.setattr("sparsecover.experiments.running._work", ended_after_saving)
    result = run_experiment(recipe, out)
    assert result.exit_code == 2
    assert {outcome.fault for outcome in result.outcomes.values()} == {False}
    assert "ended with exit code 143" in result.failures[0][1]
    monkeypatch.undo()
    assert run_experiment(recipe, out).exit_code == 0  # failed jobs are tried again


def ended_after_saving(*_: Any) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def test_recipes_of_the_package_take_data_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths_start(find_recipe("landcoverai-partial")) == Path()
    assert paths_start(study(tmp_path)) == tmp_path


def test_data_that_cannot_be_fetched_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.dataset is folder, which cannot be fetched.*data.root=FOLDER"):
        run_experiment(study(tmp_path), tmp_path / "out", download=True)
    assert not (tmp_path / "out").exists()


def test_the_result_names_the_release(tmp_path: Path) -> None:
    result = run_experiment(study(tmp_path, grid={"method": {"forest": FOREST}}), tmp_path / "out")
    written = json.loads(next((result.out / "jobs").glob("*/result.json")).read_text())
    assert written["release"] == result.rows[0].outcomes[0].release != ""
