"""Two processes train as one."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_training_fit import HELD, PAIRS, history, make_config, same_weights

from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.config import Config
from sparsecover.errors import ConfigError
from sparsecover.training import fit, processes

SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from test_training_fit import HELD, PAIRS, StopAt
from test_training_processes import config
from sparsecover.training import fit

class Slow(StopAt):
    def progress(self, done, total, **values):
        time.sleep({pause})

for out, frozen in {runs!r}.items():
    fit(PAIRS, config(2, frozen), out, validation=HELD, device="cpu", devices=2, resume=True, reporter=Slow(-1))
"""


def config(batch_size: int, frozen: int = 0) -> Config:
    """Norms over groups, and nothing random in a process: what two processes do must be what one does."""
    return make_config(
        **{"train.batch_size": batch_size, "model.norm": "group", "model.dropout": 0.0, "augment": "none"}
    ).with_changes(
        {
            "patches.per_epoch": 12,
            "train.epochs": 2 + frozen,
            "model.freeze_encoder_epochs": frozen,
            "model.unfreeze": "stages" if frozen else "all",
        }
    )


def start(runs: dict[str, int], pause: float = 0.0) -> list["subprocess.Popen[bytes]"]:
    """Two processes as torchrun starts them, for runs by folder, each with its number of frozen epochs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = SCRIPT.format(folder=str(Path(__file__).parent), runs=runs, pause=pause)
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    common |= {"GROUP_RANK": "0", "NODE_RANK": "0", "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]


def wait(started: list["subprocess.Popen[bytes]"]) -> list[int]:
    outputs = [process.communicate(timeout=120)[1].decode() for process in started]
    codes = [process.returncode for process in started]
    assert all("Traceback" not in text or code for text, code in zip(outputs, codes, strict=True)), outputs
    return codes


def close(a: Checkpoint, b: Checkpoint) -> bool:
    return all(torch.allclose(a.state[k], b.state[k], rtol=1e-3, atol=1e-5) for k in a.state)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes with batches of 2; in the folder ``frozen`` the encoder thaws by stages."""
    out = tmp_path_factory.mktemp("pair")
    assert wait(start({str(out): 0, str(out / "frozen"): 1})) == [0, 0]
    return out


def test_two_processes_give_the_weights_and_scores_of_one(pair: Path, tmp_path: Path) -> None:
    one = fit(PAIRS, config(4), tmp_path, validation=HELD, device="cpu")
    assert close(load_checkpoint(pair / "last.safetensors"), one)
    for ours, theirs in zip(history(pair), history(tmp_path), strict=True):
        assert ours["step"] == theirs["step"]
        for name in ("train_loss", "val_loss", "accuracy", "miou"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=2e-3), name
    # The labels are so few that windows hold different numbers of them: a mean of the means would be another gradient.
    assert not close(fit(PAIRS, config(2), tmp_path / "other", device="cpu"), one)


def test_two_processes_freeze_and_thaw_as_one(pair: Path, tmp_path: Path) -> None:
    one = fit(PAIRS, config(4, frozen=1), tmp_path, device="cpu")  # one epoch frozen, one half so, one free
    assert close(load_checkpoint(pair / "frozen" / "last.safetensors"), one)


@pytest.mark.long
def test_a_stopped_pair_goes_on_exactly(pair: Path, tmp_path: Path) -> None:
    started = start({str(tmp_path): 0}, pause=0.5)
    deadline = time.monotonic() + 90
    while not (tmp_path / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    started[1].send_signal(signal.SIGTERM)  # one is told, both leave
    assert wait(started) == [143, 143]
    assert len(history(tmp_path)) == 1
    with pytest.raises(ConfigError, match="2 processes"):
        fit(PAIRS, config(2), tmp_path, validation=HELD, device="cpu", resume=True)
    assert wait(start({str(tmp_path): 0})) == [0, 0]
    assert same_weights(load_checkpoint(tmp_path / "last.safetensors"), load_checkpoint(pair / "last.safetensors"))
    assert history(tmp_path) == history(pair)


def test_alone_everything_is_trivial() -> None:
    tensor = torch.arange(3)
    assert processes.rank() == 0
    assert processes.gathered("a") == ["a"]
    assert processes.of_first(5) == 5
    assert processes.summed(tensor) is tensor


def test_what_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one process"):
        fit(PAIRS, Config.from_dict({"model": {"name": "random-forest"}}), tmp_path, device="cpu", devices=2)


def test_what_torchrun_has_started_is_taken_and_not_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert processes.layout(3, 2) == (3, 2)
    assert not processes.is_helper()
    started = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "4", "LOCAL_RANK": "0"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert processes.layout(1, 1) == processes.layout(4, 2) == (4, 2)
    assert processes.is_helper()  # the first process of the second machine
    with pytest.raises(ConfigError, match="torchrun has started 4 processes on 2 machines"):
        processes.layout(2, 1)
