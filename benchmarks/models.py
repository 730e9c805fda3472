"""Our U-Net against the same layers written the usual plain way, and against MONAI's BasicUNet of the same widths.

Run: python benchmarks/models.py [--channels 64] [--side 512] [--batch 1] [--rounds 5] [--threads 0]

Inference is on ``batch`` images, a training step on four times as many of half the side. Ours is prepared as `predict`
and `train` prepare it on a CPU; in bf16 is how `train` runs it where that is quicker, which it finds out by itself. All
networks take turns, so that a busy machine disturbs them alike; the best time of each counts.
"""

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsecover.models import UNet, prepare_for_cpu
from sparsecover.training.optimizer import build_optimizer

BANDS, CLASSES = 4, 6


class PlainUNet(nn.Module):
    """The layers of :class:`sparsecover.models.UNet`, without its care for memory layout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(5)]
        self.down = nn.ModuleList([self._block(a, b) for a, b in zip([BANDS, *widths], widths, strict=False)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * a, a, 2, 2) for a in widths[:-1]])
        self.merge = nn.ModuleList([self._block(2 * a, a) for a in widths[:-1]])
        self.head = nn.Conv2d(channels, CLASSES, 1)

    @staticmethod
    def _block(before: int, after: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in (before, after):
            layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in (3, 2, 1, 0):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(x)


def monai_unet(channels: int) -> nn.Module:
    from monai.networks.nets import BasicUNet

    features = [channels * 2**level for level in range(5)] + [channels]
    return BasicUNet(2, BANDS, CLASSES, features, act="relu", norm="batch", upsample="deconv")


def inference(network: nn.Module, images: Tensor) -> Callable[[], None]:
    def step() -> None:
        with torch.inference_mode():
            network(images)

    return step


def training(
    network: nn.Module, images: Tensor, optimizer: torch.optim.Optimizer, bf16: bool = False
) -> Callable[[], None]:
    network.train()
    target = torch.randint(0, CLASSES, (len(images), *images.shape[2:]))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(images)
        F.cross_entropy(logits.float(), target).backward()
        optimizer.step()

    return step


def best_times(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def report(title: str, times: dict[str, float], ours: str = "sparsecover") -> None:
    print(f"\n{title}")
    for name, seconds in times.items():
        print(f"  {name:18} {seconds * 1000:9.1f} ms   {seconds / times[ours]:5.2f} x ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, value in (("channels", 64), ("side", 512), ("batch", 1), ("rounds", 5), ("threads", 0)):
        parser.add_argument(f"--{option}", type=int, default=value)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    networks = {"sparsecover": UNet(BANDS, CLASSES, args.channels), "plain": PlainUNet(args.channels)}
    if find_spec("monai"):
        networks["MONAI"] = monai_unet(args.channels)
    images = torch.randn(args.batch, BANDS, args.side, args.side)
    patches = torch.randn(4 * args.batch, BANDS, args.side // 2, args.side // 2)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {tuple(images.shape)}, {args.channels} channels"
    )

    ready = {name: network.eval() for name, network in networks.items()}
    ready["sparsecover"] = prepare_for_cpu(networks["sparsecover"])
    report("inference", best_times({n: inference(m, images) for n, m in ready.items()}, args.rounds))
    networks["sparsecover"].to(memory_format=torch.channels_last)
    optimizers = {name: torch.optim.AdamW(network.parameters()) for name, network in networks.items()}
    optimizers["sparsecover"] = build_optimizer(networks["sparsecover"])
    steps = {name: training(network, patches, optimizers[name]) for name, network in networks.items()}
    steps["sparsecover, bf16"] = training(networks["sparsecover"], patches, optimizers["sparsecover"], bf16=True)
    report("training step", best_times(steps, args.rounds))


if __name__ == "__main__":
    main()
