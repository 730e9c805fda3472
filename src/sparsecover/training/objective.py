"""Losses as sums that can be added over batches, epochs and processes before the one division."""

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from sparsecover.classes import UNLABELLED

Logits = Tensor | Sequence[Tensor]


class Objective(Protocol):
    """A loss in two steps, as all of ours are (see ``sparsecover.losses.PartialLoss``)."""

    additive: bool

    def statistics(self, logits: Logits, target: Tensor, /) -> Tensor:
        """Additive sums [S] over labelled pixels, [M, S] for M outputs; (numerator, denominator) where additive."""

    def finalise(self, statistics: Tensor, /) -> Tensor:
        """The scalar of such sums."""


class _Plain:
    """Any ``loss(logits, target)`` that is a mean over labelled pixels, such as those of torch.nn."""

    additive = True

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._loss = loss
        self._ignored = getattr(loss, "ignore_index", UNLABELLED)

    def statistics(self, logits: Logits, target: Tensor) -> Tensor:
        if not isinstance(logits, Tensor):
            return torch.stack([self.statistics(each, target) for each in logits])
        labelled = (target != self._ignored).sum().to(torch.float32)
        if not labelled:  # torch's own mean over nothing is NaN
            return torch.stack([0.0 * logits.float().sum(), labelled])
        return torch.stack([self._loss(logits.float(), target) * labelled, labelled])

    def finalise(self, statistics: Tensor) -> Tensor:
        return (statistics[..., 0] / statistics[..., 1].clamp_min(1)).mean()


def as_objective(loss: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """One of our losses as it is, or any other ``loss(logits, target)`` weighted by its labelled pixels."""
    return cast(Objective, loss) if hasattr(loss, "statistics") and hasattr(loss, "finalise") else _Plain(loss)


def as_classes(logits: Tensor) -> Tensor:
    """Logits float32 [N, K, h, w], K from 2: a single logit z of class 1 stands for (0, z)."""
    logits = logits.float()
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits
