"""The verb fit: files, resuming exactly, and what it refuses."""

import csv
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from sparsecover import checkpoint as checkpoint_module
from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.config import Config
from sparsecover.errors import CheckpointError, ConfigError, DataError, OutputError, SparseCoverError, TrainingError
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster
from sparsecover.progress import Silent
from sparsecover.raster import Scene
from sparsecover.training import Terminated, fit, run_files

SCHEME = ClassScheme.from_names(["left", "right", "middle"])
TIMES = {"seconds", "images_per_second"}


def make_pairs(seed: int = 0, labelled: float = 0.05) -> list[tuple[Scene, LabelRaster]]:
    rng = np.random.default_rng(seed)
    truth = np.zeros((60, 70), np.uint8)
    truth[:, 35:] = 1
    truth[20:40, 15:55] = 2
    values = np.stack([truth * 60 + 40, 200 - truth * 50, truth % 2 * 90]) + rng.normal(0, 8, (3, 60, 70))
    labels = np.where(rng.random(truth.shape) < labelled, truth, UNLABELLED).astype(np.uint8)
    scene = Scene.from_array(values.clip(0, 255).astype(np.uint8), name="field")
    return [(scene, LabelRaster(labels, scene.grid, scheme=SCHEME))]


PAIRS, HELD = make_pairs(), make_pairs(labelled=0.3)


def make_config(**changes: Any) -> Config:
    small = {
        "patches.size_px": 32,
        "patches.per_epoch": 8,
        "model.base_channels": 4,
        "model.depth": 2,
        "model.dropout": 0.2,
        "augment": "strong",
        "train.batch_size": 2,
        "train.epochs": 3,
        "train.precision": "fp32",
        "train.samples_every": None,  # drawing takes longer than these trainings
        "optim.lr": 0.01,
    }
    return Config().with_changes(small | changes)


def test_what_is_fitted_at_once_needs_no_time_and_goes_on_under_other_settings_of_the_loop(tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    def fitted(**train: Any) -> Checkpoint:
        config = Config.from_dict({"model": {"name": "random-forest", "trees": 3}, "train": train})
        return fit(PAIRS, config, tmp_path, device="cpu", resume=True, reporter=Notes())

    timed = fitted(minutes=3)
    assert any("random-forest is fitted at once" in note for note in notes)
    notes.clear()
    again = fitted(epochs=2)
    assert notes[-1].endswith("has ended already.")
    assert same_weights(again, timed)
    with pytest.raises(ConfigError, match="trees was 3 and is 4"):
        fit(PAIRS, Config.from_dict({"model": {"name": "random-forest", "trees": 4}}), tmp_path, resume=True)


class Stop(BaseException):
    """As if the process were gone."""


class StopAt(Silent):
    """Ends the run at a step."""

    def __init__(self, step: int, action: Callable[[], None] | None = None) -> None:
        self.step, self.action = step, action
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, done: float, total: float, **values: float | str) -> None:
        if done == self.step:
            if self.action is None:
                raise Stop
            self.action()


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    return a.state.keys() == b.state.keys() and all(torch.equal(a.state[k], b.state[k]) for k in a.state)


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    return fit(PAIRS, make_config(**{"train.samples_every": 10}), out, validation=HELD), out


@pytest.fixture(autouse=True)
def undrawn(whole: tuple[Checkpoint, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures but those of the whole run: drawing takes longer than these trainings."""
    for name in ("curves", "per_class_iou"):
        monkeypatch.setattr(run_files.figures, name, lambda *_: b"")


def assert_like(whole: tuple[Checkpoint, Path], checkpoint: Checkpoint, out: Path) -> None:
    assert same_weights(checkpoint, whole[0])
    assert history(out) == history(whole[1])
    for name in ("best_iou", "best_loss", "last"):
        ours, theirs = (load_checkpoint(folder / f"{name}.safetensors") for folder in (out, whole[1]))
        assert same_weights(ours, theirs)
        assert ours.metrics == theirs.metrics


def test_it_writes_what_it_promises(whole: tuple[Checkpoint, Path]) -> None:
    checkpoint, out = whole
    names = {path.name for path in out.iterdir()}
    assert names == {
        "best_iou.safetensors", "best_loss.safetensors", "last.safetensors", "history.csv", "metrics.json",
        "curves.png", "per_class_iou.png", "samples_0003.png", "config.yaml", "manifest.json", "state.pt",
    }  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["per_class_iou"].keys() == set(SCHEME.names)
    assert metrics["labelled_pixels"] == {
        side: int((pairs[0][1].values != UNLABELLED).sum()) for side, pairs in (("train", PAIRS), ("validation", HELD))
    }
    assert np.sum(metrics["confusion"]) == metrics["labelled_pixels"]["validation"]
    rows = history(out)
    assert len(rows) == 3
    assert {"train_loss", "val_loss", "miou", "accuracy", "iou_left", "learning_rate"} <= rows[0].keys()
    assert float(rows[-1]["miou"]) == metrics["miou"]
    assert checkpoint.bands == ("band_1", "band_2", "band_3")
    assert checkpoint.patch_size_px == 32
    assert checkpoint.scheme == SCHEME


def test_a_single_class_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Only one class is labelled: class 5\. Label a second one.*--background"):
        fit(make_pairs(), make_config(), tmp_path, scheme=ClassScheme.from_codes([5]))
    assert not list(tmp_path.iterdir())


def test_the_configuration_is_written_resolved(tmp_path: Path) -> None:
    config = make_config(**{"patches.size_px": "auto", "patches.per_epoch": "auto", "train.epochs": 1})
    checkpoint = fit(PAIRS, config, tmp_path)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["patches"]["size_px"] == 64
    assert isinstance(written["patches"]["per_epoch"], int)
    assert written["patches"]["sampling"] in {"random", "labels", "balanced"}
    assert written["train"]["precision"] == "fp32"
    assert checkpoint.config == written
    assert Config.from_dict(written).to_dict() == written


def test_validation_scores_are_those_of_the_kept_network(whole: tuple[Checkpoint, Path]) -> None:
    checkpoint, _ = whole
    scene, labels = HELD[0]
    values, valid = scene.read()
    network = checkpoint.model()
    with torch.no_grad():
        prediction = network(torch.from_numpy(checkpoint.normalizer(values, valid))[None]).argmax(1)[0].numpy()
    labelled = labels.values != UNLABELLED
    # The validation saw windows of 32 px, this sees all: most pixels, not all, are decided alike.
    right = (prediction == labels.values)[labelled].mean()
    assert right == pytest.approx(checkpoint.metrics["accuracy"], abs=0.15)


def test_the_same_seed_gives_the_same_weights_with_any_number_of_workers(
    whole: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    again = fit(PAIRS, make_config(**{"train.workers": 5, "patches.cache": "none"}), tmp_path / "a", validation=HELD)
    assert same_weights(again, whole[0])
    other = fit(PAIRS, make_config(seed=1), tmp_path / "b", validation=HELD)
    assert not same_weights(other, whole[0])


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(PAIRS, make_config(**{"train.epochs": 1}), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("step", [1, 4, 6, 9, 12])
def test_a_run_stopped_in_any_step_goes_on_exactly(whole: tuple[Checkpoint, Path], tmp_path: Path, step: int) -> None:
    often = make_config(**{"train.save_every_minutes": 1e-9})
    with pytest.raises(Stop):
        fit(PAIRS, often, tmp_path, validation=HELD, reporter=StopAt(step))
    assert_like(whole, fit(PAIRS, often, tmp_path, validation=HELD, resume=True), tmp_path)


@pytest.mark.parametrize("warm_up", [{"schedule.warmup_steps": 6}, {"schedule.warmup_epochs": 1.5}])
def test_warm_up_is_given_in_steps_or_in_epochs(tmp_path: Path, warm_up: dict[str, Any]) -> None:
    fit(PAIRS, make_config(**{"train.epochs": 1, "schedule.name": "constant"} | warm_up), tmp_path)
    assert float(history(tmp_path)[0]["learning_rate"]) == pytest.approx(0.01 * (0.1 + 0.9 * 3 / 6))  # the fourth step


def test_one_cycle_takes_the_place_of_the_default_warm_up_and_refuses_another(tmp_path: Path) -> None:
    assert Config.from_dict({"schedule": {"name": "one_cycle"}}).schedule.warmup_epochs == 0
    with pytest.raises(ConfigError, match="one_cycle"):
        fit(PAIRS, make_config(**{"schedule.name": "one_cycle", "schedule.warmup_steps": 6}), tmp_path)


def test_a_learning_rate_that_was_cut_stays_cut(tmp_path: Path) -> None:
    config = make_config(
        **{"schedule.name": "reduce_plateau", "schedule.patience": 1, "schedule.factor": 0.1, "optim.lr": 0.1}
    ).with_changes({"train.epochs": 6})
    reference = fit(PAIRS, config, tmp_path / "whole", validation=HELD)
    rates = [float(row["learning_rate"]) for row in history(tmp_path / "whole")]
    assert rates[-1] < 0.5 * max(rates)
    with pytest.raises(Stop):
        fit(PAIRS, config, tmp_path / "stopped", validation=HELD, reporter=StopAt(23))
    resumed = fit(PAIRS, config, tmp_path / "stopped", validation=HELD, resume=True)
    assert same_weights(resumed, reference)
    assert history(tmp_path / "stopped") == history(tmp_path / "whole")


def test_a_run_stopped_again_and_again_goes_on_exactly(whole: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    for step in (3, 5, 5, 11):
        with pytest.raises(Stop):
            fit(PAIRS, make_config(), tmp_path, validation=HELD, resume=True, reporter=StopAt(step))
    assert_like(whole, fit(PAIRS, make_config(), tmp_path, validation=HELD, resume=True), tmp_path)


@pytest.mark.parametrize("count", [2, 5, 8, 11])
def test_a_run_stopped_while_writing_goes_on_exactly(
    whole: tuple[Checkpoint, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    real, calls = os.fsync, 0

    def stop(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2 * count:  # each file is synchronised, then its folder
            raise Stop
        real(handle)

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(Stop):
        fit(PAIRS, make_config(), tmp_path, validation=HELD)
    monkeypatch.undo()
    assert_like(whole, fit(PAIRS, make_config(), tmp_path, validation=HELD, resume=True), tmp_path)


def test_a_run_stopped_in_validation_goes_on_exactly(
    whole: tuple[Checkpoint, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparsecover.training import validation

    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr(validation, "_confusion", stop)
    with pytest.raises(Stop):
        fit(PAIRS, make_config(**{"train.save_every_minutes": 1e-9}), tmp_path, validation=HELD)
    monkeypatch.undo()
    assert_like(whole, fit(PAIRS, make_config(), tmp_path, validation=HELD, resume=True), tmp_path)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_signals_save_and_leave(
    whole: tuple[Checkpoint, Path], tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    reporter = StopAt(6, lambda: os.kill(os.getpid(), number))
    with pytest.raises(error):
        fit(PAIRS, make_config(), tmp_path, validation=HELD, reporter=reporter)
    second = StopAt(-1)
    checkpoint = fit(PAIRS, make_config(), tmp_path, validation=HELD, resume=True, reporter=second)
    assert any("after step 6" in note for note in second.notes)
    assert_like(whole, checkpoint, tmp_path)


def test_a_signal_during_the_last_files_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_files.save_checkpoint

    def save(path: Path, checkpoint: Checkpoint) -> None:
        signal.raise_signal(signal.SIGTERM)
        real(path, checkpoint)

    monkeypatch.setattr(run_files, "save_checkpoint", save)
    config = make_config(**{"train.epochs": 1})
    with pytest.raises(Terminated):
        fit(PAIRS, config, tmp_path)
    monkeypatch.undo()
    assert len(history(tmp_path)) == 1
    assert same_weights(fit(PAIRS, config, tmp_path, resume=True), load_checkpoint(tmp_path / "last.safetensors"))


def test_a_signal_while_processes_wait_for_each_other_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def gathered(value: object) -> list[object]:
        if isinstance(value, tuple):  # what each was asked; it is sent, and now the signal comes
            asked.append(value[0])
            if len(asked) == 1:
                signal.raise_signal(signal.SIGTERM)
        return [value]

    monkeypatch.setattr("sparsecover.training.trainer.processes.gathered", gathered)
    reporter = StopAt(-1)
    with pytest.raises(Terminated):
        fit(PAIRS, make_config(), tmp_path, reporter=reporter)
    assert asked == [None, signal.SIGTERM]
    assert any("Interrupted after step 2" in note for note in reporter.notes)


def test_a_finished_run_is_not_trained_again(whole: tuple[Checkpoint, Path]) -> None:
    before = (whole[1] / "last.safetensors").stat().st_mtime_ns
    again = fit(PAIRS, make_config(), whole[1], validation=HELD, resume=True)
    assert same_weights(again, whole[0])
    assert (whole[1] / "last.safetensors").stat().st_mtime_ns == before


def test_the_decision_about_minutes_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100_000))
    monkeypatch.setattr("sparsecover.training.state.time.perf_counter", lambda: float(next(seconds)))
    config = make_config(**{"train.epochs": 500, "train.minutes": 1.0, "train.save_every_minutes": 1e-9})
    reporter = StopAt(30)
    with pytest.raises(Stop):
        fit(PAIRS, config, tmp_path, reporter=reporter)
    monkeypatch.undo()  # now steps take milliseconds, and a decision made again would be another one
    fit(PAIRS, config, tmp_path, resume=True)
    steps = int(history(tmp_path)[-1]["step"])
    assert 40 < steps < 70
    assert any(f"to {steps} steps" in note for note in reporter.notes)


def test_other_settings_or_labels_are_refused_on_resume(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fit(PAIRS, make_config(), tmp_path, validation=HELD, reporter=StopAt(6))
    with pytest.raises(ConfigError, match=r"optim\.lr|optim"):
        fit(PAIRS, make_config(**{"optim.lr": 0.02}), tmp_path, validation=HELD, resume=True)
    with pytest.raises(ConfigError, match="labels"):
        fit(make_pairs(labelled=0.06), make_config(), tmp_path, validation=HELD, resume=True)
    with pytest.raises(ConfigError, match="scenes"):
        fit(make_pairs(seed=9), make_config(), tmp_path, validation=HELD, resume=True)
    fit(PAIRS, make_config(**{"train.workers": 3}), tmp_path, validation=HELD, resume=True)


def test_a_damaged_state_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="without --resume"):
        fit(PAIRS, make_config(), tmp_path, resume=True)


def test_resuming_nothing_starts_and_starting_replaces(whole: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    assert_like(whole, fit(PAIRS, make_config(), tmp_path, validation=HELD, resume=True), tmp_path)
    fit(PAIRS, make_config(**{"train.epochs": 1}), tmp_path)
    assert not (tmp_path / "best_iou.safetensors").exists()
    assert len(history(tmp_path)) == 1


def test_without_validation_only_the_last_network_is_kept(tmp_path: Path) -> None:
    nothing = LabelRaster(np.full((60, 70), UNLABELLED, np.uint8), Grid(60, 70), scheme=SCHEME)
    checkpoint = fit(PAIRS, make_config(**{"train.epochs": 1}), tmp_path, validation=[(PAIRS[0][0], nothing)])
    assert not list(tmp_path.glob("best*"))
    assert checkpoint.metrics["miou"] is None
    assert json.loads((tmp_path / "metrics.json").read_text())["labelled_pixels"].keys() == {"train"}
    for setting in ({"train.early_stopping": 2}, {"schedule.name": "reduce_plateau"}):
        with pytest.raises(ConfigError, match="validation"):
            fit(PAIRS, make_config(**setting), tmp_path / "b")


def test_early_stopping_returns_the_best(tmp_path: Path) -> None:
    config = make_config(**{"train.epochs": 40, "train.early_stopping": 1, "optim.lr": 0.05})
    checkpoint = fit(PAIRS, config, tmp_path, validation=HELD)
    rows = history(tmp_path)
    assert len(rows) < 40
    assert checkpoint.metrics["miou"] == max(float(row["miou"]) for row in rows)
    again = fit(PAIRS, config, tmp_path, validation=HELD, resume=True)
    assert same_weights(again, checkpoint)


def test_numbered_checkpoints_on_request(tmp_path: Path) -> None:
    config = make_config(**{"train.epochs": 5, "train.save_top_k": 2, "train.save_every_epochs": 2})
    fit(PAIRS, config, tmp_path, validation=HELD)
    rows = history(tmp_path)
    best = sorted(range(5), key=lambda i: (float(rows[i]["miou"]), i))[-2:]
    expected = {f"epoch_{i + 1:04d}_top.safetensors" for i in best} | {
        "epoch_0002.safetensors",
        "epoch_0004.safetensors",
    }
    assert {path.name for path in tmp_path.glob("epoch_*")} == expected


def test_frozen_encoders_thaw_and_survive_a_resume(tmp_path: Path) -> None:
    config = make_config(**{"model.freeze_encoder_epochs": 2, "train.ema": False, "model.encoder_lr_factor": 0.1})
    states: dict[int, Checkpoint] = {}
    for epochs in (2, 3):
        out = tmp_path / str(epochs)
        states[epochs] = fit(PAIRS, config.with_changes({"train.epochs": epochs}), out)
    torch.manual_seed(0)
    fresh = states[2].model_spec.build().state_dict()
    encoder = [name for name in fresh if name.startswith("encoder") and name.endswith("weight")]
    assert encoder
    assert all(torch.equal(states[2].state[name], fresh[name]) for name in encoder)
    assert not all(torch.equal(states[3].state[name], fresh[name]) for name in encoder)
    with pytest.raises(Stop):
        fit(PAIRS, config, tmp_path / "stopped", reporter=StopAt(10))
    assert same_weights(fit(PAIRS, config, tmp_path / "stopped", resume=True), states[3])


def test_a_configuration_that_cannot_be_meant_leaves_the_earlier_run(tmp_path: Path) -> None:
    fit(PAIRS, Config.from_dict({"model": {"name": "random-forest", "trees": 2}}), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert before
    for change in (
        {"loss.class_weights": [1, 2]},
        {"model": {"name": "random-forest", "encoder_lr_factor": 0.1}},
        {"model": {"name": "random-forest"}, "augment": {"name": "light", "brightnes": 1}},
        {"model": {"name": "hypercolumns"}, "augment": {"name": "standard", "groups": [1, 1]}},
    ):
        with pytest.raises(SparseCoverError, match=r"2 class weights|no encoder|brightness|names 2 bands"):
            fit(PAIRS, make_config(**{"model.name": "unet"}).with_changes(change), tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_diverging_run_names_its_windows(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="field, rows from"):
        fit(PAIRS, make_config(**{"optim.lr": 1e30, "optim.name": "sgd", "train.clip": None}), tmp_path)
    assert "field, rows from" in (tmp_path / "diverged.txt").read_text()


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoint_module.safetensors.torch.save
    written = 0

    def save(*arguments: Any) -> bytes:
        nonlocal written
        written += 1
        if written > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(checkpoint_module.safetensors.torch, "save", save)
    with pytest.raises(OutputError, match="No space left"):
        fit(PAIRS, make_config(), tmp_path)
    assert load_checkpoint(tmp_path / "last.safetensors").patch_size_px == 32
    assert not list(tmp_path.glob(".*"))


def test_missing_classes_are_told_and_weigh_nothing(tmp_path: Path) -> None:
    scene, labels = PAIRS[0]
    values = np.where(labels.values == 2, UNLABELLED, labels.values).astype(np.uint8)
    reporter = StopAt(-1)
    fit(
        [(scene, labels.with_values(values))],
        make_config(**{"train.epochs": 1}),
        tmp_path,
        scheme=SCHEME,
        reporter=reporter,
    )
    assert any("No labelled training pixel: middle" in note for note in reporter.notes)


def test_classes_come_from_the_configuration_where_labels_have_none(tmp_path: Path) -> None:
    scene, labels = PAIRS[0]
    bare = LabelRaster(labels.values, labels.grid)
    with pytest.raises(DataError, match="classes"):
        fit([(scene, bare)], make_config(), tmp_path)
    config = make_config(**{"classes": ["x", "y", "z"], "train.epochs": 1})
    assert fit([(scene, bare)], config, tmp_path).scheme.names == ("x", "y", "z")


@pytest.mark.parametrize("first", [0, 1])
def test_a_checkpoint_knows_how_files_were_resized_whichever_comes_first(tmp_path: Path, first: int) -> None:
    ((scene, labels),) = PAIRS
    halved = scene.resized(30, 35)
    pairs = [(scene, labels), (halved, labels.resized(halved.grid))]
    config = make_config(**{"data.resize": [30, 35]}).with_changes({"model": {"name": "random-forest", "trees": 2}})
    assert fit([pairs[first], pairs[1 - first]], config, tmp_path / "both").resize == (30, 35)
    assert fit([pairs[0]], config, tmp_path / "given").resize is None


def test_the_log_tells_windows_memory_and_precision(tmp_path: Path) -> None:
    reporter = StopAt(-1)
    fit(PAIRS, make_config(**{"train.epochs": 1, "train.precision": "auto"}), tmp_path, reporter=reporter)
    log = "\n".join(reporter.notes)
    for word in ("windows of 32 px", "held in memory", "Training takes about", "Training in fp32", "Memory after"):
        assert word in log
