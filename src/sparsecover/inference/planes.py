"""Probabilities after the network: arrays on a CPU, tensors on an accelerator, worked on by the same few functions.

On a CPU torch would share each of these small steps among threads, which costs more than it gains: the network's own
threads, and the reader's, are still about.
"""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Planes = Any
"""float32 [K, h, w] or [h, w]: an ndarray or a Tensor, which share indexing, arithmetic and the functions used here."""


def functions(planes: Planes) -> ModuleType:
    """The module whose functions take these planes: ``torch`` or ``numpy``."""
    return torch if isinstance(planes, Tensor) else np


def from_network(probabilities: Tensor) -> Planes:
    """The network's output as planes, without a copy."""
    return probabilities.numpy() if probabilities.device.type == "cpu" else probabilities


def zeros(shape: tuple[int, ...], device: torch.device) -> Planes:
    """Planes of zeros."""
    return np.zeros(shape, np.float32) if device.type == "cpu" else torch.zeros(shape, device=device)


def like(array: npt.NDArray[Any], planes: Planes) -> Planes:
    """An array where some planes are."""
    return torch.from_numpy(array).to(planes.device) if isinstance(planes, Tensor) else array


def to_host(planes: Planes) -> npt.NDArray[Any]:
    """As a NumPy array."""
    return planes.cpu().numpy() if isinstance(planes, Tensor) else planes
