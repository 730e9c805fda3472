"""Speed of the training loop against the bare step, and against the same training written the usual way.

    python benchmarks/training.py [--steps 4] [--rounds 5] [--size 256] [--batch 8] [--base 16]
    python benchmarks/training.py --device cuda --precision bf16 --base 64 --size 384 --batch 16 --steps 50 --peak 989

Prints windows per second and ratios: the loop with data from memory and streamed from a compressed GeoTIFF, each with
augmentation, weight averaging and metrics on, over the bare step (forward, loss, backward, optimiser on fixed tensors);
and a validation over the forward passes that it needs. "The usual way" is eager NCHW tensors, a DataLoader, and
augmentation of one sample after the other on the CPU. All are timed in turns, round by round, so that what else runs on
the machine disturbs them alike; ratios are medians of rounds, and beside each stands what is aimed for. With --peak
(TFLOP/s of the chip's matrix units in that precision; 989 for an H100 or H200 in bf16) the share of it that is used.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from sparsecover.classes import UNLABELLED
from sparsecover.labels import LabelRaster
from sparsecover.losses import create_loss
from sparsecover.models import create_model
from sparsecover.normalize import Normalizer
from sparsecover.patches import Augmenter, PatchPlan, PatchReader, plan_patches
from sparsecover.raster import Scene, open_scene
from sparsecover.training import PatchLoader, Trainer, build_optimizer
from sparsecover.training.objective import as_objective
from sparsecover.training.validation import validate

SIDE = 2048
CLASSES = 6
NORMALIZER = Normalizer("percentile", (120.0,) * 3, (100.0,) * 3, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 4), ("rounds", 5), ("size", 256), ("batch", 8), ("base", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--peak", type=float, help="TFLOP/s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, labels = make_scene(Path(folder))
        plan = plan_patches(
            [labels], num_classes=CLASSES, size_px=options.size, per_epoch=options.steps * options.batch
        )
        ways = {
            "bare step": bare(options),
            "loop, from memory": loop(options, plan, scene.cached(), labels),
            "loop, streamed": loop(options, plan, scene, labels),
            "the usual way": usual(options, plan, scene.cached(), labels),
            "forward passes": forwards(options),
            "validation": validation(options, plan, scene.cached(), labels),
        }
        report(measure(ways, options.rounds), options)


def measure(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way by round."""
    for run in ways.values():
        run()  # kernels are chosen and memory is taken in the first run
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: dict[str, list[float]], options: argparse.Namespace) -> None:
    def ratio(of: str, over: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[of], seconds[over], strict=True))

    windows = options.steps * options.batch
    print(f"U-Net base {options.base}, {options.batch} windows of {options.size} px, {options.precision}, "
          f"{options.device}, {torch.get_num_threads()} threads")  # fmt: skip
    for name, taken in seconds.items():
        print(f"{name:20s} {windows / statistics.median(taken):8.1f} windows/s")
    print(f"loop from memory over the bare step    {ratio('bare step', 'loop, from memory'):5.2f}   aim: at least 0.93")
    print(f"loop streamed over the bare step       {ratio('bare step', 'loop, streamed'):5.2f}   aim: at least 0.85")
    print(f"loop from memory over the usual way    {ratio('the usual way', 'loop, from memory'):5.2f}   aim: 1.15")
    print(f"validation's time over its forwards    {ratio('validation', 'forward passes'):5.2f}   aim: at most 1.10")
    if options.peak:
        used = step_flops(options) * options.steps / statistics.median(seconds["loop, from memory"]) / 1e12
        print(f"matrix units: {used:.1f} of {options.peak:g} TFLOP/s, {used / options.peak:.0%}")


def step_flops(options: argparse.Namespace) -> int:
    """Floating-point operations of one forward and backward pass."""
    model, images = make_model(options), make_images(options)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    return counter.get_total_flops()


def make_scene(folder: Path) -> tuple[Scene, LabelRaster]:
    """A textured scene in a tiled, compressed GeoTIFF, 1% labelled."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 180, (3, SIDE // 8, SIDE // 8))
    values = (coarse.repeat(8, 1).repeat(8, 2) + rng.normal(0, 12, (3, SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    path = folder / "scene.tif"
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": 3, "dtype": "uint8"}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2}
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 1, 1)
    with rasterio.open(path, "w", **profile, **layout, crs="EPSG:32633", transform=transform) as file:
        file.write(values)
    labels = rng.integers(CLASSES, size=(SIDE, SIDE), dtype=np.uint8)
    labels[rng.random((SIDE, SIDE)) > 0.01] = UNLABELLED
    scene = open_scene(path)
    return scene, LabelRaster(labels, scene.grid)


def make_model(options: argparse.Namespace) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("unet", 3, CLASSES, base_channels=options.base).to(options.device)


def make_images(options: argparse.Namespace) -> Tensor:
    images = torch.randn(options.batch, 3, options.size, options.size, device=options.device)
    return images.contiguous(memory_format=torch.channels_last)


def autocast(options: argparse.Namespace) -> torch.autocast:
    return torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16")


def finish(options: argparse.Namespace) -> None:
    if options.device == "cuda":
        torch.cuda.synchronize()


def bare(options: argparse.Namespace) -> Callable[[], None]:
    """Forward, loss, backward, optimiser on fixed tensors in the layout and precision of the loop."""
    model = make_model(options).to(memory_format=torch.channels_last)
    optimizer, loss = build_optimizer(model), create_loss("ce")
    images = make_images(options)
    target = torch.randint(0, CLASSES, (options.batch, options.size, options.size), device=options.device)
    target[torch.rand(target.shape, device=options.device) > 0.01] = UNLABELLED

    def run() -> None:
        for _ in range(options.steps):
            optimizer.zero_grad(set_to_none=True)
            with autocast(options):
                logits = model(images)
            loss(logits, target).backward()
            optimizer.step()
        finish(options)

    return run


def loop(options: argparse.Namespace, plan: PatchPlan, scene: Scene, labels: LabelRaster) -> Callable[[], None]:
    """What fit does in an epoch: reading, augmentation, step, average, metrics."""
    model = make_model(options)
    loader = PatchLoader(PatchReader([(scene, labels)], NORMALIZER), plan, options.batch, pin=options.device == "cuda")
    trainer = Trainer(
        model, create_loss("ce"), build_optimizer(model), options.device, options.precision,
        augmenter=Augmenter.preset("standard"), ema=True, clip=1.0,
    )  # fmt: skip

    def run() -> None:
        trainer.fit(loader, epochs=1)
        finish(options)

    return run


def forwards(options: argparse.Namespace) -> Callable[[], None]:
    """The forward passes of a validation on fixed tensors."""
    model = make_model(options).to(memory_format=torch.channels_last).eval()
    images = make_images(options)

    @torch.no_grad()
    def run() -> None:
        for _ in range(options.steps):
            with autocast(options):
                model(images)
        finish(options)

    return run


def validation(options: argparse.Namespace, plan: PatchPlan, scene: Scene, labels: LabelRaster) -> Callable[[], None]:
    """What fit does to validate: reading, forward, loss, confusion matrix."""
    model = make_model(options).to(memory_format=torch.channels_last)
    windows = plan.tiling()[: options.steps * options.batch]
    reader, device = PatchReader([(scene, labels)], NORMALIZER), torch.device(options.device)
    loader = PatchLoader(reader, windows, options.batch, pin=options.device == "cuda")
    objective = as_objective(create_loss("ce"))

    def run() -> None:
        validate(
            model, objective, loader.epoch(0), lambda batch: batch.to(device),
            ignore_index=UNLABELLED, autocast=lambda: autocast(options),
        )  # fmt: skip
        finish(options)

    return run


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Windows with their augmentation, one sample at a time, as training scripts usually have it."""

    def __init__(self, plan: PatchPlan, reader: PatchReader) -> None:
        self.plan, self.reader = plan, reader
        self.augment = Augmenter.preset("standard")

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.reader(self.plan[index])
        image, labels = torch.from_numpy(sample.image), torch.from_numpy(sample.labels).long()
        return flip_turn_light(image, labels)


def flip_turn_light(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Flips, quarter turns, rotation with scale, brightness and contrast: the same as the preset standard."""
    turns, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
    image, labels = torch.rot90(image, turns, (-2, -1)), torch.rot90(labels, turns, (-2, -1))
    if mirrored:
        image, labels = image.flip(-1), labels.flip(-1)
    if torch.rand(()) < 0.5:
        angle, zoom = (torch.rand(()) - 0.5) * 1.57, 0.8 + 0.45 * torch.rand(())
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        theta = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]])[None]
        grid = torch.nn.functional.affine_grid(theta, [1, 1, *labels.shape], align_corners=False)
        sample = torch.nn.functional.grid_sample
        image = sample(image[None], grid, align_corners=False)[0]
        counted = (labels - UNLABELLED).float()[None, None]
        labels = sample(counted, grid, mode="nearest", align_corners=False)[0, 0].long() + UNLABELLED
    stretch, offset = 0.8 + 0.4 * torch.rand(()), 0.4 * torch.rand(()) - 0.2
    return (image - image.mean()) * stretch + image.mean() + offset * image.std(), labels


def usual(options: argparse.Namespace, plan: PatchPlan, scene: Scene, labels: LabelRaster) -> Callable[[], None]:
    """The same model, windows and number of steps without any of our loop."""
    from sparsecover.models import network

    model = make_model(options)
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-3), create_loss("ce")
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
    )
    workers = 4 if options.device == "cuda" else 0
    loader = DataLoader(
        Samples(plan, PatchReader([(scene, labels)], NORMALIZER)), options.batch, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip

    def steps() -> Iterator[None]:
        for images, target in loader:
            optimizer.zero_grad()
            with autocast(options):
                logits = model(images.to(options.device))
            loss(logits, target.to(options.device)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            yield

    def run() -> None:
        # Our networks change the layout by themselves; the usual way leaves it as it comes.
        chosen, network.channels_last = network.channels_last, lambda tensor: tensor
        try:
            for _ in steps():
                pass
            finish(options)
        finally:
            network.channels_last = chosen

    return run


if __name__ == "__main__":
    main()
