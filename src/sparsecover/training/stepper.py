"""One optimiser step over one or several batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparsecover.losses import add_other_processes
from sparsecover.patches import Batch
from sparsecover.training.objective import Objective
from sparsecover.training.terms import Terms

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule

_TINY = 1e-12


@dataclass
class Stepper:
    """Forward, loss, backward, clip, update.

    Attributes:
        fabric: precision, device and processes.
        network: the network as set up by fabric.
        optimizer: the optimiser as set up by fabric.
        objective: the loss.
        clip: largest gradient norm; None leaves gradients as they are.
    """

    fabric: "Fabric"
    network: "_FabricModule"
    optimizer: torch.optim.Optimizer
    objective: Objective
    clip: float | None = None

    def __call__(self, batches: Sequence[Batch], terms: Terms | None = None) -> tuple[Tensor, bool]:
        """Take one step with the gradient over all labelled pixels of the batches (and of all processes).

        Args:
            batches: of the step.
            terms: regularisers at work on the only batch.

        Returns:
            The sum of the loss's statistics in float64 on the CPU, and whether loss and gradients were finite; where
            they were not, the weights are left as they were.
        """
        self.optimizer.zero_grad(set_to_none=True)
        statistics = self._gradients(batches) if terms is None else self._regularised(terms)
        finite = bool(torch.isfinite(statistics).all() and (terms is None or torch.isfinite(terms.sums).all()))
        if finite and self.clip is not None:
            norm: Tensor | None = self.fabric.clip_gradients(
                self.network, self.optimizer, max_norm=self.clip, error_if_nonfinite=False
            )
            # The scaler of fp16 meets infinite gradients by design and skips such steps itself.
            finite = self._scaled or norm is None or bool(torch.isfinite(norm))
        if finite:
            self.optimizer.step()
        return statistics, finite

    @property
    def _scaled(self) -> bool:
        return getattr(self.fabric.strategy.precision, "scaler", None) is not None

    def _gradients(self, batches: Sequence[Batch]) -> Tensor:
        """Sum of the statistics; gradients stand in the parameters.

        Each batch's loss is a mean over its own labelled pixels. Adding means would give a pixel in a sparsely labelled
        batch more weight, so additive losses are weighted by their denominators and divided by the sum of these once.
        """
        kept: list[Tensor] = []
        weights: list[Tensor] = []
        for number, batch in enumerate(batches):
            with self.fabric.no_backward_sync(self.network, enabled=number < len(batches) - 1):
                statistics = add_other_processes(
                    self.objective.statistics(self.network(batch.images), batch.labels.long())
                )
                # Of several outputs (deep supervision) the last is the network's own.
                kept.append(statistics.detach().reshape(-1, statistics.shape[-1])[-1])
                weights.append(kept[-1][1] if self.objective.additive else torch.ones_like(kept[-1][0]))
                # Relative to the first batch's weight, so that gradients keep the scale of a mean (fp16 overflows).
                relative = weights[-1] / weights[0].clamp_min(_TINY)
                self.fabric.backward(self.objective.finalise(statistics) * (relative if number else 1.0))
        if len(batches) > 1:
            total = torch.stack(weights).sum()
            self._scale_gradients(float(weights[0].clamp_min(_TINY) / total.clamp_min(_TINY)))
        return torch.stack(kept).double().sum(0).cpu()

    def _regularised(self, terms: Terms) -> Tensor:
        """Statistics of one batch; gradients of its loss and of the regularisers' terms stand in the parameters."""
        logits = self.network(terms.images)
        own = self.objective.statistics(terms.own(logits), terms.batch.labels.long())
        statistics = add_other_processes(own)
        self.fabric.backward(self.objective.finalise(statistics) + terms.loss(logits))
        return statistics.detach().reshape(-1, statistics.shape[-1])[-1].double().cpu()

    def _scale_gradients(self, factor: float) -> None:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, factor)
