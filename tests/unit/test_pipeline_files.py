"""Folders for results: gone where nothing was made, kept with word of how to go on where something was."""

import os
import signal
from pathlib import Path

import pytest

from sparsecover import cli
from sparsecover.errors import DataError, OutputError
from sparsecover.pipeline.files import results_in


def work(folder: Path, error: BaseException, *files: str) -> None:
    """Write some files into a folder for results, then fail."""
    with results_in(folder, "report.html"):
        for name in files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        raise error


def fail(folder: Path, error: BaseException, *files: str) -> BaseException:
    """What comes out of such work."""
    with pytest.raises(type(error)) as raised:
        work(folder, error, *files)
    return raised.value


@pytest.mark.parametrize("error", [DataError("no"), KeyboardInterrupt(), SystemExit(143)])
def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path, error: BaseException) -> None:
    fail(tmp_path / "a" / "b", error, "split.json", "config.yaml", "folds/manifest.json")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "note.txt").touch()
    fail(tmp_path / "new", DataError("no"))
    fail(tmp_path, DataError("no"))
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    with pytest.raises(OutputError), results_in(tmp_path, "note.txt"):
        pass


def test_a_helping_process_leaves_the_folder_to_the_one_it_helps(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), results_in(tmp_path / "out", "report.html", ours=False):
        raise KeyboardInterrupt
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("file", ["state.pt", "fold_1/last.safetensors", "diverged.txt"])
def test_what_was_trained_is_kept_and_a_stop_tells_how_to_go_on(tmp_path: Path, file: str) -> None:
    error = fail(tmp_path / "out", DataError("no"), file)
    assert (tmp_path / "out" / file).exists()
    assert not hasattr(error, "__notes__")
    for stop in (KeyboardInterrupt(), SystemExit(143)):
        assert fail(tmp_path / "out", stop, file).__notes__ == [
            f"{tmp_path / 'out'} holds what is done: the same command with --resume goes on from there."
        ]


def test_what_other_runs_left_below_the_folder_is_kept_and_not_told_of(tmp_path: Path) -> None:
    other = tmp_path / "other" / "state.pt"
    other.parent.mkdir()
    other.touch()
    os.utime(other, (0, 0))
    assert not hasattr(fail(tmp_path, KeyboardInterrupt()), "__notes__")
    assert other.exists()
    with pytest.raises(KeyboardInterrupt) as resumed, results_in(tmp_path, "report.html", resume=True):
        raise KeyboardInterrupt
    assert len(resumed.value.__notes__) == 1


def test_the_command_line_says_so_and_ends_with_the_code_of_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["map", "a.tif", "--labels", "b.gpkg", "--out", str(tmp_path / "out")]
    stop: BaseException = KeyboardInterrupt()
    monkeypatch.setattr("sparsecover.pipeline.make_map", lambda *_, **__: work(tmp_path / "out", stop, "state.pt"))
    assert cli.run(arguments) == 130
    assert "with --resume goes on from there" in capsys.readouterr().err
    stop = SystemExit(128 + signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.run(arguments)
    assert ended.value.code == 143
    assert "with --resume goes on from there" in capsys.readouterr().err
