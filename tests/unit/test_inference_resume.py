"""A prediction that is stopped goes on and ends with the same bytes."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_parts import checkpoint, scene

from sparsecover.errors import OutputError, SceneError
from sparsecover.grid import Window
from sparsecover.inference import predict
from sparsecover.inference.journal import Journal
from sparsecover.inference.products import MapStrip

LAYERS = {"confidence": True, "probabilities": "float32", "entropy": True, "batch_size": 1}


def stop_after(count, error):
    seen = []

    def report(progress):
        seen.extend([progress] if progress.done_px else [])
        if len(seen) == count:
            raise error

    return report


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    predict(scene(), checkpoint(), folder / "m.tif", **LAYERS)
    return bytes_of(folder)


@pytest.mark.parametrize("strips", [1, 2])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, uninterrupted, strips):
    out = tmp_path / "m.tif"
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        predict(scene(), checkpoint(), out, reporter=stop_after(strips, KeyboardInterrupt()), **LAYERS)
    assert [path.name for path in tmp_path.iterdir()] == ["m.tif.partial"]
    with pytest.raises(OutputError, match="--resume"):
        predict(scene(), checkpoint(), out, **LAYERS)
    seen = []
    predict(scene(), checkpoint(), out, resume=True, reporter=seen.append, **LAYERS)
    assert bytes_of(tmp_path) == uninterrupted
    assert seen[strips].mpix_per_s == 0  # taken from the journal, not computed again


def test_whatever_the_journal_was_cut_to(tmp_path, uninterrupted):
    out, journal = tmp_path / "m.tif", tmp_path / "m.tif.partial"
    with pytest.raises(KeyboardInterrupt):
        predict(scene(), checkpoint(), out, reporter=stop_after(3, KeyboardInterrupt()), **LAYERS)
    full = journal.read_bytes()
    for kept in (0, 10, 60, len(full) // 2, len(full) - 1):
        for path in tmp_path.iterdir():
            path.unlink()
        journal.write_bytes(full[:kept])
        predict(scene(), checkpoint(), out, resume=True, **LAYERS)
        assert bytes_of(tmp_path) == uninterrupted


def test_a_damaged_entry_is_computed_again(tmp_path, uninterrupted):
    out, journal = tmp_path / "m.tif", tmp_path / "m.tif.partial"
    with pytest.raises(KeyboardInterrupt):
        predict(scene(), checkpoint(), out, reporter=stop_after(3, KeyboardInterrupt()), **LAYERS)
    damaged = bytearray(journal.read_bytes())
    damaged[-20] ^= 0xFF
    journal.write_bytes(damaged)
    predict(scene(), checkpoint(), out, resume=True, **LAYERS)
    assert bytes_of(tmp_path) == uninterrupted


def test_a_network_that_fails_leaves_a_state_to_go_on_from(tmp_path, monkeypatch):
    import sparsecover.inference.job as job

    read = job.read_mirrored

    def broken(scene, window):
        if window.row > 150:
            raise SceneError("Cannot read rows 160 to 191")
        return read(scene, window)

    here = scene(200, 90)
    predict(here, checkpoint(), tmp_path / "here.tif", confidence=False, batch_size=1)
    out, remote = tmp_path / "m.tif", replace(here, source=replace(here.source, paths=("/vsicurl/https://host/a.tif",)))
    monkeypatch.setattr(job, "read_mirrored", broken)
    with pytest.raises(SceneError, match=r"rows 160 to 191.*m\.tif\.partial.*--resume"):
        predict(remote, checkpoint(), out, confidence=False, batch_size=1)
    assert [path.name for path in tmp_path.glob("m*")] == ["m.tif.partial"]
    monkeypatch.setattr(job, "read_mirrored", read)
    seen = []
    predict(remote, checkpoint(), out, resume=True, confidence=False, reporter=seen.append)
    assert seen[1].mpix_per_s == 0  # taken from the journal
    assert out.read_bytes() == (tmp_path / "here.tif").read_bytes()


def test_another_job_is_not_continued(tmp_path):
    out = tmp_path / "m.tif"
    with pytest.raises(KeyboardInterrupt):
        predict(scene(), checkpoint(), out, reporter=stop_after(1, KeyboardInterrupt()))
    with pytest.raises(OutputError, match="another scene, network or other options"):
        predict(scene(), checkpoint(seed=5), out, resume=True)
    with pytest.raises(OutputError, match="another scene, network or other options"):
        predict(scene(), checkpoint(), out, resume=True, blend="hann")
    product = predict(scene(), checkpoint(seed=5), out, resume=True, overwrite=True)
    assert product.map.exists()


def test_resuming_what_is_complete_does_nothing(tmp_path):
    out = tmp_path / "m.tif"
    first = predict(scene(), checkpoint(), out)
    changed = out.stat().st_mtime_ns
    again = predict(scene(), checkpoint(), out, resume=True)
    assert out.stat().st_mtime_ns == changed
    assert again.statistics == first.statistics
    assert "complete" in again.notes[0]
    predict(scene(), checkpoint(seed=5), out, resume=True, overwrite=True)
    assert out.stat().st_mtime_ns != changed


def test_choices_of_the_machine_are_taken_over(tmp_path, monkeypatch):
    import sparsecover.inference.job as job
    import sparsecover.inference.networks as networks

    out = tmp_path / "m.tif"
    with pytest.raises(KeyboardInterrupt):
        predict(scene(), checkpoint(), out, runtime="torch", batch_size=3, reporter=stop_after(1, KeyboardInterrupt()))
    used = []
    made = networks.make_runtime
    monkeypatch.setattr(networks, "make_runtime", lambda name, *rest: used.append(name) or made(name, *rest))
    monkeypatch.setattr(job, "quicker_runtime", lambda *_: "onnx")
    predict(scene(), checkpoint(), out, resume=True)
    assert used == ["torch"]


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from inference_parts import checkpoint, scene
from sparsecover.inference import predict
predict(scene(), checkpoint(), {out!r}, reporter=lambda p: p.done_px and (print("strip", flush=True), time.sleep(30)),
        confidence=True, probabilities="float32", entropy=True, batch_size=1)
"""


def test_a_killed_process_leaves_a_state_to_go_on_from(tmp_path, uninterrupted):
    out = tmp_path / "m.tif"
    code = CHILD.format(tests=str(Path(__file__).parent), out=str(out))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"strip\n"
        time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
    assert not out.exists()
    predict(scene(), checkpoint(), out, resume=True, **LAYERS)
    for name, expected in uninterrupted.items():
        assert (tmp_path / name).read_bytes() == expected


def test_journal_keeps_every_dtype_and_shape(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "map": rng.integers(0, 255, (4, 6)).astype(np.uint8),
        "probabilities": rng.random((3, 4, 6)).astype(np.float32),
    }
    strip = MapStrip(Window(8, 0, 4, 6), arrays, np.array([3, 0, 21]), 17.1)
    journal = Journal.create(tmp_path / "j", {"a": 1})
    journal.append(strip)
    journal.close()
    again = Journal.reopen(tmp_path / "j")
    assert again is not None
    assert again.settings == {"a": 1}
    (read,) = again.strips()
    assert (read.window, read.confidence_sum, read.counts.tolist()) == (strip.window, 17.1, [3, 0, 21])
    assert all(np.array_equal(read.arrays[name], arrays[name]) for name in arrays)
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_reaches_the_disk_too_late_is_told_with_the_next_strip(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    before = set(threading.enumerate())
    journal = Journal.create(tmp_path / "j", {})
    strip = MapStrip(Window(0, 0, 1, 1), {"map": np.zeros((1, 1), np.uint8)}, np.array([1]), 1.0)
    journal.append(strip)
    with pytest.raises(OutputError, match="No space left"):
        journal.append(strip)
    journal.close()
    assert not set(threading.enumerate()) - before


def test_other_files_are_not_taken_for_journals(tmp_path):
    (tmp_path / "j").write_bytes(b"something else\n{}\n")
    assert Journal.reopen(tmp_path / "j") is None
    assert Journal.reopen(tmp_path / "none") is None
