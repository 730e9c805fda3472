"""Simulated partial labels of a label file of any size, window by window."""

from collections.abc import Iterator
from typing import Any

from sparsecover.grid import Window
from sparsecover.labels.arrays import Indices
from sparsecover.labels.label_file import LabelFile
from sparsecover.labels.samplers.tiling import sample
from sparsecover.labels.simulate import make_budget


def simulate_file(
    labels: LabelFile,
    sampler: str,
    *,
    fraction: float | None = None,
    n: int | None = None,
    seed: int = 0,
    scene_id: str = "",
    **options: Any,
) -> Iterator[tuple[Window, Indices]]:
    """Partial labels as ``simulate_labels`` makes them, uint8[h, w] for windows that cover the file.

    Memory does not grow with the file.

    Raises:
        LabelError: as ``simulate_labels``, and unreadable files.
    """
    budget = make_budget(sampler, fraction=fraction, n=n, seed=seed, scene_id=scene_id, **options)
    return sample(labels.read, labels.grid.height, labels.grid.width, sampler, budget, **options)
