"""Samples side by side as tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

HELD_OUT = 254
"""Value of a hint where a label lies that validates or scores: nothing is inferred there."""


class Sample(NamedTuple):
    """One window: image float32 [C, h, w] (0 where invalid), labels uint8 [h, w] (255 unlabelled), valid [h, w].

    ``hints`` as in ``Batch``.
    """

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]
    name: str
    hints: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Batch:
    """Windows of a step.

    Attributes:
        images: float32 [N, C, h, w], normalised, 0 where invalid.
        labels: uint8 [N, h, w], 255 unlabelled; losses take them as int64.
        valid: bool [N, h, w].
        names: of the windows, for messages.
        hints: uint8 [N, h, w], what regularisers know beside the labels: a class inferred before training,
            ``HELD_OUT``, or 255 for neither; None: 255 everywhere. No loss on labelled pixels sees them.
    """

    images: Tensor
    labels: Tensor
    valid: Tensor
    names: tuple[str, ...] = ()
    hints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Self:
        """On a device, without waiting for the copy where the source is pinned."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def channels_last(self) -> Self:
        """With the bands of a pixel side by side in memory, the layout in which convolutions are fastest."""
        return replace(self, images=self.images.contiguous(memory_format=torch.channels_last))

    def pin(self) -> Self:
        """In page-locked memory, from which a GPU copies while it computes; as it is where it is on a device."""
        if self.images.device.type != "cpu":
            return self
        return self.each(Tensor.pin_memory)

    @property
    def planes(self) -> list[Tensor]:
        """Images, labels, valid mask and, where there are any, hints."""
        return [self.images, self.labels, self.valid] + ([] if self.hints is None else [self.hints])

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """All planes changed alike."""
        hints = None if self.hints is None else change(self.hints)
        return replace(
            self, images=change(self.images), labels=change(self.labels), valid=change(self.valid), hints=hints
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size."""
    hints = [s.hints for s in samples if s.hints is not None]
    return Batch(
        torch.from_numpy(np.stack([s.image for s in samples])),
        torch.from_numpy(np.stack([s.labels for s in samples])),
        torch.from_numpy(np.stack([s.valid for s in samples])),
        tuple(s.name for s in samples),
        torch.from_numpy(np.stack(hints)) if hints else None,
    )
