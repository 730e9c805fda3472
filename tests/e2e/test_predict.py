"""Prediction through the command line: every kind of scene, kills, clusters, real imagery and bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS

from sparsecover.checkpoint import Checkpoint, ModelSpec, save_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.grid import Grid
from sparsecover.inference import predict
from sparsecover.normalize import Normalizer
from sparsecover.raster import MapWriter, open_scene

from .conftest import Command, SmallScene, assert_users_mistake

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
PREDICT = (sys.executable, "-m", "sparsecover", "predict")


def make_model(
    path: Path,
    bands: tuple[str, ...],
    classes: tuple[str, ...] = ("water", "land"),
    resolution_m: float | None = None,
    seed: int = 0,
) -> Path:
    """A U-Net with random weights for uint8 imagery: what it maps is noise, but always the same noise."""
    torch.manual_seed(seed)
    spec = ModelSpec("unet", len(bands), len(classes), {"base_channels": 4, "depth": 3})
    count = len(bands)
    normalizer = Normalizer("percentile", (110.0,) * count, (90.0,) * count, 4.0)
    network = spec.build()
    with torch.no_grad():  # fresh weights would find one class everywhere
        network.head.bias -= network(torch.randn(4, count, 64, 64)).mean((0, 2, 3))
    state = network.state_dict()
    scheme = ClassScheme.from_names(classes)
    save_checkpoint(path, Checkpoint({}, scheme, bands, normalizer, spec, 64, state, resolution_m=resolution_m))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "rgb.safetensors", ("band_1", "band_2", "band_3"))


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_options_work_together_as_in_python(model: Path, small: SmallScene, cli: Command, tmp_path: Path) -> None:
    other = make_model(tmp_path / "other.safetensors", ("band_1", "band_2", "band_3"), seed=1)
    chosen = {"patch_size": 32, "overlap": 8, "blend": "hann", "tta": True, "threshold": 0.45, "majority_px": 3,
              "min_area_ha": 0.004, "entropy": "float32", "probabilities": "float32", "confidence": "float32",
              "runtime": "torch"}  # fmt: skip
    bounds = (500_040.0, 5_399_850.0, 500_200.0, 5_399_960.0)
    for folder in ("cli", "python"):
        (tmp_path / folder).mkdir()
    result = cli(
        "predict", small.scene, "--model", model, "--model", other, "--out", tmp_path / "cli" / "m.tif", "--float",
        "--patch-size", 32, "--overlap", 8, "--blend", "hann", "--tta", "--threshold", 0.45, "--majority", 3,
        "--min-area-ha", 0.004, "--entropy", "--probabilities", "--polygons", "--runtime", "torch", "--ram", 64,
        "--area", ",".join(map(str, bounds)),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "hectares" in result.stdout
    assert "Mean confidence" in result.stdout
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    predict(
        open_scene(small.scene), [model, other], tmp_path / "python" / "m.tif", polygons=True, area=bounds, **chosen
    )
    torch.set_num_threads(threads)
    made, expected = bytes_of(tmp_path / "cli"), bytes_of(tmp_path / "python")
    assert made.keys() == expected.keys()
    assert len(made) == 8  # map, its style and names, three layers, polygons, statistics
    for name in expected:
        if not name.endswith(".gpkg"):  # GeoPackages hold the time
            assert made[name] == expected[name], name
    inside = np.zeros((96, 128), bool)
    inside[20:75, 20:100] = True
    assert np.array_equal(pixels(tmp_path / "cli" / "m.tif") != 255, inside)


def test_patterns_folders_virtual_files_and_stacks(
    model: Path, small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    shutil.copy(small.scene, scenes / "a.tif")
    shutil.copy(small.scene, scenes / "b.tif")
    rasterio.shutil.copy(scenes / "a.tif", scenes / "c.vrt", driver="VRT")
    result = cli("predict", scenes, "--model", model, "--out", tmp_path / "folder")
    assert result.returncode == 0, result.stderr
    (tmp_path / "folder" / "b_statistics.json").unlink()  # the last that is written: so b is not complete
    for name in ("b_map.tif", "b_confidence.tif"):
        (tmp_path / "folder" / name).unlink()
    before = (tmp_path / "folder" / "a_map.tif").stat().st_mtime_ns
    assert_users_mistake(cli("predict", scenes, "--model", model, "--out", tmp_path / "folder"), "a_map.tif exists")
    again = cli("predict", scenes, "--model", model, "--out", tmp_path / "folder", "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("nothing to resume") == 2 + 1  # the refused command has already made b
    assert (tmp_path / "folder" / "a_map.tif").stat().st_mtime_ns == before
    by_pattern = cli("predict", scenes / "[ab].tif", "--model", model, "--out", tmp_path / "pattern", "--no-confidence")
    assert by_pattern.returncode == 0, by_pattern.stderr
    maps = {path.name for path in (tmp_path / "pattern").glob("*.tif")}
    assert maps == {"a_map.tif", "b_map.tif"}
    expected = pixels(tmp_path / "folder" / "a_map.tif")
    assert len(np.unique(expected)) == 3
    for name in ("b", "c"):
        assert np.array_equal(pixels(tmp_path / "folder" / f"{name}_map.tif"), expected)
        assert (tmp_path / "folder" / f"{name}_confidence.tif").is_file()
        assert (tmp_path / "folder" / f"{name}_statistics.json").is_file()
    singles = []
    with rasterio.open(small.scene) as dataset:
        for band in (1, 2, 3):
            singles.append(tmp_path / f"{band}.tif")
            with rasterio.open(singles[-1], "w", **(dataset.profile | {"count": 1})) as single:
                single.write(dataset.read(band), 1)
    stacked = cli("predict", *singles, "--stack", "--model", model, "--out", tmp_path / "stack.tif")
    assert stacked.returncode == 0, stacked.stderr
    assert np.array_equal(pixels(tmp_path / "stack.tif"), expected)
    picked = cli("predict", *singles[::-1], "--stack", "--bands", "3,2,1", "--model", model, "--out",
                 tmp_path / "bands.tif")  # fmt: skip
    assert picked.returncode == 0, picked.stderr
    assert np.array_equal(pixels(tmp_path / "bands.tif"), expected)


def test_scenes_are_mapped_over_the_network(model: Path, small: SmallScene, cli: Command, tmp_path: Path) -> None:
    serve = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(small.folder)]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        address = f"http://127.0.0.1:{port}/scene.tif"
        scenes = (small.scene, f"{address}?signature=1", f"/vsicurl/{address}")
        result = cli("predict", *scenes, "--model", model, "--out", tmp_path / "maps")
        server.terminate()
    assert result.returncode == 0, result.stderr
    maps = [pixels(path) for path in (tmp_path / "maps").glob("*_map.tif")]
    assert len(maps) == 3
    assert all(np.array_equal(mapped, maps[0]) for mapped in maps)


def test_another_resolution_is_met_and_said(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    bands = ("band_1", "band_2", "band_3")
    model = make_model(tmp_path / "coarse.safetensors", bands, resolution_m=4.0)
    resampled = cli("predict", small.scene, "--model", model, "--out", tmp_path / "a.tif")
    native = cli("predict", small.scene, "--model", model, "--out", tmp_path / "b.tif", "--native")
    assert resampled.returncode == native.returncode == 0, resampled.stderr + native.stderr
    for stream in (resampled.stderr, resampled.stdout):  # before the work, and below the result
        assert "pixels of 2 m are resampled to the training's 4 m" in stream
    assert "resampled" not in native.stdout + native.stderr
    with rasterio.open(tmp_path / "a.tif") as made, rasterio.open(small.scene) as scene:
        assert (made.shape, made.transform) == (scene.shape, scene.transform)
    assert not np.array_equal(pixels(tmp_path / "a.tif"), pixels(tmp_path / "b.tif"))


# A scene of so many small windows that there is time to do something to the process.


@pytest.fixture(scope="module")
def long_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.tif"
    grid = Grid(1500, 256, CRS.from_epsg(32632).to_wkt(), Affine(2, 0, 500_000, 0, -2, 5_400_000))
    values = np.random.default_rng(0).integers(1, 255, (3, 1500, 256)).astype(np.uint8)
    with MapWriter(path, grid, count=3, nodata=0) as writer:
        writer.write(grid.window, values)
    return path


@pytest.fixture(scope="module")
def long_run(long_scene: Path, model: Path) -> Callable[..., list[str]]:
    """The command that maps it, with its options always the same."""

    def command(out: Path, *more: str) -> list[str]:
        options = ("--overlap", "0.5", "--patch-size", "64", "--batch-size", "1", "--runtime", "torch", "--entropy")
        return [*PREDICT, str(long_scene), "--model", str(model), "--out", str(out), *options, *more]

    return command


@pytest.fixture(scope="module")
def undisturbed(long_run: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(long_run(folder / "m.tif"), env=ONE_THREAD, check=True, capture_output=True)
    assert len(np.unique(pixels(folder / "m.tif"))) == 2
    return bytes_of(folder)


@contextmanager
def started(command: list[str], journal: Path, beyond: int = 0) -> Iterator["subprocess.Popen[str]"]:
    """The process, once its journal holds a strip more than it did."""
    with subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            deadline = time.monotonic() + 120
            while not (journal.exists() and journal.stat().st_size > beyond + 4096):
                assert child.poll() is None, child.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            yield child
        finally:
            child.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_killed_interrupted_terminated_and_resumed_gives_the_same_bytes(
    long_run: Callable[..., list[str]], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out, journal = tmp_path / "m.tif", tmp_path / "m.tif.partial"
    with started(long_run(out), journal) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not out.exists()
    refused = subprocess.run(long_run(out), env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert_users_mistake(refused, "--resume", "--overwrite")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with started(long_run(out, "--resume"), journal, beyond=journal.stat().st_size) as child:
            child.send_signal(number)
            _, said = child.communicate()
        assert child.returncode == code
        assert "Stopped." in said
        assert "same command with --resume" in said
        assert "Traceback" not in said
        assert not out.exists()
    finished = subprocess.run(long_run(out, "--resume"), env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert bytes_of(tmp_path) == undisturbed  # and nothing of what the killed process was writing


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_worker_of_a_local_cluster_changes_no_byte(
    long_run: Callable[..., list[str]], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    with started(long_run(tmp_path / "m.tif", "--workers", "2"), tmp_path / "m.tif.partial") as child:
        workers = [p for p in psutil.Process(child.pid).children(recursive=True) if "spawn_main" in str(p.cmdline())]
        assert len(workers) == 2
        workers[0].kill()
        _, said = child.communicate(timeout=300)
    assert child.returncode == 0, said
    assert bytes_of(tmp_path) == undisturbed


def test_workers_of_a_scheduler_that_runs_elsewhere(
    long_run: Callable[..., list[str]], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    address, out = tmp_path / "scheduler.json", tmp_path / "out"
    out.mkdir()
    common = {"env": ONE_THREAD, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = (sys.executable, "-m", "dask")
    network = ("--scheduler-file", str(address), "--no-dashboard", "--host", "127.0.0.1")
    with subprocess.Popen([*dask, "scheduler", "--port", "0", *network], **common) as scheduler:
        worker = subprocess.Popen([*dask, "worker", "--nthreads", "1", "--no-nanny", *network], **common)
        try:
            deadline = time.monotonic() + 120
            while not address.exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            at = json.loads(address.read_text())["address"]
            run = subprocess.run(
                long_run(out / "m.tif", "--scheduler", at), env=ONE_THREAD, capture_output=True, text=True, check=False
            )
        finally:
            for process in (worker, scheduler):  # asked politely, a worker waits for the scheduler, at times for ever
                process.kill()
                process.wait()
    assert run.returncode == 0, run.stderr
    assert bytes_of(out) == undisturbed


# Real imagery.


def test_naip_scenes_of_several_years(real_data: Path, cli: Command, tmp_path: Path) -> None:
    folder = real_data / "naip_scenes"
    bands = tuple(band.name for band in open_scene(folder / "m_4709963_se_14_1_20140720.tif").bands)
    model = make_model(tmp_path / "naip.safetensors", bands, ("water", "field", "wood"))
    result = cli("predict", folder / "m_*.tif", "--model", model, "--out", tmp_path / "maps", "--patch-size", 256)
    assert result.returncode == 0, result.stderr
    scenes = sorted(folder.glob("m_*.tif"))
    assert len(scenes) == 3
    for path in scenes:
        with rasterio.open(path) as scene, rasterio.open(tmp_path / "maps" / f"{path.stem}_map.tif") as made:
            assert (made.shape, made.transform, made.crs) == (scene.shape, scene.transform, scene.crs)
        valid = open_scene(path).read()[1]
        assert np.array_equal(pixels(tmp_path / "maps" / f"{path.stem}_map.tif") != 255, valid)


ODD = ("cog_gcps", "rotated", "cog_tags", "test_esri_wkt", "float_raster_with_nodata", "cog_nonearth", "world.byte")
BROKEN = ("empty_0_bytes", "lfs_pointer_not_a_tif", "truncated_half_RGB.byte", "corrupt")


def test_odd_files_keep_their_place_and_broken_ones_are_named(real_data: Path, cli: Command, tmp_path: Path) -> None:
    zoo = real_data / "geotiff_zoo"
    model = make_model(tmp_path / "gray.safetensors", ("band_1",))
    files = [zoo / f"{name}.tif" for name in (*ODD, *BROKEN)]
    result = cli("predict", *files, "--model", model, "--out", tmp_path / "maps", "--no-confidence", "--native")
    assert_users_mistake(result, *(f"{name}.tif" for name in BROKEN))
    assert result.stderr.count("Error: ") == len(BROKEN)
    for name in ODD:
        with rasterio.open(zoo / f"{name}.tif") as scene, rasterio.open(tmp_path / "maps" / f"{name}_map.tif") as made:
            assert made.shape == scene.shape
            assert made.transform.almost_equals(scene.transform), name
            assert made.crs == scene.crs
            assert len(made.gcps[0]) == len(scene.gcps[0])


# Bad input.


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".safetensors"}


def make_scene(path: Path, values: np.ndarray, crs: str | None = "EPSG:32632") -> Path:
    options = {"crs": crs, "transform": Affine(2, 0, 500_000, 0, -2, 5_400_000)}
    count, height, width = values.shape
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=count, dtype=values.dtype,
                       nodata=0, **options) as dataset:  # fmt: skip
        dataset.write(values)
    return path


def test_scenes_that_are_small_empty_or_nowhere_are_mapped(model: Path, cli: Command, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    make_scene(scenes / "pixel.tif", np.full((3, 1, 1), 100, np.uint8))
    make_scene(scenes / "stride.tif", np.full((3, 3, 70), 100, np.uint8))
    make_scene(scenes / "nowhere.tif", np.full((3, 40, 50), 100, np.uint8), crs=None)
    make_scene(scenes / "void.tif", np.zeros((3, 40, 50), np.uint8))
    result = cli("predict", scenes, "--model", model, "--out", tmp_path / "maps")
    assert result.returncode == 0, result.stderr
    for name, shape in {"pixel": (1, 1), "stride": (3, 70), "nowhere": (40, 50)}.items():
        mapped = pixels(tmp_path / "maps" / f"{name}_map.tif")
        assert mapped.shape == shape
        assert (mapped != 255).all()
    assert (pixels(tmp_path / "maps" / "void_map.tif") == 255).all()
    assert "void holds no valid pixel" in result.stdout
    statistics = json.loads((tmp_path / "maps" / "nowhere_statistics.json").read_text())
    assert statistics["area_ha"] is None


def test_a_unit_in_hectares_is_refused_before_the_work_where_there_is_no_system(
    model: Path, cli: Command, tmp_path: Path
) -> None:
    scene = make_scene(tmp_path / "a.tif", np.full((3, 40, 50), 100, np.uint8), crs=None)
    result = cli("predict", scene, "--model", model, "--out", tmp_path / "m.tif", "--min-area-ha", 1)
    assert_users_mistake(result, "coordinate system")
    assert "Mapping" not in result.stderr
    assert written(tmp_path) == {"a.tif"}


def test_values_of_another_scale_are_warned_of_with_figures(model: Path, cli: Command, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(4000, 9000, (3, 64, 64)).astype(np.uint16)
    scene = make_scene(tmp_path / "a.tif", values)
    result = cli("predict", scene, "--model", model, "--out", tmp_path / "m.tif")
    assert result.returncode == 0, result.stderr
    assert "in training it held about 20 to 200" in result.stdout
    assert "Do not trust the map" in result.stderr


def test_the_wanted_bands_are_named(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    model = make_model(tmp_path / "m.safetensors", ("red", "green", "blue", "nir"))
    result = cli("predict", small.scene, "--model", model, "--out", tmp_path / "m.tif")
    assert_users_mistake(result, "3 bands", "wants 4: red, green, blue, nir", "--bands")
    assert written(tmp_path) == set()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A scene of 3 x 3 blocks whose middle one cannot be decoded."""
    values = np.random.default_rng(0).integers(1, 255, (3, 384, 384)).astype(np.uint8)
    path = tmp_path / "damaged.tif"
    with rasterio.open(path, "w", driver="GTiff", height=384, width=384, count=3, dtype="uint8", nodata=0, tiled=True,
                       blockxsize=128, blockysize=128, compress="deflate", interleave="pixel", crs="EPSG:32632",
                       transform=Affine(2, 0, 500_000, 0, -2, 5_400_000)) as dataset:  # fmt: skip
        dataset.write(values)
    with rasterio.open(path) as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)
    return path


def test_an_unreadable_block_is_named_or_left_out(model: Path, damaged: Path, cli: Command, tmp_path: Path) -> None:
    out = tmp_path / "m.tif"
    stopped = cli("predict", damaged, "--model", model, "--out", out)
    assert_users_mistake(stopped, "damaged.tif", "Cannot read rows", "columns")
    assert written(tmp_path) == {"damaged.tif"}
    gone_on = cli("predict", damaged, "--model", model, "--out", out, "--on-read-error", "nodata")
    assert gone_on.returncode == 0, gone_on.stderr
    assert "as nodata" in gone_on.stderr
    expected = np.zeros((384, 384), bool)
    expected[128:256, 128:256] = True
    assert np.array_equal(pixels(out) == 255, expected)


@pytest.mark.parametrize("target", ["missing/m.tif", "file/m.tif", "folder.tif", "/proc/m.tif", "m.png"])
def test_targets_are_checked_before_anything_is_computed(
    target: str, model: Path, small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    if target.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("there is no folder here that nobody may write into")
    (tmp_path / "file").touch()
    (tmp_path / "folder.tif").mkdir()
    result = cli("predict", small.scene, "--model", model, "--out", tmp_path / target)
    assert_users_mistake(result, *Path(target).parts[-2:])
    assert written(tmp_path) == {"file", "folder.tif"}
    assert not list((tmp_path / "folder.tif").iterdir())


# ONNX.


def test_export_checks_random_and_real_windows(
    model: Path, small: SmallScene, cli: Command, fresh: Command, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "m.onnx"
    result = fresh("export", model, "--out", out, "--scene", small.scene, "--tile-size", 96)
    assert result.returncode == 0, result.stderr
    assert "over 6 windows" in result.stdout
    (taken,) = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"]).get_inputs()
    assert taken.shape[1:] == [3, 96, 96]
    assert_users_mistake(cli("export", model, "--out", out), "--overwrite")


def test_both_runtimes_map_alike(model: Path, small: SmallScene, cli: Command, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for runtime in ("torch", "onnx"):
        result = cli("predict", small.scene, "--model", model, "--out", tmp_path / f"{runtime}.tif", "--runtime",
                     runtime, "--probabilities", "--float")  # fmt: skip
        assert result.returncode == 0, result.stderr
    one, other = (pixels(tmp_path / f"{runtime}_probabilities.tif") for runtime in ("torch", "onnx"))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    with rasterio.open(tmp_path / "onnx_probabilities.tif") as dataset:
        assert dataset.descriptions == ("water", "land")
