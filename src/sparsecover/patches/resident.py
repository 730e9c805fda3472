"""Scenes and labels that live on the computing device, as they are stored: windows are cut and normalised there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsecover.classes import UNLABELLED
from sparsecover.grid import Window
from sparsecover.labels import LabelRaster
from sparsecover.normalize import Normalizer, arithmetic_type
from sparsecover.patches.batch import Batch
from sparsecover.patches.plan import Patch
from sparsecover.patches.reader import Pair, stored_bytes, window_name

_DEVICE_SHARE = 0.25  # of the device's free memory; the rest is for the network


@dataclass(frozen=True)
class _Stored:
    """A pair on the device: values [C, H, W] as stored, labels uint8 [H, W], valid bool [H, W]."""

    values: Tensor
    labels: Tensor
    valid: Tensor


class ResidentReader:
    """As ``PatchReader``, for pairs held on a device; only whole batches are read.

    Args:
        pairs: read whole, once.
        normalizer: fitted on the training scenes.
        device: ``cuda``, ``mps`` or ``cpu``.
        hints: as in ``PatchReader``.
    """

    def __init__(
        self, pairs: Sequence[Pair], normalizer: Normalizer, device: str, hints: Sequence[LabelRaster] | None = None
    ) -> None:
        self._names = [scene.name for scene, _ in pairs]
        self._grids = [scene.grid for scene, _ in pairs]
        self._stored = [_store(pair, device) for pair in pairs]
        self._hints = None if hints is None else [torch.from_numpy(each.values).to(device) for each in hints]
        self._clip = normalizer.clip
        wide = arithmetic_type(pairs[0][0].dtype)
        offset, factor = np.asarray(normalizer.offset, wide), (1.0 / np.asarray(normalizer.scale)).astype(wide)
        self._offset, self._factor = (torch.from_numpy(v)[:, None, None].to(device) for v in (offset, factor))

    def batch(self, patches: Sequence[Patch]) -> Batch:
        """Windows of one size side by side; a label on an invalid pixel is no label."""
        size = patches[0].window.height, patches[0].window.width
        device = self._offset.device
        images = torch.zeros(len(patches), len(self._offset), *size, device=device)
        labels = torch.full((len(patches), *size), UNLABELLED, dtype=torch.uint8, device=device)
        valid = torch.zeros(len(patches), *size, dtype=torch.bool, device=device)
        for number, patch in enumerate(patches):
            inside = patch.window.intersect(self._grids[patch.pair].window)
            self._copy(patch, inside, images[number], labels[number], valid[number])
        names = tuple(window_name(self._names[patch.pair], patch.window) for patch in patches)
        nothing = torch.full_like(labels, UNLABELLED)
        hints = None if self._hints is None else self._cut_hints(self._hints, patches, nothing)
        return Batch(images * valid[:, None], labels.masked_fill_(~valid, UNLABELLED), valid, names, hints)

    def _cut_hints(self, stored: Sequence[Tensor], patches: Sequence[Patch], out: Tensor) -> Tensor:
        """The hints of the windows, put into ``out`` [N, h, w]."""
        for number, patch in enumerate(patches):
            inside = patch.window.intersect(self._grids[patch.pair].window)
            out[number, *inside.relative_to(patch.window).slices] = stored[patch.pair][inside.slices]
        return out

    def _copy(self, patch: Patch, inside: Window, image: Tensor, labels: Tensor, valid: Tensor) -> None:
        """Put what lies inside the scene into the window's place in the batch."""
        stored = self._stored[patch.pair]
        rows, cols = inside.slices
        to_rows, to_cols = inside.relative_to(patch.window).slices
        values = (stored.values[:, rows, cols].to(self._offset.dtype) - self._offset) * self._factor
        if self._clip is not None:
            values = values.clamp_(-self._clip, self._clip)
        image[:, to_rows, to_cols] = values.to(image.dtype)
        valid[to_rows, to_cols] = stored.valid[rows, cols]
        own = inside if patch.own is None else patch.own.intersect(inside)
        to_rows, to_cols = own.relative_to(patch.window).slices
        labels[to_rows, to_cols] = stored.labels[own.slices]


def fits_device(pairs: Sequence[Pair], cache: str, device: str) -> bool:
    """Whether pairs are to be held on the device: asked for, or ``auto`` on a GPU with four times the memory free."""
    if cache != "auto" or device != "cuda":
        return cache == "device"
    return sum(stored_bytes(scene) + scene.grid.window.size for scene, _ in pairs) <= (
        torch.cuda.mem_get_info()[0] * _DEVICE_SHARE
    )


def _store(pair: Pair, device: str) -> _Stored:
    scene, labels = pair
    values, valid = scene.read()
    arrays = (values, labels.read(scene.grid.window), valid)
    return _Stored(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))
