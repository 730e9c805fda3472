"""One loss over the batches of several processes."""

import torch.distributed as dist
from torch import Tensor


def add_other_processes(statistics: Tensor) -> Tensor:
    """Add the statistics of all other processes, so that ``finalise`` gives the loss of the whole batch.

    Only this process's own statistics carry a gradient; they carry it as many times as there are processes, because
    distributed data parallel training divides the gradients by that. Together, N processes whose batches hold different
    numbers of labels end up with the very gradient of one process with the whole batch. Without a process group the
    statistics are returned as they are.

    Args:
        statistics: what a loss's ``statistics`` returned; the same shape everywhere.

    Returns:
        The sum over all processes, the same everywhere.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return statistics
    total = statistics.detach().clone()
    dist.all_reduce(total)
    return total + dist.get_world_size() * (statistics - statistics.detach())
