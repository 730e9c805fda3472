"""Several processes that train one network: who this one is, and what all of them agree on.

Every function is trivial in a training of one process, and a collective otherwise: all processes must call it alike.
"""

import atexit
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from sparsecover.errors import ConfigError

T = TypeVar("T")


def make_fabric(device: str, precision: str, devices: int = 1, nodes: int = 1) -> Fabric:
    """Device, precision and processes as lightning-fabric has them; starts or joins the other processes.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: lightning-fabric's name.
        devices: processes on each machine, one a device.
        nodes: machines.
    """
    several = devices * nodes > 1
    # Views: gradients of channels_last weights would be copied into the buckets at each step otherwise.
    strategy = DDPStrategy(gradient_as_bucket_view=True) if several else "auto"
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,  # type: ignore[arg-type]
        strategy=strategy,
    )
    if several:
        fabric.launch()
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Take leave of the other processes; without it, threads that still talk may abort a process at its end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def layout(devices: int, nodes: int) -> tuple[int, int]:
    """Processes a machine, and machines: as given, or as torchrun has started them.

    Raises:
        ConfigError: torchrun has started others than were asked for.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return devices, nodes
    world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    started = local, world // local
    if (devices, nodes) not in ((1, 1), started):
        raise ConfigError(
            f"torchrun has started {local} processes on {world // local} machines; given --devices {devices} and "
            f"--nodes {nodes}. Leave these out under torchrun."
        )
    return started


def is_helper() -> bool:
    """Whether this process was started to help another one, which does the talking; known before they have met."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0" or os.environ.get("NODE_RANK", "0") != "0"


@contextlib.contextmanager
def ending_helpers(fabric: Callable[[], Fabric | None]) -> Iterator[None]:
    """End the processes that ``make_fabric`` has started where this one fails: they would wait for it for ever."""
    try:
        yield
    except BaseException:
        made = fabric()
        for helper in getattr(made.strategy.launcher, "procs", ()) if made else ():
            helper.kill()
        raise


def rank() -> int:
    """The number of this process; 0 writes the files."""
    return dist.get_rank() if _several() else 0


def gathered(value: T) -> list[T]:
    """The values of all processes by rank."""
    if not _several():
        return [value]
    values: list[T] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def of_first(value: T) -> T:
    """The value of process 0."""
    return gathered(value)[0]


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if not _several():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


@torch.no_grad()
def spread_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors by those of process 0."""
    if _several():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
