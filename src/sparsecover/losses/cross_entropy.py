"""Cross-entropy on labelled pixels."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsecover.errors import ModelError
from sparsecover.losses.base import PartialLoss, ratio


class PartialCrossEntropyLoss(PartialLoss):
    """``sum_V w_y * -log p_y / sum_V w_y`` over the labelled pixels V; without weights the divisor is their count.

    Args:
        weight: class weights [K], or None.
        ignore_index: the target's value at unlabelled pixels.
        label_smoothing: share e in [0, 1) of the target spread over all classes (Szegedy et al. 2016, section 7):
            ``(1 - e) w_y * -log p_y + e/K sum_c w_c * -log p_c``; the divisor stays.
        pos_weight: for K = 2, factor on the loss of pixels of class 1, divided by the count of labelled pixels: the
            weighted binary cross-entropy of a one-logit head. Not together with ``weight``.

    >>> loss = PartialCrossEntropyLoss(ignore_index=-1)
    >>> loss(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, -1]]]))
    tensor(0.6931)
    """

    additive: ClassVar[bool] = True
    fixed_sums: ClassVar[int] = 2

    def __init__(
        self,
        weight: Sequence[float] | Tensor | None = None,
        ignore_index: int = 255,
        *,
        label_smoothing: float = 0.0,
        pos_weight: float | None = None,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ModelError(f"label_smoothing is {label_smoothing}; expected a share from 0 to below 1.")
        if pos_weight is not None and (weight is not None or pos_weight <= 0):
            raise ModelError(
                f"pos_weight is {pos_weight} and the class weights are {weight}; give one of them (in a configuration "
                "loss.class_weights: none), pos_weight above 0."
            )
        super().__init__(weight if pos_weight is None else [1.0, pos_weight], ignore_index)
        self.label_smoothing = label_smoothing
        self.pos_weight = pos_weight

    def sums(self, logits: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """[sum of weighted losses, sum of weights]."""
        weight = self.class_weight(logits)
        # torch's own sum over images saves a map, but is not deterministic on CUDA.
        losses = F.cross_entropy(
            logits,
            target,
            weight,
            ignore_index=self.ignore_index,
            reduction="none" if logits.is_cuda else "sum",
            label_smoothing=self.label_smoothing,
        )
        divisor = total_weight(None if self.pos_weight is not None else weight, target, labelled)
        return torch.stack([losses.sum(), divisor.to(losses)])

    def value(self, sums: Tensor) -> Tensor:
        """Their quotient."""
        return ratio(sums[0], sums[1])


def total_weight(weight: Tensor | None, target: Tensor, labelled: Tensor) -> Tensor:
    """The sum of the weights of the labelled pixels' classes; without weights their count."""
    if weight is None:
        return labelled.count_nonzero()
    return torch.where(labelled, weight[torch.where(labelled, target, 0)], 0).sum()
