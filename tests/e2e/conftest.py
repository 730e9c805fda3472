"""A small georeferenced scene with a few labels, made once, and the command line in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import Point, box

from sparsecover.grid import Grid
from sparsecover.raster import MapWriter

from .warm import COMMAND, run_python

QUICK = ("--set", "train.epochs=2", "--set", "patches.per_epoch=8", "--set", "patches.size_px=32",
         "--set", "model.base_channels=4", "--set", "model.depth=3", "--set", "train.batch_size=4")  # fmt: skip


@dataclass(frozen=True)
class SmallScene:
    """Files of the scene: west is dark (water), east bright (land); a nodata corner; labels are polygons and points."""

    scene: Path
    labels: Path
    truth: Path
    folder: Path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallScene:
    folder = tmp_path_factory.mktemp("small")
    grid = Grid(96, 128, CRS.from_epsg(32632).to_wkt(), Affine(2, 0, 500_000, 0, -2, 5_400_000))
    truth = np.zeros((96, 128), np.uint8)
    truth[:, 64:] = 1
    truth[:16, :16] = 255
    rng = np.random.default_rng(0)
    image = np.where(truth == 1, 160, 60)[None] + rng.normal(0, 12, (3, 96, 128))
    image = image.clip(1, 255).astype(np.uint8)
    image[:, truth == 255] = 0
    for name, values in (("scene", image), ("truth", truth[None])):
        nodata = 0 if name == "scene" else 255
        with MapWriter(folder / f"{name}.tif", grid, count=len(values), nodata=nodata) as writer:
            writer.write(grid.window, values)
    gpd.GeoDataFrame({"class": _classes(), "number": range(12)}, geometry=_shapes(), crs="EPSG:32632").to_file(
        folder / "labels.gpkg"
    )
    return SmallScene(folder / "scene.tif", folder / "labels.gpkg", folder / "truth.tif", folder)


def _classes() -> list[str]:
    return ["water"] * 6 + ["land"] * 6


def _shapes() -> list:
    shapes = []
    for col0 in (30, 90):
        for i in range(6):
            x, y = 500_000 + 2 * (col0 + 10 * (i % 3)), 5_400_000 - 2 * (30 + 40 * (i // 3))
            shapes.append(Point(x, y) if i % 3 == 2 else box(x, y - 8, x + 8, y))
    return shapes


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def cli() -> Command:
    """Run ``sparsecover ARGUMENTS`` in a process of its own, forked where libraries have been imported."""
    return partial(run_python, COMMAND)


@pytest.fixture(scope="session")
def fresh() -> Command:
    """Run ``python -m sparsecover ARGUMENTS``, which imports what it needs itself; once for each command."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sparsecover", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def assert_users_mistake(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, one message with these words, no traceback."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
