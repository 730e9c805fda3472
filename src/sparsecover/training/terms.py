"""The regularisers of a training at work on one batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsecover.losses import add_other_processes
from sparsecover.patches import Batch
from sparsecover.training.history import Row
from sparsecover.training.objective import Logits, as_classes
from sparsecover.training.regularisers import Regulariser
from sparsecover.training.regularisers.base import Teacher


@dataclass
class Terms:
    """What the network looks at in one batch, and the regularisers' part of the loss.

    The views of all regularisers go through the network in one pass with the batch itself: processes exchange gradients
    once for each pass, and statistics of norms are then those of all.

    Attributes:
        parts: regularisers with their present weight; those with weight 0 rest.
        batch: the windows.
        views: what each regulariser looks at; None where it has nothing to do.
        sums: float64 [P, 3] on the CPU after ``loss``; see ``Regulariser.sums``.
    """

    parts: Sequence[tuple[Regulariser, float]]
    batch: Batch
    views: Sequence[Batch | None]
    sums: Tensor

    @classmethod
    def prepare(
        cls, parts: Sequence[Regulariser], batch: Batch, done: float, teacher: Teacher, generator: torch.Generator
    ) -> "Terms":
        """Ask each regulariser what it wants to look at; ``done`` is the share of the training that is behind."""
        weighted = [(part, part.weight_at(done)) for part in parts]
        views = [part.view(batch, teacher, generator) if weight else None for part, weight in weighted]
        return cls(weighted, batch, views, torch.zeros(len(parts), 3, dtype=torch.float64))

    @property
    def images(self) -> Tensor:
        """The batch's images and those of the other views, [N + M, C, h, w]."""
        others = [view.images for view in self.views if view is not None and view is not self.batch]
        if not others:
            return self.batch.images
        return torch.cat([self.batch.images, *others]).contiguous(memory_format=torch.channels_last)

    def own(self, logits: Logits) -> Logits:
        """The logits of the batch itself."""
        count = len(self.batch)
        return logits[:count] if isinstance(logits, Tensor) else [each[:count] for each in logits]

    def loss(self, logits: Logits) -> Tensor:
        """The weighted sum of the terms, over the pixels of all processes."""
        # Of several outputs (deep supervision) the last is the network's own.
        last = as_classes(logits if isinstance(logits, Tensor) else logits[-1])
        start = len(self.batch)
        rows = []
        for (part, _), view in zip(self.parts, self.views, strict=True):
            if view is None:
                rows.append(last.new_zeros(3))
            elif view is self.batch:
                rows.append(part.sums(last[: len(view)], view))
            else:
                rows.append(part.sums(last[start : start + len(view)], view))
                start += len(view)
        sums = add_other_processes(torch.stack(rows))
        self.sums = sums.detach().double().cpu()
        weights = last.new_tensor([weight for _, weight in self.parts])
        return (weights * sums[:, 0] / sums[:, 1].detach().clamp_min(1)).sum()


def term_columns(names: Sequence[str], sums: Tensor | None) -> Row:
    """Columns of the history: each term without its weight, and the share of its pixels that taught."""
    columns: Row = {}
    rows = [] if sums is None else sums.tolist()
    for name, (total, divisor, taught) in zip(names, rows, strict=False):
        columns[f"{name}_loss"] = total / max(divisor, 1)
        columns[f"{name}_share"] = taught / max(divisor, 1)
    return columns
