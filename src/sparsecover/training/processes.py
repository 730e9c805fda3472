"""Several processes that train one network: who this one is, and what all of them agree on.

Every function is trivial in a training of one process, and a collective otherwise: all processes must call it alike.
"""

import atexit
import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _get_default_store

from sparsecover.errors import ConfigError, SparseCoverError, TrainingError
from sparsecover.training.helpers import Helpers, follow_parent

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

_WORD = "sparsecover/failed"
_helpers: Helpers | None = None  # of this process for its whole life, as is the group of processes in torch


def make_fabric(device: str, precision: str, devices: int = 1, nodes: int = 1) -> "Fabric":
    """Device, precision and processes as lightning-fabric has them; starts or joins the other processes.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        precision: lightning-fabric's name.
        devices: processes on each machine, one a device.
        nodes: machines.
    """
    from lightning_fabric import Fabric  # seconds, which who only made a mistake need not wait for
    from lightning_fabric.strategies.ddp import DDPStrategy

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
        _meet(fabric, devices, nodes)
    return fabric


def _meet(fabric: "Fabric", devices: int, nodes: int) -> None:
    """Start the other processes where nobody else has, and wait for all."""
    from lightning_fabric.strategies.ddp import DDPStrategy

    global _helpers
    assert isinstance(fabric.strategy, DDPStrategy)
    environment = fabric.strategy.cluster_environment
    if is_helper():
        follow_parent()
    elif environment is not None and not environment.creates_processes_externally:
        _helpers = Helpers.start(devices, nodes)
    fabric.launch()
    atexit.register(_leave)


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
def together() -> Iterator[None]:
    """Where one process fails, end all; process 0 says why, whichever it was, and the others nothing.

    Raises:
        TrainingError: in process 0, where another one has failed.
        SystemExit: in the others, of a failure that process 0 tells.
    """
    try:
        yield
    except BaseException as error:
        told = _told_once(error)
        if _helpers is not None:
            _helpers.end()
        if told is error:
            raise
        raise told from error


def _told_once(error: BaseException) -> BaseException:
    """The error to raise in this process, so that each failure is told by one process only."""
    lost = _lost_another(error)
    if not is_helper():
        return TrainingError(f"{_what_happened()} All have ended; go on with --resume.") if lost else error
    if not lost:
        _leave_word(error)
    # torchrun ends process 0 before it can pass on what others have told.
    passed_on = _several() and "TORCHELASTIC_RUN_ID" not in os.environ
    return SystemExit(2) if lost or (isinstance(error, SparseCoverError) and passed_on) else error


def _lost_another(error: BaseException) -> bool:
    """Whether a collective failed because another process has gone; gloo says so only in words."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _leave_word(error: BaseException) -> None:
    """Tell process 0 why this one fails; of several that fail the first is heard."""
    if _several() and isinstance(error, Exception):
        text = str(error) if isinstance(error, SparseCoverError) else f"{type(error).__name__}: {error}."
        _get_default_store().compare_set(_WORD, "", f"{text} (Process {rank()} of {dist.get_world_size()}.)")


def _what_happened() -> str:
    """What the process that failed has told, or how it ended."""
    ended = _helpers.failure(wait_s=5.0) if _helpers is not None else None
    store = _get_default_store()
    if store.check([_WORD]):
        return str(store.get(_WORD).decode())
    return f"One of {dist.get_world_size()} processes has gone: {ended or 'see what the others said'}."


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
