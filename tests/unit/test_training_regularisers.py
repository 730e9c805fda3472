"""Regularisers in a training: nothing at weight 0, exact resuming, two processes as one, held-out ground left alone."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.crs import CRS
from test_training_fit import PAIRS, SCHEME, Stop, StopAt, history, make_config, make_pairs, same_weights
from test_training_processes import close, config, wait

from sparsecover.checkpoint import load_checkpoint
from sparsecover.classes import UNLABELLED
from sparsecover.config import Config
from sparsecover.errors import ConfigError
from sparsecover.grid import Grid, Window
from sparsecover.labels import LabelRaster, ground_of, near, sharing_ground
from sparsecover.patches import HELD_OUT, Augmenter, Patch, PatchReader, ResidentReader
from sparsecover.patches.batch import Sample
from sparsecover.raster import Scene
from sparsecover.training import fit
from sparsecover.training import hints as hints_module
from sparsecover.training.hints import held_out_hints, with_suggestions
from sparsecover.training.regularisers import Ground, create_regulariser, list_regularisers
from sparsecover.training.regularisers.superpixels import spread_labels
from sparsecover.training.run import Run

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_training_fit import PAIRS
from test_training_processes import config
from test_training_regularisers import TOGETHER
from sparsecover.training import fit

for name, changes in TOGETHER.items():
    fit(PAIRS, config(2).with_changes(changes), {out!r} + "/" + name, device="cpu", devices=2)
"""
TOGETHER: dict[str, dict[str, Any]] = {
    "same": {"train.regularisers": [{"name": "gated_crf", "radius": 2}, {"name": "superpixels"}], "train.epochs": 1},
    "drawn": {"train.regularisers": [{"name": "consistency", "threshold": 0.3}, {"name": "self_training"}],
              "train.epochs": 1},
}  # fmt: skip
ALL_BUT_A_ROUND = [
    {"name": "consistency", "threshold": 0.5},
    {"name": "gated_crf", "radius": 2},
    {"name": "superpixels"},
]


def with_parts(*parts: dict[str, Any], **changes: Any) -> Config:
    return make_config(**changes).with_changes({"train.regularisers": list(parts)})


def test_weight_0_trains_the_very_same_network(tmp_path: Path) -> None:
    plain = fit(PAIRS, make_config(**{"train.epochs": 1}), tmp_path / "plain")
    parts = [{"name": name, "weight": 0} for name in list_regularisers() if name != "self_training"]
    silent = fit(PAIRS, with_parts(*parts, **{"train.epochs": 1}), tmp_path / "silent")
    assert same_weights(plain, silent)
    assert history(tmp_path / "plain") == history(tmp_path / "silent")


def test_without_free_pixels_nothing_changes(tmp_path: Path) -> None:
    dense = make_pairs(labelled=1.1)
    plain = fit(dense, make_config(**{"train.epochs": 1, "augment": "light"}), tmp_path / "plain")
    config = with_parts(*ALL_BUT_A_ROUND, **{"train.epochs": 1, "augment": "light"})
    assert same_weights(plain, fit(dense, config, tmp_path / "with"))


def test_a_stopped_run_goes_on_exactly_and_the_history_tells_of_the_terms(tmp_path: Path) -> None:
    config = with_parts(*ALL_BUT_A_ROUND, **{"train.epochs": 2})
    whole = fit(PAIRS, config, tmp_path / "whole")
    with pytest.raises(Stop):
        fit(PAIRS, config.with_changes({"train.save_every_minutes": 1e-9}), tmp_path / "cut", reporter=StopAt(5))
    assert same_weights(fit(PAIRS, config, tmp_path / "cut", resume=True), whole)
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    with (tmp_path / "whole" / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["gated_crf_loss"]) > 0
    assert 0 < float(last["consistency_share"]) <= 1


def test_self_training_keeps_its_first_round_and_goes_on_exactly(tmp_path: Path) -> None:
    config = with_parts({"name": "self_training", "share": 0.3}, **{"train.epochs": 1})
    listener = StopAt(-1)
    whole = fit(PAIRS, config, tmp_path / "whole", reporter=listener)
    assert any("surest 30%" in note for note in listener.notes)
    first = load_checkpoint(tmp_path / "whole" / "first_round" / "last.safetensors")
    assert same_weights(first, fit(PAIRS, make_config(**{"train.epochs": 1}), tmp_path / "plain"))
    assert not same_weights(first, whole)
    for step in (2, 3):  # in the first round, then in the second one, whose steps are counted anew
        with pytest.raises(Stop):
            fit(PAIRS, config, tmp_path / "cut", resume=True, reporter=StopAt(step))
    assert same_weights(fit(PAIRS, config, tmp_path / "cut", resume=True), whole)


@pytest.fixture(scope="module")
def pairs_of_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes, a folder for each entry of ``TOGETHER``."""
    out = tmp_path_factory.mktemp("together")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = SCRIPT.format(folder=str(Path(__file__).parent), out=str(out))
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    common |= {"GROUP_RANK": "0", "NODE_RANK": "0", "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    assert wait(started) == [0, 0]
    return out


def test_two_processes_train_as_one(pairs_of_processes: Path, tmp_path: Path) -> None:
    """Without consistency, which draws its changes by process: the others are the same however a batch is divided."""
    one = fit(PAIRS, config(4).with_changes(TOGETHER["same"]), tmp_path, device="cpu")
    two = load_checkpoint(pairs_of_processes / "same" / "last.safetensors")
    assert close(two, one)
    plain = fit(PAIRS, config(4).with_changes({"train.epochs": 1}), tmp_path / "plain", device="cpu")
    assert not close(two, plain)


def test_two_processes_agree_on_consistency_and_self_training(pairs_of_processes: Path) -> None:
    found = load_checkpoint(pairs_of_processes / "drawn" / "last.safetensors")
    assert all(torch.isfinite(value).all() for value in found.state.values())
    rows = history(pairs_of_processes / "drawn")
    assert float(rows[-1]["consistency_share"]) > 0
    assert float(rows[-1]["self_training_loss"]) > 0


def test_nothing_is_suggested_where_labels_validate_or_score() -> None:
    scene, labels = PAIRS[0]
    kept = np.full(labels.values.shape, UNLABELLED, np.uint8)
    kept[10:20, 5:30] = 1
    apart = [(scene, LabelRaster(kept, scene.grid, scheme=SCHEME))]
    hints = held_out_hints(PAIRS, apart)
    assert hints is not None
    everywhere = np.zeros_like(kept)
    merged = with_suggestions(hints, PAIRS, [everywhere])[0].values
    assert ((merged == HELD_OUT) == (kept == 1)).all()
    assert (merged[kept != 1] == 0).all()
    assert held_out_hints(PAIRS, make_pairs(1)) is None  # of another scene


def test_ground_that_is_held_out_in_an_overlapping_scene_gets_no_suggestion_either() -> None:
    """A scene of pixels twice as large that begins 20 m further east holds out a corner of its ground."""
    utm = CRS.from_epsg(32632).to_wkt()
    fine = Grid(60, 70, utm, Affine(2, 0, 500_000, 0, -2, 5_400_000))
    coarse = Grid(30, 35, utm, Affine(4, 0, 500_020, 0, -4, 5_400_000))
    far = Grid(30, 35, utm, Affine(4, 0, 600_000, 0, -4, 5_400_000))

    def pair(grid: Grid, held: bool = False) -> tuple[Scene, LabelRaster]:
        values = np.full((grid.height, grid.width), UNLABELLED, np.uint8)
        values[5:10, :6] = 1 if held else UNLABELLED
        return Scene.from_array(np.ones((3, *values.shape), np.uint8), grid=grid), LabelRaster(values, grid)

    hints = held_out_hints([pair(fine), pair(far)], [pair(coarse, held=True)])
    assert hints is not None
    expected = np.zeros((60, 70), bool)
    expected[10:20, 10:22] = True
    held = hints[0].values == HELD_OUT
    assert held[expected].all()
    assert not held[~near(expected, 1)].any()  # warping may take a pixel at the edge as well
    assert (hints[1].values == UNLABELLED).all()
    assert held_out_hints([pair(far)], [pair(coarse, held=True)]) is None


@pytest.mark.parametrize("code", [32632, 3857])
def test_held_out_labels_of_other_scenes_are_read_by_tile_once_and_only_where_scenes_lie(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(hints_module, "_TILE_PX", 16)
    utm = CRS.from_epsg(32632).to_wkt()
    there = Affine(2, 0, 500_060, 0, -2, 5_399_940) if code == 32632 else Affine(3, 0, 1_001_960, 0, -3, 6_232_960)
    fine = Grid(30, 45, CRS.from_epsg(code).to_wkt(), there)
    values = np.full((100, 120), UNLABELLED, np.uint8)
    values[np.random.default_rng(0).random(values.shape) < 0.02] = 1
    reads: list[Window] = []

    class Stored(LabelRaster):
        def read(self, window: Window | None = None) -> np.ndarray:
            reads.append(window or self.grid.window)
            return super().read(window)

    held = Stored(values, Grid(*values.shape, utm, Affine(3, 0, 500_000, 0, -3, 5_400_000)))
    scene = Scene.from_array(np.ones((3, *values.shape), np.uint8), grid=held.grid)
    training = Scene.from_array(np.ones((3, 30, 45), np.uint8), grid=fine)
    nothing = LabelRaster(np.full((30, 45), UNLABELLED, np.uint8), fine)
    hints = held_out_hints([(training, nothing)] * 2, [(scene, held)])
    assert hints is not None
    assert len(reads) == len(set(reads)) < 20
    assert max(window.size for window in reads) <= 16 * 16
    whole = ground_of(values != UNLABELLED, held.grid, fine)
    assert whole.any()
    for hint in hints:
        marked = hint.values == HELD_OUT
        assert not (whole & ~near(marked, 1)).any()
        assert not (marked & ~near(whole, 1)).any()


def test_scenes_that_share_ground_are_found_in_any_coordinate_system() -> None:
    utm, mercator = (CRS.from_epsg(code).to_wkt() for code in (32632, 3857))
    tiles = [Grid(10, 10, utm, Affine(1, 0, 500_000 + 8 * i, 0, -1, 5_400_000)) for i in range(6)]
    here = Grid(100, 100, mercator, Affine(10, 0, 1_001_400, 0, -10, 6_233_500))
    assert tiles[0].overlaps(here)
    others = [*tiles, here, Grid(10, 10)]
    for grid, shared in zip([*tiles, Grid(10, 10)], sharing_ground([*tiles, Grid(10, 10)], others), strict=True):
        assert shared == [number for number, other in enumerate(others) if grid.overlaps(other)]


@pytest.mark.parametrize("side", ["validation", "apart"])
def test_fit_knows_held_out_ground(side: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scene, labels = PAIRS[0]
    kept = np.full(labels.values.shape, UNLABELLED, np.uint8)
    kept[10:20, 5:30] = 1
    seen: list[Run] = []
    infer = Run.infer_labels
    monkeypatch.setattr(Run, "infer_labels", lambda run, network: (seen.append(run), infer(run, network)))
    held = [(scene, LabelRaster(kept, scene.grid, scheme=SCHEME))]
    config = with_parts({"name": "superpixels"}, **{"train.epochs": 1, "patches.per_epoch": 2})
    fit(PAIRS, config, tmp_path, **{side: held})
    assert seen[0].hints is not None
    assert (seen[0].hints[0].values[kept == 1] == HELD_OUT).all()
    suggested = seen[0].hints[0].values
    assert ((suggested < HELD_OUT) & (labels.values == UNLABELLED)).sum() > 100


def test_readers_give_hints_and_geometry_moves_them_with_the_labels() -> None:
    scene, labels = PAIRS[0]
    hints = [LabelRaster(labels.values.copy(), scene.grid)]
    run = Run.prepare(list(PAIRS), [], make_config(), SCHEME, "cpu", StopAt(-1))
    patches = [Patch(0, Window(-5, 40, 32, 32)), Patch(0, Window(20, 10, 32, 32))]
    plain = PatchReader(PAIRS, run.normalizer, None, hints).batch(patches)
    resident = ResidentReader(PAIRS, run.normalizer, "cpu", hints).batch(patches)
    for batch in (plain, resident, Augmenter.preset("strong", affine=1.0, cutmix=1.0)(plain, torch.Generator())):
        assert batch.hints is not None
        assert torch.equal(batch.hints, batch.labels)
        assert (batch.labels != UNLABELLED).any()


def test_superpixels_spread_labels_that_agree_and_tell_their_purity() -> None:
    segments = np.repeat(np.arange(1, 5), 6).reshape(4, 6)
    labels = np.full((4, 6), UNLABELLED, np.uint8)
    labels[0, 0], labels[0, 3] = 1, 1  # agree
    labels[1, :3] = (2, 2, 0)  # conflict
    labels[2, 5] = 0  # alone
    valid = np.ones((4, 6), bool)
    valid[2, 0] = False
    sample = Sample(np.zeros((3, 4, 6), np.float32), labels, valid, "window")
    suggested, spread = spread_labels(sample, np.where(valid, segments, 0), 3)
    assert suggested.tolist() == [
        [255, 1, 1, 255, 1, 1], [255] * 6, [255, 0, 0, 0, 0, 255], [255] * 6,
    ]  # fmt: skip
    text = str(spread)
    assert "6 labels to 8 more pixels in 2 of them; 1 with labels of several classes" in text
    assert "80.0% agree" in text  # four of the five labels that share one


def test_superpixels_follow_the_image_and_leave_out_nodata() -> None:
    image = np.zeros((3, 40, 40), np.float32)
    image[:, :, 20:] = 1
    labels = np.full((40, 40), UNLABELLED, np.uint8)
    labels[5:40:10, 5], labels[5:40:10, 33] = 0, 1
    valid = np.ones((40, 40), bool)
    valid[:4] = False
    sample = Sample(image, labels, valid, "window")
    scene = Scene.from_array(image)
    part = create_regulariser("superpixels", segment_px=60)
    (suggested,), _ = part.suggest(Ground([(scene, LabelRaster(labels, scene.grid))], lambda patch: sample, 2, 32))
    assert (suggested[:, :20] != 1).all()
    assert (suggested[:, 20:] != 0).all()
    assert (suggested[:4] == UNLABELLED).all()
    assert (suggested != UNLABELLED).sum() > 100


def test_self_training_takes_the_same_share_of_each_class() -> None:
    labels = PAIRS[0][1]
    rng = np.random.default_rng(0)
    strength = torch.from_numpy(rng.random((60, 70)).astype(np.float32))

    def read(patch: Patch) -> Sample:
        rows, cols = (np.arange(s.start, s.stop) for s in (patch.window.slices))
        inside = np.ix_(rows.clip(0, 59), cols.clip(0, 69))
        image = np.stack([strength.numpy()[inside], (cols[None] >= 35) + 0 * rows[:, None], 0 * inside[0] + 0 * cols])
        return Sample(image.astype(np.float32), labels.values[inside], np.ones(image.shape[1:], bool), "")

    def network(images: torch.Tensor) -> torch.Tensor:
        right = images[:, 1] > 0.5
        sure = 1 + images[:, 0] * torch.where(right, 5.0, 1.0)  # the left half is never as sure as the right one
        return torch.stack([torch.where(right, -sure, sure), torch.where(right, sure, -sure)], 1)

    part = create_regulariser("self_training", share=0.25)
    (suggested,), _ = part.suggest(Ground(PAIRS, read, 2, 32, network))
    free = labels.values == UNLABELLED
    assert (suggested[~free] == UNLABELLED).all()
    for index, half in enumerate((slice(0, 35), slice(35, 70))):
        chosen = suggested[:, half] == index
        assert chosen.sum() == pytest.approx(0.25 * free[:, half].sum(), rel=0.03)
        others = free[:, half] & ~chosen
        assert strength.numpy()[:, half][chosen].min() >= strength.numpy()[:, half][others].max() - 1e-3


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.ema"):
        fit(PAIRS, with_parts({"name": "consistency"}, **{"train.ema": False}), tmp_path)
    with pytest.raises(ConfigError, match="accumulate is 2"):
        fit(PAIRS, with_parts({"name": "gated_crf"}, **{"train.accumulate": 2}), tmp_path)
    with pytest.raises(ConfigError, match="both suggest"):
        fit(PAIRS, with_parts({"name": "superpixels"}, {"name": "self_training"}), tmp_path)
    with pytest.raises(ConfigError, match="each can be given once"):
        with_parts({"name": "gated_crf"}, {"name": "gated_crf"})
    forest = Config.from_dict({"model": {"name": "random-forest"}, "train": {"regularisers": [{"name": "gated_crf"}]}})
    with pytest.raises(ConfigError, match=r"leave out train\.regularisers"):
        fit(PAIRS, forest, tmp_path)
    with pytest.raises(ConfigError, match="name"):
        Config.from_dict({"train": {"regularisers": [{"weight": 1}]}})
    assert not list(tmp_path.iterdir())
