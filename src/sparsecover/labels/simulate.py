"""Simulated partial labels: what training sees when only a part of a dense mask is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED, in_words
from sparsecover.errors import LabelError, nearest
from sparsecover.labels.arrays import Indices
from sparsecover.labels.samplers import SAMPLERS
from sparsecover.labels.samplers.base import Budget, scene_key, unlabelled_like
from sparsecover.labels.samplers.options import check_options
from sparsecover.labels.samplers.tiling import sample


def simulate_labels(
    mask: npt.NDArray[np.integer[Any]],
    sampler: str,
    *,
    fraction: float | None = None,
    n: int | None = None,
    seed: int = 0,
    scene_id: str = "",
    origin: tuple[int, int] = (0, 0),
    **options: Any,
) -> Indices:
    """A copy of a dense mask in which only some pixels keep their label; all others are 255.

    Args:
        mask: class indices [H, W] of any integer type; 255 and -1 are unlabelled.
        sampler: ``pixels`` (uniform), ``per_class``, ``points``, ``scribbles`` or ``polygons``.
        fraction: part of the labelled pixels to keep, in (0, 1].
        n: pixels, points, strokes or polygons of each class; give this or ``fraction``. ``pixels`` takes no ``n``.
        seed, scene_id: together they fix the labels; the same every time.
        origin: row and column of the mask's first pixel in its scene. With ``pixels`` any window of a scene has the
            labels that the whole scene has there; the other samplers need the whole scene.
        options: of the sampler, such as ``min_distance_px`` of ``points``.

    Returns:
        uint8[H, W]. Its labelled pixels are the budget; with ``pixels`` their number varies by chance, with the others
        ``fraction`` is met exactly, class by class. Masks of more than 16 million pixels are worked on by tiles that
        share the budget, so that the labels are those that ``simulate_file`` makes of a file.

    Raises:
        LabelError: an unknown sampler or option; neither or both of ``fraction`` and ``n``; values out of range.

    >>> simulate_labels(np.zeros((2, 3), np.uint8), "per_class", n=6).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    if sampler != "pixels" and origin != (0, 0):
        raise LabelError(f"The sampler {sampler!r} looks at the whole scene; only 'pixels' can label a window of it.")
    budget = make_budget(sampler, fraction=fraction, n=n, seed=seed, scene_id=scene_id, origin=origin, **options)
    values = as_indices(mask)
    out = unlabelled_like(values)
    height, width = values.shape
    for window, part in sample(lambda window: values[window.slices], height, width, sampler, budget, **options):
        out[window.slices] = part
    return out


def fewer_than_asked(
    counts: Sequence[npt.NDArray[np.int64]], names: Sequence[str], sampler: str, n: int | None
) -> str | None:
    """A note on classes of which scenes have some pixels, but fewer than the ``n`` asked of each scene; else None.

    Of strokes and polygons, which take many pixels each, none is counted.

    Args:
        counts: labelled pixels of each scene by class, int64[K].
        names: of the classes.
        n: as in ``simulate_labels``; None: a fraction was asked, of which no class falls short.

    >>> fewer_than_asked([np.array([50, 2779, 0])], ["water", "building", "road"], "points", 50)
    >>> fewer_than_asked([np.array([50, 2779, 0])], ["water", "building", "road"], "points", 3000)
    'Fewer points than asked: water 50 of 3,000, building 2,779 of 3,000; these are all labelled pixels there are.'
    """
    things = {"points": "points", "per_class": "pixels"}.get(sampler)
    if things is None:
        return None
    held = np.array(counts, np.int64).reshape(-1, len(names))
    short = (held > 0) & (held < (n or 0))
    told = []
    for k in np.flatnonzero(short.any(axis=0)).tolist():
        scenes = int(short[:, k].sum())
        where = f" (in {scenes} of {len(held)} scenes)" if len(held) > 1 else ""
        told.append(f"{in_words(names[k])} {held[short[:, k], k].sum():,} of {scenes * (n or 0):,}{where}")
    if not told:
        return None
    return f"Fewer {things} than asked: {', '.join(told)}; these are all labelled pixels there are."


def make_budget(
    sampler: str,
    *,
    fraction: float | None,
    n: int | None,
    seed: int,
    scene_id: str,
    origin: tuple[int, int] = (0, 0),
    **options: Any,
) -> Budget:
    """What a sampler may label; arguments, of which options are only checked, and errors as for ``simulate_labels``."""
    if sampler not in SAMPLERS:
        raise LabelError(f"There is no sampler {sampler!r}. {nearest(sampler, SAMPLERS)}")
    if (fraction is None) == (n is None):
        raise LabelError("Give either a fraction of the labelled pixels or a number n per class.")
    if fraction is not None and not 0 < fraction <= 1:
        raise LabelError(f"The fraction must be above 0 and at most 1; given {fraction:g}.")
    if n is not None and n < 1:
        raise LabelError(f"n must be at least 1; given {n}.")
    check_options(sampler, SAMPLERS[sampler], options)
    return Budget(fraction, n, scene_key(seed, scene_id), origin)


def check_request(sampler: str, *, fraction: float | None, n: int | None, options: Mapping[str, Any]) -> None:
    """Refuse what nothing could be drawn by, before any label is read; errors are those of ``simulate_labels``."""
    make_budget(sampler, fraction=fraction, n=n, seed=0, scene_id="")
    check_options(sampler, SAMPLERS[sampler], options)


def as_indices(mask: npt.NDArray[np.integer[Any]]) -> Indices:
    """Class indices of any integer type to uint8; -1 becomes 255.

    Raises:
        LabelError: not two-dimensional, not integers, or values that are no class index.
    """
    if mask.ndim != 2 or mask.dtype.kind not in "iub":
        raise LabelError(f"Expected class indices [H, W] of an integer type; given {mask.dtype} of shape {mask.shape}.")
    if mask.dtype == np.uint8:
        return np.ascontiguousarray(mask)
    if mask.size and (mask.min() < -1 or mask.max() > UNLABELLED):
        raise LabelError(f"Class indices must lie in -1..255; given {mask.min()} to {mask.max()}.")
    return np.where(mask == -1, UNLABELLED, mask).astype(np.uint8)
