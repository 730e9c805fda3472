"""What every loss shares: labelled pixels only, sums that add, one division at the end.

A loss is two steps. ``statistics`` sums over labelled pixels; statistics of parts of a batch, and of the batches of
other processes, add up to those of the whole. ``finalise`` turns them into the loss. Sums run in fp32, or in fp64 for
fp64 logits.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparsecover.errors import ModelError

Logits = Tensor | Sequence[Tensor]


class PartialLoss(nn.Module):
    """A loss on labelled pixels; subclasses write :meth:`sums` and :meth:`value`.

    Args:
        weight: a weight of at least 0 for each of the K classes, or None.
        ignore_index: the target's value at unlabelled pixels; any integer.

    Raises:
        ModelError: weights that are not finite or below 0.
    """

    additive: ClassVar[bool] = False
    """True where ``statistics`` is [sum, weight] and the loss is their quotient, so that the micro-batches of one step
    can be divided by the weight of all of them; False where the loss is a ratio of each micro-batch."""

    fixed_sums: ClassVar[int] = 0
    sums_per_class: ClassVar[int] = 0
    """``statistics`` holds ``fixed_sums + K * sums_per_class`` sums; only a weighted sum of losses needs to know."""

    weight: Tensor | None

    def __init__(self, weight: Sequence[float] | Tensor | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        # A constant of the configuration, not a part of the learned state.
        self.register_buffer("weight", _class_weights(weight), persistent=False)
        self.ignore_index = ignore_index

    def sums(self, logits: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """Additive sums [S] over labelled pixels.

        Args:
            logits: fp32 or fp64 [N, K, H, W].
            target: int64 [N, H, W], 0..K-1 where labelled.
            labelled: bool [N, H, W].
        """
        raise NotImplementedError

    def value(self, sums: Tensor) -> Tensor:
        """The loss of sums [S]: a scalar, 0 with zero gradient where no pixel is labelled."""
        raise NotImplementedError

    def statistics(self, logits: Logits, target: Tensor) -> Tensor:
        """Additive sums over labelled pixels: [S], or [M, S] for the M outputs of deep supervision.

        Args:
            logits: any float dtype, [N, K, H, W]; [N, 1, H, W] is one logit z for class 1, meaning (0, z); or a list.
            target: integers [N, H, W], 0..K-1 or ``ignore_index``.

        Raises:
            ModelError: sizes that differ, values that are neither a class nor ``ignore_index``, a wrong number of
                weights.
        """
        if not isinstance(logits, Tensor):
            return torch.stack([self.statistics(each, target) for each in logits])
        if logits.ndim == 4 and logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        labelled = labelled_pixels(logits, target, self.ignore_index)
        self.check_weight(logits.shape[1])
        return self.sums(logits.to(_wide(logits.dtype)), target.long(), labelled)

    def finalise(self, statistics: Tensor) -> Tensor:
        """The loss, a scalar; under deep supervision the mean over the outputs (Zhou et al. 2018, section 3.2)."""
        if statistics.ndim == 2:
            return torch.stack([self.value(sums) for sums in statistics]).mean()
        return self.value(statistics)

    def forward(self, logits: Logits, target: Tensor) -> Tensor:
        """The loss of one batch; see :meth:`statistics` for the arguments."""
        return self.finalise(self.statistics(logits, target))

    def class_weight(self, like: Tensor) -> Tensor | None:
        """The class weights in the dtype and on the device of ``like``."""
        return None if self.weight is None else self.weight.to(like)

    def check_weight(self, num_classes: int) -> None:
        """Raise ModelError where there are class weights, but not one for each class."""
        if self.weight is not None and len(self.weight) != num_classes:
            raise ModelError(
                f"The loss has {len(self.weight)} class weights, but the logits have {num_classes} classes; "
                f"give {num_classes} weights."
            )


def labelled_pixels(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Where a batch is labelled, bool [N, H, W]; raises ModelError where logits and target do not fit together.

    Reading the answer waits for an accelerator once; what it prevents there is an index error that ends the process.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ModelError(
            f"Logits {list(logits.shape)} and target {list(target.shape)} do not fit; expected logits [N, K, H, W] "
            "and a target [N, H, W] of the same size."
        )
    if target.is_floating_point() or target.is_complex():
        raise ModelError(f"The target holds {target.dtype}; expected class indices as integers.")
    num_classes = logits.shape[1]
    labelled = target != ignore_index
    if target.numel():
        lowest, highest = torch.where(labelled, target, 0).aminmax()
        if (lowest < 0) | (highest >= num_classes):
            raise _foreign_values(target[labelled], num_classes, ignore_index)
    return labelled


def _foreign_values(indices: Tensor, num_classes: int, ignore_index: int) -> ModelError:
    values = sorted(value for value in set(indices.tolist()) if not 0 <= value < num_classes)
    found = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
    return ModelError(
        f"The target holds {found}; expected class indices 0 to {num_classes - 1}, or {ignore_index} where unlabelled. "
        "Map the labels to indices, or set ignore_index."
    )


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """``numerator / denominator``, 0 with zero gradient where the denominator is 0."""
    return numerator / torch.where(denominator > 0, denominator, torch.ones_like(denominator))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _class_weights(weight: Sequence[float] | Tensor | None) -> Tensor | None:
    if weight is None:
        return None
    weights = torch.as_tensor(weight, dtype=torch.float32).detach().clone()
    if weights.ndim != 1 or not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ModelError(f"The class weights are {weight}; expected one finite number of at least 0 for each class.")
    return weights
