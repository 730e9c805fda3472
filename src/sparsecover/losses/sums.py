"""Sums of losses. Each term keeps its own statistics, side by side in one tensor."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sparsecover.errors import ModelError
from sparsecover.losses.base import PartialLoss
from sparsecover.losses.cross_entropy import PartialCrossEntropyLoss
from sparsecover.losses.focal import FocalLoss
from sparsecover.losses.overlap import DiceLoss

Weight = Sequence[float] | Tensor | None


class WeightedSum(PartialLoss):
    """``sum_t a_t loss_t``; class weights and ``ignore_index`` are those of the terms, which must share the latter.

    Args:
        terms: pairs of a_t, at least 0, and a loss.
    """

    def __init__(self, terms: Sequence[tuple[float, PartialLoss]]) -> None:
        ignored = {loss.ignore_index for _, loss in terms}
        if len(ignored) != 1 or any(factor < 0 for factor, _ in terms):
            raise ModelError(
                f"The terms have weights {[f for f, _ in terms]} and ignore_index {sorted(ignored)}; "
                "expected weights of at least 0 and one ignore_index."
            )
        super().__init__(ignore_index=ignored.pop())
        self.factors = [factor for factor, _ in terms]
        self.terms: Iterable[PartialLoss] = torch.nn.ModuleList([loss for _, loss in terms])  # type: ignore[assignment]

    def sums(self, logits: Tensor, target: Tensor, labelled: Tensor) -> Tensor:
        """The terms' sums, one after the other."""
        for term in self.terms:
            term.check_weight(logits.shape[1])
        return torch.cat([term.sums(logits, target, labelled) for term in self.terms])

    def value(self, sums: Tensor) -> Tensor:
        """The weighted sum of the terms' losses."""
        parts = torch.split(sums, self._lengths(len(sums)))
        values = [term.value(part) for term, part in zip(self.terms, parts, strict=True)]
        return torch.stack([factor * value for factor, value in zip(self.factors, values, strict=True)]).sum()

    def _lengths(self, total: int) -> list[int]:
        fixed = sum(term.fixed_sums for term in self.terms)
        per_class = sum(term.sums_per_class for term in self.terms)
        num_classes = (total - fixed) // per_class if per_class else 0
        return [term.fixed_sums + num_classes * term.sums_per_class for term in self.terms]


def dice_ce(
    weight: Weight = None,
    ignore_index: int = 255,
    *,
    ce_weight: float = 1.0,
    dice_weight: float = 1.0,
    label_smoothing: float = 0.0,
    pos_weight: float | None = None,
    smooth: float = 1e-5,
    classes: Sequence[int] | None = None,
) -> WeightedSum:
    """``ce_weight * CE + dice_weight * Dice``; class weights apply to both, ``pos_weight`` to cross-entropy alone.

    Dice takes the prevalence from the labels: with clicks balanced by class, give it a weight of 0 to 0.5.
    """
    ce = PartialCrossEntropyLoss(weight, ignore_index, label_smoothing=label_smoothing, pos_weight=pos_weight)
    return WeightedSum([(ce_weight, ce), (dice_weight, DiceLoss(weight, ignore_index, smooth=smooth, classes=classes))])


def focal_dice(
    weight: Weight = None,
    ignore_index: int = 255,
    *,
    focal_weight: float = 1.0,
    dice_weight: float = 1.0,
    gamma: float = 2.0,
    alpha: float | None = None,
    smooth: float = 1e-5,
    classes: Sequence[int] | None = None,
) -> WeightedSum:
    """``focal_weight * focal + dice_weight * Dice``; class weights apply to both, ``alpha`` to focal alone."""
    focal = FocalLoss(weight, ignore_index, gamma=gamma, alpha=alpha)
    dice = DiceLoss(weight, ignore_index, smooth=smooth, classes=classes)
    return WeightedSum([(focal_weight, focal), (dice_weight, dice)])


def combo(
    weight: Weight = None,
    ignore_index: int = 255,
    *,
    ce_weight: float = 1.0,
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
    label_smoothing: float = 0.0,
    pos_weight: float | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
    smooth: float = 1e-5,
    classes: Sequence[int] | None = None,
) -> WeightedSum:
    """``ce_weight * CE + dice_weight * Dice + focal_weight * focal``; class weights apply to all.

    ``label_smoothing`` and ``pos_weight`` are cross-entropy's, ``gamma`` and ``alpha`` focal's, ``smooth`` and
    ``classes`` Dice's.
    """
    ce = PartialCrossEntropyLoss(weight, ignore_index, label_smoothing=label_smoothing, pos_weight=pos_weight)
    dice = DiceLoss(weight, ignore_index, smooth=smooth, classes=classes)
    focal = FocalLoss(weight, ignore_index, gamma=gamma, alpha=alpha)
    return WeightedSum([(ce_weight, ce), (dice_weight, dice), (focal_weight, focal)])
