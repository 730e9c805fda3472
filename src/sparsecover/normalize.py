"""Band statistics and scaling, fitted once on training pixels and stored in the checkpoint. NumPy only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sparsecover.errors import ConfigError, DataError, nearest

KINDS = ("none", "dtype", "minmax", "percentile", "zscore")
_SAMPLE_LIMIT = 24_000_000  # values over all bands kept for the statistics: under 200 MB, millions of pixels of RGB
_CLIP = 4.0  # outliers (speckle, glint, saturation) are cut here, in units of the scale

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Normalizer:
    """Per-band ``(x - offset) / scale``, cut at ``±clip`` where that is set; invalid pixels become 0."""

    kind: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float | None = None

    def __call__(self, values: Array, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Normalise values [C, h, w] of any real dtype with their valid mask [h, w] to float32 [C, h, w]."""
        if values.shape[0] != len(self.offset):
            raise DataError(f"{values.shape[0]} bands given; the statistics are of {len(self.offset)} bands.")
        wide = arithmetic_type(values.dtype)
        offset = np.asarray(self.offset, wide)[:, None, None]
        out: Array = values.astype(wide)
        np.subtract(out, offset, out=out)
        np.multiply(out, (1.0 / np.asarray(self.scale)).astype(wide)[:, None, None], out=out)
        if self.clip is not None:
            np.clip(out, -self.clip, self.clip, out=out)
        if not valid.all():
            out[:, ~valid] = 0
        return out.astype(np.float32, copy=False)

    def select(self, bands: Iterable[int]) -> Self:
        """The statistics of some bands, by index from 0."""
        picked = list(bands)
        return type(self)(
            self.kind, tuple(self.offset[b] for b in picked), tuple(self.scale[b] for b in picked), self.clip
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "offset": list(self.offset), "scale": list(self.scale), "clip": self.clip}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``as_dict``."""
        clip = None if data["clip"] is None else float(data["clip"])
        return cls(str(data["kind"]), tuple(map(float, data["offset"])), tuple(map(float, data["scale"])), clip)


def arithmetic_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """In what values of a dtype are normalised: large offsets (dates, elevations) would lose digits in float32."""
    wide = dtype.itemsize > 4 or dtype in (np.uint32, np.int32)
    return np.dtype(np.float64 if wide else np.float32)


def fit_normalizer(
    kind: str, samples: Iterable[tuple[Array, npt.NDArray[np.bool_]]], dtype: npt.DTypeLike, bands: int
) -> Normalizer:
    """Fit the statistics on valid pixels of some windows.

    Args:
        kind: ``none``, ``dtype`` (the whole range of an integer type to 0..1), ``minmax`` (to 0..1), ``percentile``
            (1st to 99th to -1..1) or ``zscore`` (mean 0, standard deviation 1).
        samples: pairs of values [C, h, w] and valid [h, w].
        dtype: the type in which the scene stores its values.
        bands: number of bands C.

    Raises:
        ConfigError: unknown kind.
        DataError: no valid pixel, or ``dtype`` with values that are not integers.
    """
    if kind not in KINDS:
        raise ConfigError(f"Unknown normalisation {kind!r}. {nearest(kind, KINDS)}")
    if kind == "none":
        return Normalizer(kind, (0.0,) * bands, (1.0,) * bands)
    if kind == "dtype":
        return _by_dtype(np.dtype(dtype), bands)
    pixels = _valid_pixels(samples, bands)
    if kind == "zscore":
        offset, scale = pixels.mean(1), pixels.std(1)
    elif kind == "minmax":
        offset, scale = pixels.min(1), np.ptp(pixels, axis=1)
    else:
        low, high = np.percentile(pixels, [1, 99], axis=1)
        offset, scale = (low + high) / 2, (high - low) / 2
    constant = ~(scale > 0)
    scale = np.where(constant, 1.0, scale)
    clip = None if kind == "minmax" else _CLIP
    return Normalizer(kind, tuple(map(float, offset)), tuple(map(float, scale)), clip)


def _by_dtype(dtype: np.dtype[Any], bands: int) -> Normalizer:
    if dtype.kind not in "iu":
        raise DataError(f"normalize: dtype needs integer values; the scene holds {dtype}. Use percentile or zscore.")
    return Normalizer("dtype", (0.0,) * bands, (float(np.iinfo(dtype).max),) * bands)


def _valid_pixels(samples: Iterable[tuple[Array, npt.NDArray[np.bool_]]], bands: int) -> npt.NDArray[np.float64]:
    """Valid pixels of all samples as [C, n]: all of them, or so many drawn at random that memory is bounded."""
    most = max(2, _SAMPLE_LIMIT // bands)
    chance = np.random.default_rng(0)  # every n-th pixel of pictures of one width would be a few of their columns
    kept: list[Array] = []
    held, share = 0, 1.0
    for values, valid in samples:
        if len(values) != bands:
            raise DataError(f"A sample has {len(values)} bands; expected {bands}.")
        pixels = np.nonzero(valid)
        if share < 1:
            pixels = _drawn(pixels, share, chance)
        while held + len(pixels[0]) > most:  # what is kept and what is to come are halved alike
            share /= 2
            pixels = _drawn(pixels, 0.5, chance)
            kept = [np.concatenate(kept, axis=1)[:, chance.random(held) < 0.5]] if kept else []
            held = sum(part.shape[1] for part in kept)
        kept.append(values[:, pixels[0], pixels[1]])
        held += kept[-1].shape[1]
    if not held:
        raise DataError("No valid pixel to take band statistics from: the training windows hold only nodata.")
    return np.concatenate(kept, axis=1).astype(np.float64)


def _drawn(pixels: tuple[npt.NDArray[np.intp], ...], share: float, chance: np.random.Generator) -> Any:
    """Rows and columns of a part of some pixels."""
    chosen = chance.random(len(pixels[0])) < share
    return tuple(axis[chosen] for axis in pixels)
