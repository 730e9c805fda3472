"""Simulated partial labels of a label file of any size, window by window."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.grid import Window, tiles
from sparsecover.labels.arrays import Indices
from sparsecover.labels.label_file import LabelFile
from sparsecover.labels.samplers import SAMPLERS
from sparsecover.labels.simulate import make_budget, simulate_labels

WHOLE_PX = 2**28
"""Rasters up to this size are looked at as a whole, in a byte a pixel."""

_TILE_PX = 8192


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

    ``pixels`` is read by strips. The others look at the whole file, or, above ``WHOLE_PX`` pixels, at tiles among which
    the budget of each class is divided in proportion to its pixels: the sum over all tiles is met exactly.

    Raises:
        LabelError: as ``simulate_labels``, and unreadable files.
    """
    budget = make_budget(sampler, fraction=fraction, n=n, seed=seed, scene_id=scene_id)
    window = labels.grid.window
    if sampler == "pixels":
        parts = list(labels.file.strips())
    elif window.size <= WHOLE_PX:
        parts = [window]
    else:
        parts = list(tiles(window, _TILE_PX, _TILE_PX))
    if sampler == "pixels" or len(parts) == 1:
        arguments = {"fraction": fraction, "n": n, "seed": seed, "scene_id": scene_id, **options}
        for part in parts:
            yield part, simulate_labels(labels.read(part), sampler, origin=(part.row, part.col), **arguments)
        return
    counts = np.stack([labels.counts(len(labels.scheme), part) for part in parts])
    shares = divide(counts, budget.pixels(counts.sum(axis=0)))
    for part, share in zip(parts, shares, strict=True):
        own = replace(budget, origin=(part.row, part.col), share=tuple(share.tolist()))
        yield part, SAMPLERS[sampler](labels.read(part), own, **options)


def divide(counts: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``wanted[k]`` divided over tiles in proportion to ``counts[t, k]``, int64[T, K], by largest remainder.

    >>> divide(np.array([[5], [3], [0]]), np.array([3])).tolist()
    [[2], [1], [0]]
    """
    exact = counts * (wanted / np.maximum(counts.sum(axis=0), 1))
    shares: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    for k, missing in enumerate(wanted - shares.sum(axis=0)):
        shares[np.argsort(shares[:, k] - exact[:, k], kind="stable")[: max(missing, 0)], k] += 1
    return shares
