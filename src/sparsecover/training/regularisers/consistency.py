"""Weak-to-strong consistency (Sohn et al. 2020, FixMatch; with CutMix: French et al. 2020)."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from sparsecover.classes import UNLABELLED
from sparsecover.patches import Augmenter, Batch
from sparsecover.training.regularisers.base import Regulariser, Teacher, check_range, cross_entropy_sum, free_pixels


class Consistency(Regulariser):
    """What the averaged network is sure of, the network is to see in strongly changed windows as well.

    ``sum_U 1[conf >= threshold] CE(p_strong, argmax p_teacher) / |U|`` over the free pixels U. The weight rises as
    ``exp(-5 (1 - t / ramp)^2)`` over the first share ``ramp`` of the training. CutMix moves image, pseudo-label and U
    alike; labelled pixels, and what was pasted over them, never get a pseudo-label where they are labelled.

    Args:
        weight: of the term.
        threshold: least confidence of a pseudo-label, in [0, 1].
        ramp: share of the training in which the weight rises, in [0, 1].
        cutmix: share of the windows with a rectangle of another one.
        strength: of the changes of colour, 1 as in the preset ``strong``.
    """

    needs_average = True

    def __init__(
        self,
        weight: float = 1.0,
        threshold: float = 0.9,
        ramp: float = 0.3,
        cutmix: float = 0.5,
        strength: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.threshold = check_range("threshold", threshold, 0, 1)
        self.ramp = check_range("ramp", ramp, 0, 1)
        check_range("strength", strength, 0, math.inf)
        self._strong = Augmenter(
            symmetries=False,
            brightness=0.4 * strength,
            contrast=0.4 * strength,
            gamma=0.4 * strength,
            noise=0.1 * strength,
            blur=min(1.0, 0.2 * strength),
            cutmix=check_range("cutmix", cutmix, 0, 1),
        )

    def weight_at(self, done: float) -> float:
        """The weight on its ramp."""
        left = max(0.0, 1 - done / self.ramp) if self.ramp else 0.0
        return self.weight * math.exp(-5 * left**2)

    @torch.no_grad()
    def view(self, batch: Batch, teacher: Teacher, generator: torch.Generator) -> Batch | None:
        """The batch strongly changed, with pseudo-labels for labels and U for hints; None without free pixels."""
        free = free_pixels(batch)
        if not free.any():
            return None
        images = torch.where(batch.valid[:, None], batch.images, 0)
        confidence, best = teacher(images).softmax(1).max(1)
        labels = torch.where(free & (confidence >= self.threshold), best, UNLABELLED).to(torch.uint8)
        return self._strong(replace(batch, images=images, labels=labels, hints=free.to(torch.uint8)), generator)

    def sums(self, logits: Tensor, view: Batch) -> Tensor:
        """Cross-entropy on the pseudo-labels, free pixels, and how many of them have a pseudo-label."""
        assert view.hints is not None
        taught = (view.labels != UNLABELLED).sum()
        return torch.stack([cross_entropy_sum(logits, view.labels), view.hints.sum().to(logits), taught.to(logits)])
