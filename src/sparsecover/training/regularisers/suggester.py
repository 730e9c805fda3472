"""Regularisers that infer labels once, before training: what they share."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparsecover.classes import UNLABELLED
from sparsecover.patches import HELD_OUT, Batch, Pair, Patch
from sparsecover.patches.batch import Sample
from sparsecover.training.regularisers.base import Regulariser, cross_entropy_sum, free_pixels

Suggestions = npt.NDArray[np.uint8]
"""Class indices [H, W] on a scene's grid; 255 where none is suggested."""


@dataclass(frozen=True)
class Ground:
    """What labels are inferred from.

    Attributes:
        pairs: scenes and training labels.
        read: a window's normalised image, labels and valid mask.
        num_classes: K.
        size_px: side of a training window.
        network: of a training without suggestions, in eval mode; None where none was asked for.
        device: where it computes.
    """

    pairs: Sequence[Pair]
    read: Callable[[Patch], Sample]
    num_classes: int
    size_px: int
    network: nn.Module | None = None
    device: str = "cpu"


class Suggester(Regulariser):
    """Cross-entropy on suggested labels, a mean over them; subclasses write :meth:`suggest`."""

    first_round: bool = False
    """Whether :meth:`suggest` asks a network that was trained before, without it."""

    @abstractmethod
    def suggest(self, ground: Ground) -> tuple[list[Suggestions], str]:
        """Labels for pixels without one, an array for each pair, and what was done, for the log."""

    def sums(self, logits: Tensor, view: Batch) -> Tensor:
        """Cross-entropy on the suggested labels and their number."""
        target = torch.full_like(view.labels, UNLABELLED)
        if view.hints is not None:
            here = free_pixels(view) & (view.hints < HELD_OUT)
            target = torch.where(here, view.hints.to(target.dtype), target)
        count = (target != UNLABELLED).sum().to(logits)
        return torch.stack([cross_entropy_sum(logits, target), count, count])
