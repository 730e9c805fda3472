"""Processes that are started to train along: noticed when they fail, gone when the one that started them is."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch.distributed as dist

from sparsecover.errors import SceneError, TrainingError
from sparsecover.training import processes
from sparsecover.training.helpers import Helpers

FAILING = "import sys; sys.exit(3)"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
WAITING = "import time; time.sleep(60)"


def started(*scripts: str) -> list["subprocess.Popen[bytes]"]:
    return [subprocess.Popen([sys.executable, "-c", script]) for script in scripts]


@pytest.mark.parametrize(
    ("scripts", "text"),
    [
        ((FAILING,), "process 1 of 2 has ended with exit code 3"),
        ((WAITING, KILLED), "process 2 of 3 has ended by signal 9"),
    ],
)
def test_the_one_that_failed_is_named_and_the_others_end(scripts: Sequence[str], text: str) -> None:
    running = started(*scripts)
    helpers = Helpers(running)
    try:
        assert text in (helpers.failure(wait_s=30) or "")
    finally:
        helpers.end()
    assert all(process.wait(30) for process in running)


WAITS_FOR_EVER = f"""
import subprocess, sys, threading
from sparsecover.training import helpers
helpers._GRACE_S = helpers._POLL_S = 0.1
helpers.Helpers([subprocess.Popen([sys.executable, "-c", {FAILING!r}])])
threading.Event().wait()
"""


def test_a_process_that_waits_for_a_lost_one_is_ended_with_a_message() -> None:
    ended = subprocess.run([sys.executable, "-c", WAITS_FOR_EVER], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "process 1 of 2 has ended with exit code 3" in ended.stderr


STARTS = """
import os, sys, time
from pathlib import Path
from sparsecover.training import helpers
helpers._GRACE_S = helpers._POLL_S = 0.1
if "LOCAL_RANK" in os.environ:
    helpers.follow_parent()
    place = [os.environ[name] for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR")]
    Path(sys.argv[1], "new").write_text(" ".join([str(os.getpid()), *place]))
    Path(sys.argv[1], "new").rename(Path(sys.argv[1], "helper"))
else:
    helpers.Helpers.start(2, 1)
time.sleep(60)
"""


def test_helpers_run_the_same_command_and_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    unplaced = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR")}
    first = subprocess.Popen([sys.executable, "-c", STARTS, str(tmp_path)], env=unplaced)
    deadline = time.monotonic() + 60
    while not (tmp_path / "helper").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    number, *place = (tmp_path / "helper").read_text().split()
    assert place == ["1", "0", "2", "127.0.0.1"]
    first.kill()
    first.wait()
    while psutil.pid_exists(int(number)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(int(number)) or psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE


def test_a_lost_process_is_told_as_such_and_other_errors_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_get_default_store", dist.HashStore)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(processes, "_helpers", Helpers(started(KILLED)))
    with pytest.raises(TrainingError, match=r"process 1 of 2 has ended by signal 9.*--resume"), processes.together():
        raise RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    with pytest.raises(RuntimeError, match="a fault of ours"), processes.together():
        raise RuntimeError("a fault of ours")


def test_a_helper_leaves_its_word_to_process_0_but_speaks_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.HashStore()
    monkeypatch.setattr(processes, "_get_default_store", lambda: store)
    monkeypatch.setattr(processes, "_several", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(SystemExit, match="2"), processes.together():
        raise SceneError("b cannot be read.")
    assert store.get("sparsecover/failed") == b"b cannot be read. (Process 1 of 2.)"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(SceneError), processes.together():
        raise SceneError("b cannot be read.")
