"""Random numbers from a seed alone, for this training alone."""

import contextlib
import os
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


@contextlib.contextmanager
def seeded(seed: int, device: str, *, deterministic: bool) -> Iterator[None]:
    """Random numbers of torch from the seed, without disturbing the caller's.

    Args:
        seed: of the weights' start and of dropout.
        device: ``cpu``, ``cuda`` or ``mps``.
        deterministic: only algorithms that give the same bits each time; matters on GPUs.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses to be deterministic without
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(deterministic or before[0])
        torch.backends.cudnn.benchmark = not deterministic  # all windows have one size
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.backends.cudnn.benchmark = before[1]


def random_states(device: str) -> dict[str, Tensor]:
    """States of this process's random numbers."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state()} if device == "cuda" else states


def set_random_states(states: Mapping[str, Tensor]) -> None:
    """Put back what ``random_states`` gave."""
    for kind, values in states.items():
        (torch.cuda if kind == "cuda" else torch).set_rng_state(values)
