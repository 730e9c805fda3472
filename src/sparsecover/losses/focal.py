"""Focal loss on labelled pixels."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsecover.errors import ModelError
from sparsecover.losses.base import PartialLoss, ratio
from sparsecover.losses.cross_entropy import total_weight


class FocalLoss(PartialLoss):
    """``sum_V w_y (1 - p_y)^gamma * -log p_y / sum_V w_y`` over the labelled pixels V (Lin et al. 2017, eq. 5).

    Other libraries divide by all pixels, labelled or not: at 1% labels their loss is a hundred times too small.

    Args:
        weight: class weights [K], or None.
        ignore_index: the target's value at unlabelled pixels.
        gamma: focus on hard pixels, at least 0; 0 is cross-entropy.
        alpha: for K = 2, the balance of the paper: class weights (1 - alpha, alpha). Not together with ``weight``.
    """

    additive: ClassVar[bool] = True
    fixed_sums: ClassVar[int] = 2

    def __init__(
        self,
        weight: Sequence[float] | Tensor | None = None,
        ignore_index: int = 255,
        *,
        gamma: float = 2.0,
        alpha: float | None = None,
    ) -> None:
        if gamma < 0:
            raise ModelError(f"gamma is {gamma}; expected at least 0.")
        if alpha is not None and (weight is not None or not 0 < alpha < 1):
            raise ModelError(
                f"alpha is {alpha} and the class weights are {weight}; give one of them (in a configuration "
                "loss.class_weights: none), alpha between 0 and 1."
            )
        super().__init__(weight if alpha is None else [1 - alpha, alpha], ignore_index)
        self.gamma = gamma

    def sums(self, logits: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """[sum of weighted losses, sum of weights]."""
        weight = self.class_weight(logits)
        log_p = F.log_softmax(logits, dim=1)
        surprise = F.nll_loss(log_p, target, ignore_index=self.ignore_index, reduction="none")
        # 1 - p without cancellation; kept off 0, where a power below 1 has no finite gradient.
        miss = (-torch.expm1(-surprise)).clamp_min(torch.finfo(surprise.dtype).tiny)
        losses = miss**self.gamma * surprise
        if weight is not None:
            losses = losses * weight[torch.where(labelled, target, 0)]
        return torch.stack([losses.sum(), total_weight(weight, target, labelled).to(losses)])

    def value(self, sums: Tensor) -> Tensor:
        """Their quotient."""
        return ratio(sums[0], sums[1])
