"""Every recipe on its dataset: described, split, and trained for a moment; the published layouts on small copies."""

import json
from pathlib import Path

import pytest

import layouts
from sparsecover.config import Config
from sparsecover.pipeline import describe_data, train

from .conftest import Command

RECIPES = Path(__file__).parents[2] / "recipes"
SHORT = ("train.epochs=1", "train.batch_size=2", "patches.per_epoch=2", "patches.size_px=32",
         "model.base_channels=4", "model.depth=3", "augment=light")  # fmt: skip
REAL = {
    "chesapeake-wv": "chesapeake_wv",
    "dronedeploy": "dronedeploy_chips",
    "dubai-by-tile": "dubai_mbrsc",
    "landsat12-water": "landsat12_water_worldcover",
    "oxford-pets-trimaps": "oxford_pets_trimaps",
    "sentinel2-india": "sentinel2_india_4class",
}
PUBLISHED = {"landcoverai": layouts.landcoverai, "deepglobe": layouts.deepglobe, "oxford-pet": layouts.oxford_pet}
ELSEWHERE = {"dubai-same-scenes", "enmap-potsdam", "sen1floods11"}


def read(name: str, root: Path) -> Config:
    return Config.from_yaml(RECIPES / f"{name}.yaml", [f"data.root={root}", *SHORT])


@pytest.mark.parametrize("name", REAL)
def test_recipes_of_real_sets(name: str, real_data: Path, tmp_path: Path) -> None:
    config = read(name, real_data / REAL[name])
    described = describe_data(config)
    assert not described["left_out"]
    assert sum(row["share"] for row in described["classes"]) == pytest.approx(1)
    checkpoint = train(config, tmp_path)
    bands = {"chesapeake-wv": 8, "landsat12-water": 7, "sentinel2-india": 4}
    assert len(checkpoint.bands) == bands.get(name, 3)
    budget = checkpoint.metrics["labelled_pixels"]["train"]
    assert 0 < budget < sum(row["pixels"] for row in described["classes"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_of_published_layouts(name: str, tmp_path: Path) -> None:
    config = read(name, PUBLISHED[name](tmp_path / name))
    described = describe_data(config)
    assert not described["left_out"]
    assert described["splits"]["train"]
    checkpoint = train(config, tmp_path / "run")
    assert checkpoint.metrics["labelled_pixels"]["train"] > 0


def test_all_recipes_are_tried() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} >= REAL.keys() | PUBLISHED.keys() | ELSEWHERE


@pytest.mark.parametrize("layout", [*PUBLISHED, "patches", "folder"])
def test_every_layout_is_described_on_the_command_line(layout: str, cli: Command, tmp_path: Path) -> None:
    root = {**PUBLISHED, "patches": layouts.patches, "folder": layouts.folder}[layout](tmp_path)
    result = cli("data", "info", layout, "--root", root, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    expected = {"landcoverai": 4, "deepglobe": 20, "oxford-pet": 4, "patches": 6, "folder": 4}
    assert found["pairs"] == expected[layout]
    assert layout == "folder" or found["splits"]["train"] >= 1
    if layout == "landcoverai":
        assert found["windows"] == {"train": 3, "validation": 1, "test": 1}
