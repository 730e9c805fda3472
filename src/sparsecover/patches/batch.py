"""Samples side by side as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Sample(NamedTuple):
    """One window: image float32 [C, h, w] (0 where invalid), labels uint8 [h, w] (255 unlabelled), valid [h, w]."""

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]
    name: str


@dataclass(frozen=True)
class Batch:
    """Windows of a step.

    Attributes:
        images: float32 [N, C, h, w], normalised, 0 where invalid.
        labels: uint8 [N, h, w], 255 unlabelled; losses take them as int64.
        valid: bool [N, h, w].
        names: of the windows, for messages.
    """

    images: Tensor
    labels: Tensor
    valid: Tensor
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Self:
        """On a device, without waiting for the copy where the source is pinned."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
        )

    def channels_last(self) -> Self:
        """With the bands of a pixel side by side in memory, the layout in which convolutions are fastest."""
        return replace(self, images=self.images.contiguous(memory_format=torch.channels_last))

    def pin(self) -> Self:
        """In page-locked memory, from which a GPU copies while it computes; as it is where it is on a device."""
        if self.images.device.type != "cpu":
            return self
        return replace(
            self, images=self.images.pin_memory(), labels=self.labels.pin_memory(), valid=self.valid.pin_memory()
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size."""
    return Batch(
        torch.from_numpy(np.stack([s.image for s in samples])),
        torch.from_numpy(np.stack([s.labels for s in samples])),
        torch.from_numpy(np.stack([s.valid for s in samples])),
        tuple(s.name for s in samples),
    )
