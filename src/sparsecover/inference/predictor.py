"""From raw windows to class probabilities: one network or the mean of several, plain or over the eight D4 views."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparsecover.errors import ModelError
from sparsecover.inference.runtimes import Runtime
from sparsecover.normalize import Normalizer

_VIEWS = tuple((turns, flip) for flip in (False, True) for turns in range(4))


@dataclass(frozen=True)
class Predictor:
    """Normalises windows and averages the probabilities of all members and views, always in the same order.

    Attributes:
        members: runtimes with the normaliser that each was trained with.
        num_classes: K.
        device: where batches are computed.
        tta: average over the eight flips and quarter turns of a window (D4).
    """

    members: Sequence[tuple[Runtime, Normalizer | None]]
    num_classes: int
    device: torch.device
    tta: bool = False

    def prepare(self, values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Values [C, h, w] as stored to the network's input, float32 [M * C, h, w] for M different normalisers."""
        parts = [_normalise(n, values, valid) for n in self._normalizers]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @property
    def _normalizers(self) -> list[Normalizer | None]:
        return list(dict.fromkeys(normalizer for _, normalizer in self.members))

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> Tensor:
        """Prepared windows [N, M * C, h, w] to probabilities [N, K, h, w], float32 on the device."""
        batch = batch.to(self.device, non_blocking=True)
        inputs = dict(zip(self._normalizers, batch.chunk(len(self._normalizers), dim=1), strict=True))
        views = _VIEWS if self.tta else _VIEWS[:1]
        total: Tensor | None = None
        for runtime, normalizer in self.members:
            for turns, flip in views:
                part = _undo(self._run(runtime, _view(inputs[normalizer], turns, flip)), turns, flip)
                total = part if total is None else total + part
        assert total is not None
        count = len(self.members) * len(views)
        return total if count == 1 else total / count

    def _run(self, runtime: Runtime, batch: Tensor) -> Tensor:
        try:
            return runtime(batch)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{len(batch)} windows of {batch.shape[-1]} px do not fit into the memory of {self.device}. Give a "
                "smaller --batch-size or --patch-size."
            ) from error


def _normalise(
    normalizer: Normalizer | None, values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    return np.where(valid, values, 0).astype(np.float32) if normalizer is None else normalizer(values, valid)


def _view(batch: Tensor, turns: int, flip: bool) -> Tensor:
    flipped = batch.flip(-1) if flip else batch
    return torch.rot90(flipped, turns, (-2, -1)) if turns else flipped  # no turn would still be a copy


def _undo(batch: Tensor, turns: int, flip: bool) -> Tensor:
    turned = torch.rot90(batch, -turns, (-2, -1)) if turns else batch
    return turned.flip(-1) if flip else turned
