"""How much memory a training takes: estimated before it starts, measured after its first step."""

import sys

import psutil
import torch
from torch import Tensor, nn

_COPIES = {"adam": 4, "adamw": 4, "sgd": 3}  # weights, gradients and the optimiser's moments


def estimate_bytes(
    model: nn.Module, channels: int, size_px: int, batch_size: int, *, optimizer: str = "adamw", ema: bool = True
) -> int:
    """Bytes for parameters and for what one batch keeps for its backward pass.

    One window goes through the network (on its own device, in eval mode, so that nothing is changed), and what autograd
    keeps is added up; the batch keeps ``batch_size`` times as much.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    training = model.training
    device = next(model.parameters()).device
    window = torch.zeros(1, channels, size_px, size_px, device=device)
    model.eval()
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(window)
    finally:
        model.train(training)
    del output
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    activations = sum(size for pointer, size in kept.items() if pointer not in own)
    return parameters * (_COPIES.get(optimizer, 4) + int(ema)) + activations * batch_size


def used_bytes(device: str) -> int:
    """Memory that this process holds on the device now; on a GPU the most it ever held."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB


def free_bytes(device: str) -> int:
    """Memory of the device that nothing holds now."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
