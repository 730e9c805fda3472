"""Speed and memory of prediction, against the raw forward rate and against peers, in one run on the same weights.

    python benchmarks/predict.py                     # 6000 x 6000 pixels, U-Net with 16 base channels, 2 threads
    python benchmarks/predict.py --peers             # also MONAI, nnU-Net and TorchGeo (those that are installed)
    python benchmarks/predict.py --peers monai       # only this one
    python benchmarks/predict.py --device cuda --peers   # the same table on a GPU
    python benchmarks/predict.py --memory            # peak memory and seconds per megapixel, small against large scene

Peers run in their usual eager form: NCHW, fp32, the whole scene in memory where they need it. Our own networks turn to
channels_last by themselves, which peers gain from too; that is switched off for them, and shown for MONAI as it is.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import rasterio
import rasterio.shutil
import torch

from sparsecover.checkpoint import Checkpoint, ModelSpec, save_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.inference import predict
from sparsecover.inference.job import Job
from sparsecover.inference.lanes import Lanes, lane_count
from sparsecover.inference.runtimes import Runtime, make_runtime, quicker_runtime
from sparsecover.inference.settings import Settings
from sparsecover.models.torchvision_pairing import import_beside_torchvision
from sparsecover.normalize import Normalizer
from sparsecover.raster import open_scene

WINDOW_PX, OVERLAP = 512, 0.25
CLASSES = ("water", "woodland", "field", "road", "building")
FORWARD_WINDOWS = 24


def make_scene(path: Path, side: int) -> Path:
    """A uint8 RGB COG of smooth texture with noise, so that it compresses about as well as imagery."""
    rng = np.random.default_rng(0)
    strips = path.with_suffix(".strips.tif")
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8", "tiled": True,
               "crs": "EPSG:32633", "transform": rasterio.transform.from_origin(4e5, 5.5e6, 1, 1)}  # fmt: skip
    with rasterio.open(strips, "w", **profile) as dataset:
        for row in range(0, side, 256):
            height = min(256, side - row)
            coarse = rng.integers(60, 180, (3, height // 32 + 2, side // 32 + 2)).repeat(32, 1).repeat(32, 2)
            values = coarse[:, :height, :side] + rng.integers(-12, 12, (3, height, side))
            dataset.write(values.astype(np.uint8), window=rasterio.windows.Window(0, row, side, height))
    rasterio.shutil.copy(strips, path, driver="COG", COMPRESS="DEFLATE", PREDICTOR="YES", BLOCKSIZE=512)
    strips.unlink()
    return path


def make_checkpoint(base_channels: int) -> Checkpoint:
    """A U-Net with random weights: speed does not depend on them."""
    torch.manual_seed(0)
    spec = ModelSpec("unet", 3, len(CLASSES), {"base_channels": base_channels})
    normalizer = Normalizer("percentile", (120.0,) * 3, (60.0,) * 3, 4.0)
    scheme = ClassScheme.from_names(CLASSES)
    return Checkpoint({}, scheme, ("red", "green", "blue"), normalizer, spec, WINDOW_PX, spec.build().state_dict())


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def forward_seconds(checkpoint: Checkpoint, runtime: str, job: Job) -> float:
    """Time of the chosen runtime alone on as many windows as a prediction computes, from a sample of them."""
    device, size = torch.device(job.settings.device), job.settings.batch_size or 1
    lanes = Lanes(lane_count(device, False, job.layout.count // size))
    forward = make_runtime(runtime, checkpoint.model(), device, 3, WINDOW_PX, False, lanes.count)
    batch = torch.randn(size, 3, WINDOW_PX, WINDOW_PX, device=device)
    passes = -(-FORWARD_WINDOWS // size)

    def run(passes: int) -> None:
        for result in lanes.map(forward, [batch] * passes):
            probability = result[0, 0, 0, 0]
        probability.item()  # a GPU computes while we go on

    run(lanes.count)
    return seconds(lambda: run(passes)) / (passes * size) * job.layout.count


@contextmanager
def timed_network() -> Iterator[list[float]]:
    """Seconds that each call of the network takes inside a prediction; calls of several lanes overlap."""
    spent: list[float] = []

    def make(*choices: Any) -> Runtime:
        forward = make_runtime(*choices)

        def run(batch: torch.Tensor) -> torch.Tensor:
            start = time.perf_counter()
            result = forward(batch)
            if result.is_cuda:
                torch.cuda.synchronize()
            spent.append(time.perf_counter() - start)
            return result

        return run

    with mock.patch("sparsecover.inference.networks.make_runtime", make):
        yield spent


def report(name: str, spent: float, pixels: int, reference: float | None = None, note: str = "") -> None:
    """One line of the table."""
    ratio = "" if reference is None else f"{spent / reference:6.2f} x ours"
    print(f"{name:34s} {spent:8.1f} s {pixels / spent / 1e6:8.3f} MPix/s  {ratio}  {note}", flush=True)


def compare(
    side: int, base_channels: int, runtimes: list[str], peers: list[str], device: torch.device, folder: Path
) -> None:
    """Ours end to end against the forward rate, then the peers."""
    path, checkpoint = make_scene(folder / "scene.tif", side), make_checkpoint(base_channels)
    scene, pixels = open_scene(path), side * side
    job = Job.plan(scene, checkpoint, Settings(runtime="torch", overlap=OVERLAP, device=str(device)))
    layout = job.layout
    place = f"{torch.get_num_threads()} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(f"{side} x {side} px, {layout.count} windows of {layout.size} px, {place}")
    quicker = quicker_runtime(checkpoint.model(), device, 3, layout.size, layout.count)
    print(f"auto takes: {quicker}")
    ours, lanes = 0.0, lane_count(device, False, layout.count)
    for runtime in runtimes or [quicker]:
        bare = forward_seconds(checkpoint, runtime, job)
        with timed_network() as inside:
            chosen = {"runtime": runtime, "overlap": OVERLAP, "device": str(device)}
            ours = seconds(lambda: predict(scene, checkpoint, folder / f"{runtime}.tif", **chosen))  # noqa: B023
        bare = (bare + forward_seconds(checkpoint, runtime, job)) / 2  # before and after: machines drift
        report(f"forward alone, {runtime}", bare, pixels)
        report(f"sparsecover, {runtime}", ours, pixels, note=f"{bare / ours:.2f} of the forward rate")
        print(f"{'':34s} {sum(inside) / lanes / ours:.2f} of its time in the network")
    for name, run, as_it_is in (peer for peer in PEERS if peer[0] in peers):
        change = nullcontext() if as_it_is else mock.patch("sparsecover.models.network.channels_last", lambda x: x)
        try:
            with change:
                report(name, seconds(lambda: run(path, checkpoint, device)), pixels, ours)  # noqa: B023
        except ImportError as error:
            print(f"{name:34s} cannot run: {error}")


def normalised_scene(path: Path, checkpoint: Checkpoint) -> torch.Tensor:
    """The whole scene in memory, as peers want it: float32 [1, 3, H, W]."""
    return torch.from_numpy(checkpoint.normalizer(*open_scene(path).read()))[None]


def run_monai(path: Path, checkpoint: Checkpoint, device: torch.device) -> None:
    """MONAI's sliding_window_inference with Gaussian blending; sums stay in main memory."""
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        logits = sliding_window_inference(
            normalised_scene(path, checkpoint), (WINDOW_PX, WINDOW_PX), 1, checkpoint.model().to(device), OVERLAP,
            mode="gaussian", sw_device=device, device=torch.device("cpu"),
        )  # fmt: skip
        logits.argmax(1).to(torch.uint8).numpy()


def run_nnunet(path: Path, checkpoint: Checkpoint, device: torch.device) -> None:
    """nnU-Net's sliding predictor (2D network on one slice), without mirroring."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=1 - OVERLAP, use_gaussian=True, use_mirroring=False, perform_everything_on_device=False,
        device=device, allow_tqdm=False,
    )  # fmt: skip
    predictor.network = checkpoint.model()
    predictor.allowed_mirroring_axes = None

    class Plan:
        patch_size = (WINDOW_PX, WINDOW_PX)

    class Labels:
        num_segmentation_heads = len(CLASSES)

    predictor.configuration_manager, predictor.label_manager = Plan(), Labels()
    with torch.inference_mode():
        logits = predictor.predict_sliding_window_return_logits(normalised_scene(path, checkpoint)[0][:, None])
        logits.argmax(0).to(torch.uint8).numpy()


def run_torchgeo(path: Path, checkpoint: Checkpoint, device: torch.device) -> None:
    """TorchGeo's documented loop: RasterDataset, GridGeoSampler, a loader; windows are written where they fall."""
    from torch.utils.data import DataLoader

    import_beside_torchvision("torchgeo.datasets", "bench")
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    dataset, network = RasterDataset(str(path)), checkpoint.model().to(device)
    sampler = GridGeoSampler(dataset, size=WINDOW_PX, stride=round(WINDOW_PX * (1 - OVERLAP)))
    with torch.inference_mode():
        for batch in DataLoader(dataset, batch_size=1, sampler=sampler, collate_fn=stack_samples):
            network((batch["image"].to(device).float() - 120) / 60).argmax(1).to(torch.uint8).cpu().numpy()


# Name, how it is run, whether the network may turn to channels_last by itself.
PEERS = (
    ("monai", run_monai, False),
    ("nnunetv2", run_nnunet, False),
    ("torchgeo", run_torchgeo, False),
    ("monai-channels-last", run_monai, True),
)

MEASURE = """
import json, sys, time, torch
torch.set_num_threads(int(sys.argv[4]))
from sparsecover.inference import predict
from sparsecover.raster import open_scene
start = time.perf_counter()
predict(open_scene(sys.argv[1]), sys.argv[2], sys.argv[3], runtime=sys.argv[5], overwrite=True)
spent = time.perf_counter() - start
peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([spent, int(peak_kb) / 1024]))
"""


def memory(sides: list[int], runtime: str, folder: Path, threads: int) -> None:
    """Each size in a process of its own, with a network so small that it is over soon. Linux only.

    The kernel's VmHWM is read, because ru_maxrss also counts the process that started this one.
    """
    model = folder / "small.safetensors"
    save_checkpoint(model, make_checkpoint(4))
    results = []
    for side in sides:
        path = make_scene(folder / f"{side}.tif", side)
        command = [
            sys.executable,
            "-c",
            MEASURE,
            str(path),
            str(model),
            str(folder / f"m{side}.tif"),
            str(threads),
            runtime,
        ]
        spent, peak_mb = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        results.append((peak_mb, spent / side**2 * 1e6))
        print(f"{side:6d} px: {peak_mb:7.0f} MB at most, {results[-1][1]:.3f} s/MPix", flush=True)
    (small_mb, small_s), (large_mb, large_s) = results[0], results[-1]
    print(f"large / small: memory {large_mb / small_mb:.2f}, time per pixel {large_s / small_s:.2f}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=6000, help="pixels")
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--runtimes", nargs="*", default=[], choices=["torch", "onnx"], help="default: what auto takes")
    names = [name for name, *_ in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, metavar="NAME", help=f"{', '.join(names)}; default: all")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--memory-sides", type=int, nargs=2, default=[5000, 20000])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        if given.memory:
            memory(given.memory_sides, (given.runtimes or ["torch"])[0], Path(folder), given.threads)
        else:
            device = torch.device(given.device)
            peers = names if given.peers == [] else given.peers or []
            compare(given.side, given.base_channels, given.runtimes, peers, device, Path(folder))


if __name__ == "__main__":
    main()
