"""Time of each loss against torch's own cross-entropy, and the memory it takes beyond its input.

Run: python benchmarks/losses.py [--labelled 1.0] [--rounds 15] [--threads 0]

Forward and backward on logits [4, 8, 512, 512]. Losses and torch's take turns; the best time of each counts. Memory is
the process's peak over what it held before, gradient of the logits included (Linux only).
"""

import argparse
import ctypes
import time
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from sparsecover.losses import create_loss, list_losses

SHAPE = (4, 8, 512, 512)


def make_batch(labelled: float) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    target = torch.randint(0, SHAPE[1], (SHAPE[0], *SHAPE[2:]))
    target[torch.rand(target.shape) >= labelled] = 255
    return torch.randn(SHAPE, requires_grad=True), target


def step(loss: nn.Module, logits: Tensor, target: Tensor) -> float:
    logits.grad = None
    start = time.perf_counter()
    loss(logits, target).backward()
    return time.perf_counter() - start


def peak_megabytes(loss: nn.Module, logits: Tensor, target: Tensor) -> float:
    """Peak of resident memory during one step over what was held before."""
    logits.grad = None
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)  # give back what earlier steps left with the allocator
    before = psutil.Process().memory_info().rss
    reset.write_text("5")
    step(loss, logits, target)
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return (int(line.split()[1]) * 1024 - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=float, default=1.0, help="share of labelled pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    logits, target = make_batch(args.labelled)
    losses: dict[str, nn.Module] = {"torch": nn.CrossEntropyLoss(ignore_index=255)}
    losses |= {name: create_loss(name) for name in list_losses()}
    best = dict.fromkeys(losses, float("inf"))
    for _ in range(args.rounds):
        for name, loss in losses.items():
            best[name] = min(best[name], step(loss, logits, target))
    size, threads = logits.nbytes / 1e6, torch.get_num_threads()
    print(f"logits {SHAPE} ({size:.0f} MB), {args.labelled:.0%} labelled, {threads} threads")
    for name, loss in losses.items():
        memory = peak_megabytes(loss, logits, target)
        ratio = best[name] / best["torch"]
        print(f"  {name:12} {best[name] * 1000:7.1f} ms   {ratio:5.2f} x torch   {memory:6.0f} MB")


if __name__ == "__main__":
    main()
