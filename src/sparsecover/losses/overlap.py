"""Losses of overlap on labelled pixels: Tversky and its special case Dice.

Both the overlap and the predicted area are summed over labelled pixels, and over the batch, not image by image. A class
without labels in the batch says nothing and is left out of the mean. They are ratios: under gradient accumulation each
micro-batch has its own. With class-balanced clicks they estimate a wrong prevalence: give them a low weight then.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsecover.errors import ModelError
from sparsecover.losses.base import PartialLoss, ratio


class TverskyLoss(PartialLoss):
    """``mean_c (1 - (TP_c + s) / (TP_c + alpha FP_c + beta FN_c + s))^gamma``, c the classes with labels in the batch.

    TP = sum_V p_c y_c, FP = sum_V p_c (1 - y_c), FN = sum_V (1 - p_c) y_c over labelled pixels V (Salehi et al. 2017,
    eq. 3); gamma other than 1 is the focal Tversky loss (Abraham & Khan 2019, eq. 3, whose exponent is 1/gamma).

    Args:
        weight: class weights [K] of the mean, or None.
        ignore_index: the target's value at unlabelled pixels.
        alpha: weight of false positives, at least 0.
        beta: weight of false negatives, at least 0.
        gamma: exponent, above 0.
        smooth: s, at least 0.
        classes: indices of the classes that count (``[1]`` is foreground alone); default all.
    """

    sums_per_class: ClassVar[int] = 3

    def __init__(
        self,
        weight: Sequence[float] | Tensor | None = None,
        ignore_index: int = 255,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        smooth: float = 1e-5,
        classes: Sequence[int] | None = None,
    ) -> None:
        if alpha < 0 or beta < 0 or alpha + beta == 0:
            raise ModelError(f"alpha is {alpha} and beta is {beta}; expected at least 0, and not both 0.")
        if gamma <= 0 or smooth < 0:
            raise ModelError(f"gamma is {gamma} and smooth is {smooth}; expected gamma above 0 and smooth at least 0.")
        if classes is not None and not classes:
            raise ModelError("classes is empty; name at least one class, or leave it out for all.")
        super().__init__(weight, ignore_index)
        self.alpha, self.beta, self.gamma, self.smooth = alpha, beta, gamma, smooth
        self.classes = None if classes is None else list(classes)

    def sums(self, logits: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """Overlap, predicted and true area of each class: [3 K], class by class within each."""
        self._check_classes(logits.shape[1])
        p, here = F.softmax(logits, dim=1), labelled.to(logits)
        y = torch.where(labelled, target, 0)
        p_y = p.gather(1, y.unsqueeze(1)).squeeze(1)
        predicted = (p * here.unsqueeze(1)).sum((0, 2, 3))
        return torch.cat([_by_class(p_y * here, y, len(predicted)), predicted, _by_class(here, y, len(predicted))])

    def value(self, sums: Tensor) -> Tensor:
        """Weighted mean over the classes that count and have labels."""
        overlap, predicted, true = sums.view(3, -1)
        divisor = overlap + self.alpha * (predicted - overlap) + self.beta * (true - overlap) + self.smooth
        losses = self._power(1 - ratio(overlap + self.smooth, divisor))
        share = self._share(true)
        return ratio((share * losses).sum(), share.sum())

    def _power(self, losses: Tensor) -> Tensor:
        if self.gamma == 1:
            return losses
        return losses.clamp_min(torch.finfo(losses.dtype).tiny) ** self.gamma

    def _share(self, true: Tensor) -> Tensor:
        weight = self.class_weight(true)
        share = (true > 0).to(true) if weight is None else torch.where(true > 0, weight, 0)
        if self.classes is None:
            return share
        counted = torch.zeros_like(share)
        counted[self.classes] = 1
        return share * counted

    def _check_classes(self, num_classes: int) -> None:
        if self.classes is not None and not all(0 <= c < num_classes for c in self.classes):
            raise ModelError(f"classes is {self.classes}, but the logits have the classes 0 to {num_classes - 1}.")


def _by_class(values: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Sum ``values`` [N, H, W] by class: [K]. Each row of pixels on its own first, so that fp32 stays exact enough."""
    rows = torch.arange(target.shape[0] * target.shape[1], device=target.device).view(*target.shape[:2], 1)
    sums = values.new_zeros(rows.numel() * num_classes)
    index = (rows * num_classes + target).flatten()
    return sums.index_add(0, index, values.flatten()).view(-1, num_classes).sum(0)


class DiceLoss(TverskyLoss):
    """``1 - mean_c (2 sum_V p_c y_c + s) / (sum_V p_c + sum_V y_c + s)`` over the classes c with labels in the batch.

    The batch's soft Dice (Milletari et al. 2016, with plain instead of squared areas) over labelled pixels V.

    Args:
        weight: class weights [K] of the mean, or None.
        ignore_index: the target's value at unlabelled pixels.
        smooth: s, at least 0.
        classes: indices of the classes that count (``[1]`` is foreground Dice); default all.
    """

    def __init__(
        self,
        weight: Sequence[float] | Tensor | None = None,
        ignore_index: int = 255,
        *,
        smooth: float = 1e-5,
        classes: Sequence[int] | None = None,
    ) -> None:
        # Tversky's quotient with alpha = beta = 1/2 is Dice's halved above and below, hence half the smoothing.
        super().__init__(weight, ignore_index, smooth=smooth / 2, classes=classes)
