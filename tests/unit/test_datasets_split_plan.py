"""A split as a file: read, hashed, changed by hand, used again, refused for other labels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsecover.classes import UNLABELLED
from sparsecover.config import SplitConfig
from sparsecover.datasets import Pair, Split, SplitPlan, split_folds, split_pairs
from sparsecover.errors import DataError
from sparsecover.grid import Grid, Window
from sparsecover.labels import LabelRaster
from sparsecover.raster import Scene


def pair(name: str, seed: int = 0, size: int = 64) -> Pair:
    values = np.random.default_rng(seed).integers(0, 3, (size, size)).astype(np.uint8)
    scene = Scene.from_array(np.zeros((1, size, size), np.uint8), name=name)
    return Pair(scene, LabelRaster(values, Grid(size, size)), name)


def content(split: Split) -> dict[str, list[tuple[str, bytes]]]:
    """Names and labels of each side."""
    return {side: [(p.name, p.labels.values.tobytes()) for p in pairs] for side, pairs in split.sides.items()}


BLOCKS = SplitConfig(by="block", block_px=16, buffer_px=2, fractions=(0.5, 0.25, 0.25))
SCENES = SplitConfig(by="scene", fractions=(0.5, 0.25, 0.25))


@pytest.mark.parametrize("config", [BLOCKS, SCENES], ids=["block", "scene"])
def test_a_plan_gives_the_same_split_whatever_else_is_said(config: SplitConfig, tmp_path: Path) -> None:
    pairs = [pair(f"s{i}", i) for i in range(4)]
    split = split_pairs(pairs, config, 0, 3)
    split.plan.write(tmp_path / "split.json")
    assert SplitPlan.read(tmp_path / "split.json") == split.plan
    again = split_pairs(pairs, SplitConfig(by="scene", plan=tmp_path / "split.json"), 7, 3)
    assert content(again) == content(split)
    assert again.plan.digest == split.plan.digest
    assert split_pairs(pairs, config, 1, 3).plan.digest != split.plan.digest


def test_a_plan_can_be_read_and_changed_by_hand(tmp_path: Path) -> None:
    pairs = [pair("a"), pair("b", 1)]
    split_pairs(pairs, SplitConfig(by="files", test=("b",)), 0, 3).plan.write(tmp_path / "split.json")
    text = (tmp_path / "split.json").read_text()
    assert '{"name": "b", "side": "test"}' in text
    (tmp_path / "split.json").write_text(text.replace('"side": "test"', '"side": "validation"'))
    split = split_pairs(pairs, SplitConfig(plan=tmp_path / "split.json"), 0, 3)
    assert [p.name for p in split.validation] == ["b"]
    assert not split.test


def test_blocks_of_a_plan_tell_where_they_are(tmp_path: Path) -> None:
    split = split_pairs([pair("a")], BLOCKS, 0, 3)
    split.plan.write(tmp_path / "split.json")
    groups = json.loads((tmp_path / "split.json").read_text())["scenes"][0]["groups"]
    assert len(groups) == 16
    assert sum(group["pixels"] for group in groups) == 64 * 64
    test = split.test[0].labels.values != UNLABELLED
    for group in groups:
        row, col, height, width = group["window"]
        assert (height, width) == (16, 16)
        assert test[row : row + 16, col : col + 16].all() == (group["side"] == "test")


def test_windows_of_one_scene_on_several_sides_keep_them(tmp_path: Path) -> None:
    whole = pair("a")
    parts = [
        replace(whole, split=side, windows=(Window(row, 0, 32, 64),)) for side, row in (("train", 0), ("test", 32))
    ]
    split = split_pairs(parts, SplitConfig(by="files"), 0, 3)
    split.plan.write(tmp_path / "split.json")
    again = split_pairs(parts, SplitConfig(plan=tmp_path / "split.json"), 0, 3)
    assert [p.windows for p in again.test] == [(Window(32, 0, 32, 64),)]
    assert [scene.name for scene in again.plan.scenes] == ["a (train)", "a (test)"]


def test_plans_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    config = SplitConfig(plan=path)
    with pytest.raises(DataError, match="cannot be read"):
        split_pairs([pair("a")], config, 0, 3)
    path.write_text('{"by": "scene"}')
    with pytest.raises(DataError, match="not a split plan: scenes: Field required"):
        split_pairs([pair("a")], config, 0, 3)
    split_pairs([pair("a")], BLOCKS, 0, 3).plan.write(path)
    changed = pair("a")
    changed.labels.values[:5] = UNLABELLED
    with pytest.raises(DataError, match="other labels of a"):
        split_pairs([changed], config, 0, 3)
    with pytest.raises(DataError, match=r"scenes that are not there:\na"):
        split_pairs([pair("b")], config, 0, 3)
    more = split_pairs([pair("a"), pair("new", 1)], config, 0, 3)
    assert any("Left out, since not in the split plan: 1 pair." in note for note in more.notes)
    with pytest.raises(DataError, match="leave out either"):
        split_folds([pair("a")], SplitConfig(plan=path, folds=2), 0, 3)


def test_a_buffer_that_was_asked_for_is_kept_and_an_automatic_one_may_shrink() -> None:
    asked = split_pairs([pair("a", size=100)], SplitConfig(by="block", block_px=25, buffer_px=12), 0, 3)
    train = asked.train[0].labels.values != UNLABELLED
    held = np.argwhere(asked.validation[0].labels.values != UNLABELLED)
    for row, col in np.argwhere(train)[::37]:
        assert np.abs(held - (row, col)).max(axis=1).min() > 12
    auto = split_pairs([pair("a", size=100)], SplitConfig(by="block", block_px=25), 0, 3, patch_px=64)
    assert any("reduced" in note or "dropped" in note for note in auto.notes)
    with pytest.raises(DataError, match="nothing for train"):
        split_pairs([pair("a", size=100)], SplitConfig(by="block", block_px=25, buffer_px=100), 0, 3)
