"""Data that cannot be meant, as `train` meets it: one message that lists all of it, exit code 2, nothing written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import layouts

from .conftest import QUICK, Command, assert_users_mistake


def without_masks(root: Path) -> None:
    for number in (1, 2):
        (root / "masks" / f"tile{number}.png").unlink()


def without_image(root: Path) -> None:
    (root / "images" / "tile3.jpg").unlink()


def other_shape(root: Path) -> None:
    layouts.mask(root / "masks" / "tile2.png", layouts.codes(3, 7, height=30, width=40))


def unknown_code(root: Path) -> None:
    values = layouts.codes(3, 7, height=34, width=40)
    values[:2, :5] = 99
    layouts.mask(root / "masks" / "tile2.png", values)


def unknown_color(root: Path) -> None:
    for number in range(4):
        colors = np.zeros((32 + number, 40, 3), np.uint8)
        colors[:, ::2] = (0, 255, 0)
        colors[:3] = (9, 9, 9) if number == 2 else (0, 0, 0)
        layouts.mask(root / "masks" / f"tile{number}.png", colors)
    (root / "classes.csv").write_text("code,name,color\n1,grass,#00FF00\n2,soil,#000000\n")


def unreadable(root: Path) -> None:
    (root / "images" / "tile1.jpg").write_bytes(b"no picture")
    (root / "images" / "tile2.jpg").write_bytes((root / "images" / "tile2.jpg").read_bytes()[:200])


def twins(root: Path) -> None:
    layouts.image(root / "images" / "tile1.png", 33, 40)


CASES: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...]]] = {
    "images without masks": (without_masks, "", ("tile1.jpg has no labels", "tile2.jpg has no labels",
                                                 "data.skip_unpaired=true")),
    "mask without image": (without_image, "", ("tile3.png has no image",)),
    "other shape": (other_shape, "", ("tile2.png", "30 x 40", "34 x 40")),
    "unknown code": (unknown_code, "classes={3: a, 7: b}", ("tile2.png", "99", "10 ")),
    "unknown colour": (unknown_color, "classes=classes.csv", ("tile2.png", "#090909", "120")),
    "unreadable": (unreadable, "", ("2 files cannot be used", "tile1.jpg", "tile2.jpg", "data.on_read_error=skip")),
    "duplicated names": (twins, "data.images=images/*", ("same name", "tile1.jpg", "tile1.png")),
    "fractions": (lambda root: None, "split.fractions=[0.5, 0.6, 0]", ("sum to 1",)),
    "empty side": (lambda root: None, "split={by: files, test: [tile9]}", ("tile9", "does not occur")),
    "no train": (lambda root: None, "split={by: scene, fractions: [0.0, 1.0, 0.0]}", ("nothing for train",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_listed(name: str, cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, setting, words = CASES[name]
    root = layouts.folder(tmp_path / "data")
    spoil(root)
    config = tmp_path / "data" / "run.yaml"
    config.write_text(f"data: {{root: {root}}}\nsplit: {{by: scene}}\n")
    result = cli("train", "--config", config, *(("--set", setting) if setting else ()), "--out", tmp_path / "out")
    assert_users_mistake(result, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folds", [0, 2])
def test_fewer_labels_than_asked_are_told_once(cli: Command, tmp_path: Path, folds: int) -> None:
    root = layouts.folder(tmp_path / "data")
    config = tmp_path / "run.yaml"
    simulate = "simulate: {sampler: points, n: 10000000}"
    split = f"folds: {folds}" if folds else "validation: [tile2]"
    config.write_text(f"data: {{root: {root}, {simulate}}}\nsplit: {{by: {'scene' if folds else 'files'}, {split}}}\n")
    result = cli("train", "--config", config, "--set", "model.name=random-forest", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    told = result.stderr.replace("\n", " ")
    assert told.lower().count("fewer points than asked: class 3 ") == 1, told
    if not folds:
        assert "of 30,000,000 (in 3 of 3 scenes)" in told
        result = cli("check", "--config", config)
        assert "points than asked" in result.stdout + result.stderr


def test_what_is_left_out_on_demand_is_named_and_the_rest_trains(cli: Command, tmp_path: Path) -> None:
    root = layouts.folder(tmp_path / "data")
    without_image(root)
    (root / "images" / "tile1.jpg").write_bytes(b"no picture")
    layouts.mask(root / "masks" / "tile0.png", layouts.codes(3, height=32, width=40))
    config = tmp_path / "run.yaml"
    config.write_text(f"data: {{root: {root}}}\nsplit: {{by: files, validation: [tile2]}}\n")
    result = cli("train", "--config", config, *QUICK, "--set", "data.skip_unpaired=true",
                 "--set", "data.on_read_error=skip", "--out", tmp_path / "out")  # fmt: skip
    assert result.returncode == 0, result.stderr
    for words in ("tile3.png has no image", "tile1.jpg", "The class 7 has no training label"):
        assert words in result.stderr.replace("\n", " ")
