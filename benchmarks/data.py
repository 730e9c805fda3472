"""Speed of reading windows beside TorchGeo's, and of simulating and burning labels.

    python benchmarks/data.py [--side 10000] [--windows 1000] [--epochs 4] [--polygons 100000]
    pip install -e '.[bench]'            # for TorchGeo; without it, its row is left out

Random 256 px windows of a tiled, compressed GeoTIFF of three bands: TorchGeo's RasterDataset with RandomGeoSampler
draws them, and all ways read the same ones in one thread; each epoch has windows of its own, so that none is read twice
by one way. In the first epoch most blocks of the file are decoded, which takes GDAL the same time for everybody; later
ones find most of them in GDAL's cache, as in a training. "Bare rasterio" and "copy" are the ceilings of reading from a
file and from memory. Simulating is timed in a process of its own, whose peak memory is printed.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import torch

from sparsecover.errors import MissingPartError
from sparsecover.grid import Grid, Window
from sparsecover.labels import burn_labels
from sparsecover.models.torchvision_pairing import import_beside_torchvision
from sparsecover.raster import open_scene

SIZE = 256
CORNER = (500_000.0, 5_000_000.0)
CRS = "EPSG:32633"

SIMULATE = """
import pathlib, re, sys, time
import numpy as np
from sparsecover.labels import simulate_labels
side = int(sys.argv[1])
mask = np.tile(np.repeat(np.arange(5, dtype=np.uint8), 100), (side, -(-side // 500)))[:, :side].copy()
start = time.perf_counter()
partial = simulate_labels(mask, "pixels", fraction=0.1)
seconds = time.perf_counter() - start
status = pathlib.Path("/proc/self/status")  # getrusage would count the parent's memory, too
peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()).group(1) if status.exists() else "nan"
print(seconds, float(peak) / 1024, np.count_nonzero(partial != 255) / mask.size)
"""

SIMULATE_COMMAND = """
import contextlib, pathlib, re, sys
from sparsecover.cli import main
with contextlib.suppress(SystemExit):
    main()
status = pathlib.Path("/proc/self/status")
print(re.search(r"VmHWM:\\s+(\\d+)", status.read_text()).group(1) if status.exists() else "nan")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("side", 10_000), ("windows", 1000), ("epochs", 4), ("polygons", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare_windows(make_scene(Path(folder) / "scene.tif", options.side), options)
        simulate(options.side)
        simulate_as_command(Path(folder), options.side)
        burn(Path(folder), options)


def make_scene(path: Path, side: int) -> Path:
    """A textured scene, written by rows of tiles."""
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8", "crs": CRS}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2}
    transform = rasterio.transform.from_origin(*CORNER, 1, 1)
    with rasterio.open(path, "w", **profile, **layout, transform=transform) as file:
        for row in range(0, side, 256):
            height = min(256, side - row)
            coarse = rng.integers(60, 180, (3, 32, -(-side // 8))).repeat(8, 1).repeat(8, 2)[:, :height, :side]
            values = (coarse + rng.normal(0, 8, coarse.shape)).clip(0, 255).astype(np.uint8)
            file.write(values, window=rasterio.windows.Window(0, row, side, height))
    return path


def compare_windows(path: Path, options: argparse.Namespace) -> None:
    """Windows per second of each way, and the ratios to TorchGeo."""
    peer = torchgeo_reader(path, options.windows * options.epochs)
    windows = peer[0] if peer else random_windows(options)
    scene = open_scene(path)
    cached = scene.cached()
    file = rasterio.open(path)
    values = cached.read()[0]
    ways: dict[str, Callable[[Window], Any]] = {
        "streamed": scene.read,
        "cached": cached.read,
        "bare rasterio": lambda w: file.read(window=((w.row, w.row_stop), (w.col, w.col_stop))),
        "copy": lambda w: values[(slice(None), *w.slices)].copy(),
    }
    if peer:
        ways["torchgeo"] = peer[1]
        assert np.array_equal(peer[1](windows[0]), scene.read(windows[0])[0]), "TorchGeo reads other windows"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    # One way after the other: GDAL's cache is the process's, and in turns they would drive out each other's blocks.
    for name, read in ways.items():
        for number in range(options.epochs):
            start = time.perf_counter()
            for window in windows[number :: options.epochs]:
                read(window)
            seconds[name].append(time.perf_counter() - start)
    show_rates("first epoch", {name: taken[:1] for name, taken in seconds.items()}, options.windows)
    show_rates("later epochs", {name: taken[1:] for name, taken in seconds.items()}, options.windows)
    if peer is None:
        print("Without TorchGeo (pip install -e '.[bench]') there are no ratios.")


def show_rates(when: str, seconds: dict[str, list[float]], windows: int) -> None:
    """Windows per second in the median epoch, and the ratios to TorchGeo."""
    for name, taken in seconds.items():
        if taken:
            print(f"{when:13s} {name:14s} {windows / statistics.median(taken):10,.0f} windows/s")
    for name, aim in (("streamed", 10), ("cached", 40)) if seconds.get("torchgeo") else ():
        ratio = statistics.median(p / t for p, t in zip(seconds["torchgeo"], seconds[name], strict=True))
        print(f"{when:13s} {name} over TorchGeo {ratio:8.1f}   aim: at least {aim}")


def random_windows(options: argparse.Namespace) -> list[Window]:
    """Without TorchGeo: windows anywhere in the scene."""
    rng = np.random.default_rng(0)
    places = rng.integers(options.side - SIZE, size=(options.windows * options.epochs, 2))
    return [Window(int(row), int(col), SIZE, SIZE) for row, col in places]


def torchgeo_reader(path: Path, count: int) -> tuple[list[Window], Callable[[Window], Any]] | None:
    """TorchGeo's windows, and how it reads them; None where it is not installed."""
    try:
        datasets, samplers = (
            import_beside_torchvision(f"torchgeo.{part}", "bench") for part in ("datasets", "samplers")
        )
    except MissingPartError as error:
        print(error)
        return None
    dataset = datasets.RasterDataset(paths=str(path))
    torch.manual_seed(0)
    queries = {}
    for query in samplers.RandomGeoSampler(dataset, size=SIZE, length=count):
        x, y = query[0], query[1]
        col, row = round(x.start - CORNER[0]), round(CORNER[1] - y.stop)
        # Whole pixels: half of one would make TorchGeo resample, and the windows would not be the same.
        left, top = CORNER[0] + col, CORNER[1] - row
        queries[Window(row, col, SIZE, SIZE)] = (slice(left, left + SIZE), slice(top - SIZE, top), query[2])

    def read(window: Window) -> Any:
        return dataset[queries[window]]["image"].numpy()

    return list(queries), read


def simulate(side: int) -> None:
    """10% of the pixels of a mask, in a process of its own."""
    command = [sys.executable, "-c", SIMULATE, str(side)]
    seconds, peak, kept = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    print(f"simulating {kept:.1%} of {side} x {side} pixels {seconds:6.2f} s, peak memory {peak:,.0f} MB   "
          "aim: under 2 s and 300 MB")  # fmt: skip


def simulate_as_command(folder: Path, side: int) -> None:
    """The same from file to file in a fresh process; beside it how long only writing the result takes."""
    mask, out = folder / "mask.tif", folder / "partial.tif"
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "crs": CRS, **layout}
    profile["transform"] = rasterio.transform.from_origin(*CORNER, 1, 1)
    with rasterio.open(mask, "w", **profile) as file:
        file.write(np.tile(np.repeat(np.arange(5, dtype=np.uint8), 100), (side, -(-side // 500)))[:, :side], 1)
    start = time.perf_counter()
    arguments = ["labels", "simulate", str(mask), "--fraction", "0.1", "--out", str(out)]
    command = [sys.executable, "-c", SIMULATE_COMMAND, *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    seconds = time.perf_counter() - start
    with rasterio.open(out) as file:
        values = file.read(1)
    start = time.perf_counter()
    with rasterio.open(folder / "copy.tif", "w", **profile, nodata=255, zlevel=5) as file:
        file.write(values, 1)
    alone = time.perf_counter() - start
    print(f"the same as a command, file to file {seconds:6.2f} s, peak memory {float(printed[-1]) / 1024:,.0f} MB   "
          f"({alone:.2f} s of it compressing and writing)")  # fmt: skip


def burn(folder: Path, options: argparse.Namespace) -> None:
    """Polygons of some pixels scattered over the scene."""
    rng = np.random.default_rng(0)
    x, y = (
        CORNER[0] + rng.random(options.polygons) * options.side,
        CORNER[1] - rng.random(options.polygons) * options.side,
    )
    radius = rng.uniform(2, 12, options.polygons)
    shapes = shapely.buffer(shapely.points(x, y), radius, quad_segs=2)
    frame = gpd.GeoDataFrame({"class": rng.integers(0, 5, options.polygons)}, geometry=shapes, crs=CRS)
    frame.to_file(folder / "labels.gpkg")
    grid = Grid(options.side, options.side, rasterio.crs.CRS.from_string(CRS).to_wkt(),
                rasterio.transform.from_origin(*CORNER, 1, 1))  # fmt: skip
    start = time.perf_counter()
    labels = burn_labels(folder / "labels.gpkg", grid, "class")
    seconds = time.perf_counter() - start
    print(f"burning {options.polygons:,} polygons into {options.side} x {options.side} pixels {seconds:6.1f} s   "
          f"aim: under 20 s ({labels.counts(5).sum():,} pixels labelled)")  # fmt: skip


if __name__ == "__main__":
    main()
