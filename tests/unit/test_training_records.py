"""What a run leaves to be looked at: samples, manifest, TensorBoard, spread over folds."""

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from scipy import stats
from test_training_fit import HELD, PAIRS, SCHEME, make_config, make_pairs

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import ConfigError
from sparsecover.pipeline.cross_validating import CrossValidation, fold_spread
from sparsecover.training import fit
from sparsecover.training.board import Board
from sparsecover.training.manifest import manifest
from sparsecover.training.run import Run
from sparsecover.training.sheet import SampleSheet


def make_run(pairs: Any = PAIRS, held: Any = HELD, device: str = "cpu", **changes: Any) -> Run:
    from sparsecover.progress import Silent

    return Run.prepare(list(pairs), list(held), make_config(**changes), SCHEME, device, Silent())


class Constant(torch.nn.Module):
    """Predicts one class everywhere."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        logits[:, self.index] = 1.0
        return logits


def test_the_sheet_shows_what_is_right_and_wrong() -> None:
    run = make_run()
    assert run.held is not None
    sheet = SampleSheet.choose(run.held, run.held_pairs, run.window_reader(run.held_pairs), SCHEME, "cpu")
    assert 1 <= len(sheet.patches) <= 4
    sample = run.window_reader(run.held_pairs)(sheet.patches[0])
    picture = np.full((*sample.labels.shape, 3), 128, np.uint8)
    shares = []
    for index in range(3):
        network = Constant(index).train()
        columns = sheet._row(picture, sample, network)
        assert network.training
        assert (columns[2][sample.valid] == SCHEME.colors[index]).all()
        right = (columns[3] == (246, 246, 236)).all(-1)
        assert right[sample.labels == index].all()
        assert not right[(sample.labels != UNLABELLED) & (sample.labels != index)].any()
        shares.append(right.sum())
    assert sum(shares) > 0
    png = sheet(Constant(0))
    assert imread(io.BytesIO(png)).shape[0] > 200
    assert sheet(Constant(1)) != png


def test_sheets_come_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    fit(PAIRS, make_config(**{"train.samples_every": 2}), tmp_path, validation=HELD)
    assert {path.name for path in tmp_path.glob("samples_*")} == {"samples_0002.png", "samples_0003.png"}
    fit(PAIRS, make_config(**{"train.samples_every": None, "train.epochs": 1}), tmp_path, validation=HELD)
    assert not list(tmp_path.glob("samples_*"))


def test_the_manifest_tells_runs_apart_by_what_they_stand_on() -> None:
    first, again = manifest(make_run()), manifest(make_run())
    assert first == again
    assert json.loads(json.dumps(first)) == first
    other = manifest(make_run(make_pairs(seed=4), optim={"lr": 0.5}))
    assert other["scenes"][0]["sha256"] != first["scenes"][0]["sha256"]
    assert other["split"]["train"]["labels_sha256"] != first["split"]["train"]["labels_sha256"]
    assert other["configuration_sha256"] != first["configuration_sha256"]
    assert other["code"] == first["code"]


def test_large_files_are_sampled_for_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparsecover.training import manifest as module

    path = tmp_path / "large"
    path.write_bytes(bytes(5000))
    monkeypatch.setattr(module, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(module, "_PIECE_BYTES", 10)
    zeros = module._file(path)
    assert (zeros["sha256_of"], zeros["bytes"]) == ("pieces", 5000)
    path.write_bytes(bytes(4999) + b"1")
    assert module._file(path)["sha256"] != zeros["sha256"]


def test_tensorboard_gets_the_history_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []
    flushed: list[int] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            written.append((tag, value, step))

        def flush(self) -> None:
            flushed.append(len(written))

        def close(self) -> None:
            flushed.append(-1)

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    row: dict[str, float | int | None] = {
        "epoch": 3, "step": 12, "train_loss": 0.5, "val_loss": None, "miou": 0.25, "iou_water": 0.75,
    }  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    Board(tmp_path / "tensorboard").write(row)
    assert written == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    board = Board(tmp_path / "tensorboard")
    board.write(row)
    assert flushed == [3]
    board.close()
    assert flushed == [3, -1]
    assert written == [("loss/train", 0.5, 3), ("miou", 0.25, 3), ("iou/water", 0.75, 3)]


def test_the_spread_over_folds_is_corrected_for_overlapping_training_sets() -> None:
    values = [0.6, 0.7, 0.65, 0.8, 0.75]
    spread = fold_spread([*values, None])
    assert spread["folds"] == 5
    assert spread["mean"] == pytest.approx(np.mean(values))
    assert spread["std"] == pytest.approx(np.std(values, ddof=1))
    low, high = spread["interval"]
    plain = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    # (1/5 + 1/4) s^2 instead of s^2/5.
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(((1 / 5 + 1 / 4) * 5) ** 0.5)
    assert fold_spread([0.5, None])["interval"] is None
    assert fold_spread([None])["mean"] is None


def test_the_interval_ends_where_the_score_does() -> None:
    below_chance = [-0.3, -0.2, -0.25]
    assert fold_spread(below_chance, least=-1.0)["interval"][0] < -0.25 < fold_spread(below_chance, -1.0)["interval"][1]
    assert fold_spread([0.0, 0.2, 1.0])["interval"] == [0.0, 1.0]
    agreement = np.array([[1, 9], [9, 1]])
    spread = CrossValidation((), np.stack([agreement, agreement.T + 1]), ClassScheme.from_names(["a", "b"])).spread()
    low, high = spread["kappa"]["interval"]
    assert low < spread["kappa"]["mean"] < high


def test_pooled_scores_count_each_pixel_once() -> None:
    folds = np.array([[[8, 2], [0, 0]], [[0, 0], [5, 5]]], np.int64)
    scheme = SCHEME.from_names(["a", "b"])
    result = CrossValidation((Path("f1"), Path("f2")), folds, scheme)
    assert result.pooled.tolist() == [[8, 2], [5, 5]]
    scores = result.as_dict()
    assert scores["accuracy"] == pytest.approx(13 / 20)
    assert scores["per_class_iou"]["a"] == pytest.approx(8 / 15)
    assert scores["spread"]["accuracy"]["mean"] == pytest.approx((0.8 + 0.5) / 2)
    assert [fold["model"] for fold in scores["folds"]] == ["f1", "f2"]


def test_batch_statistics_are_shared_by_gpus_on_request() -> None:
    run = make_run(**{"train.sync_batchnorm": True, "model.norm": "batch"})
    run.devices = 2
    with pytest.raises(ConfigError, match=r"model\.norm=group"):
        _ = run.model
    single = make_run(**{"train.sync_batchnorm": True, "model.norm": "batch"})
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in single.model.modules())


def test_a_log_shows_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparsecover.cli import console

    monkeypatch.setattr(console, "err", Console(stderr=True))
    with console.ConsoleReporter() as reporter:
        reporter.stage("Training")
        reporter.progress(1, 10, loss=0.5)
        monkeypatch.setattr(console, "_LOG_EVERY_S", 0.0)
        reporter.progress(2, 10, **{"loss": 0.25, "img/s": 31.25})
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Training", "  2 of 10  loss 0.25  img/s 31.2"]
