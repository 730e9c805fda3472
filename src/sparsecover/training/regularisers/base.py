"""What every regulariser shares: free pixels only, sums that add over processes, one division at the end."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from sparsecover.classes import UNLABELLED
from sparsecover.errors import ConfigError
from sparsecover.patches import HELD_OUT, Batch

Teacher = Callable[[Tensor], Tensor]
"""Images [N, C, h, w] to logits float32 [N, K, h, w] of the averaged network, without gradient."""


class Regulariser(ABC):
    """A term of the loss on pixels without a label; subclasses write :meth:`sums`, some also :meth:`view`.

    Args:
        weight: of the term beside the loss on labelled pixels, at least 0; at 0 nothing is computed.

    Raises:
        ConfigError: a weight that cannot be meant.
    """

    needs_average: ClassVar[bool] = False
    """Whether it asks the averaged network (``train.ema``)."""

    def __init__(self, weight: float) -> None:
        self.weight = check_range("weight", weight, 0, math.inf)

    def weight_at(self, done: float) -> float:
        """The weight when a share ``done``, from 0 to 1, of the training is behind."""
        return self.weight

    def view(self, batch: Batch, teacher: Teacher, generator: torch.Generator) -> Batch | None:
        """What the network is to look at for this term: the batch itself, a version of it, or None for nothing.

        Args:
            batch: the windows of a step, augmented.
            teacher: the averaged network.
            generator: on the CPU; it alone decides what is drawn.
        """
        return batch

    @abstractmethod
    def sums(self, logits: Tensor, view: Batch) -> Tensor:
        """Sum of the term over pixels, what it is divided by, and pixels that taught: [3].

        Args:
            logits: float32 [N, K, h, w] of the view, with gradient.
            view: what :meth:`view` returned.
        """


def free_pixels(batch: Batch) -> Tensor:
    """Where a label may be inferred, bool [N, h, w]: valid, unlabelled, not kept apart for validation or scoring."""
    free = (batch.labels == UNLABELLED) & batch.valid
    return free if batch.hints is None else free & (batch.hints != HELD_OUT)


def cross_entropy_sum(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of the cross-entropy over the pixels whose target [N, h, w] is a class."""
    losses = functional.cross_entropy(logits, target.long(), ignore_index=UNLABELLED, reduction="none")
    return losses.sum()  # torch's own sum is not deterministic on CUDA


def check_range(option: str, value: float, low: float, high: float) -> float:
    """The value, if it lies between two bounds.

    Raises:
        ConfigError: it does not.
    """
    if not (low <= value <= high and math.isfinite(value)):
        bounds = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise ConfigError(f"The regulariser's {option} is {value}; expected {bounds}.")
    return value
