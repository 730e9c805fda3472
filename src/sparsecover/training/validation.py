"""Scores of a network on labelled windows."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsecover import metrics
from sparsecover.patches import Batch
from sparsecover.training.objective import Objective, as_classes


@dataclass(frozen=True)
class Scores:
    """Loss (None without labelled pixels) and confusion matrix over a whole validation set."""

    loss: float | None
    confusion: metrics.Confusion

    @property
    def miou(self) -> float | None:
        """Mean IoU; None without labelled pixels."""
        return metrics.finite(metrics.miou(self.confusion))


@torch.no_grad()
def validate(
    network: nn.Module,
    objective: Objective,
    batches: Iterable[Batch],
    place: Callable[[Batch], Batch],
    *,
    ignore_index: int,
    autocast: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    add: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> Scores:
    """Run a network in eval mode over all batches.

    Args:
        network: left in the mode it was in.
        objective: its statistics are summed over all batches before the one division.
        batches: windows that hold each labelled pixel once.
        place: brings a batch to the device.
        ignore_index: label of unlabelled pixels.
        autocast: context in which the network runs.
        add: sums a tensor over all processes.
    """
    training = network.training
    network.eval()
    sums = confusion = None
    for batch in map(place, batches):
        labels = batch.labels.long()
        with autocast():
            logits = network(batch.images)
        statistics = objective.statistics(logits, labels).double()
        classes = as_classes(logits)
        counted = _confusion(classes.argmax(1), labels, classes.shape[1], ignore_index)
        sums = statistics if sums is None else sums + statistics
        confusion = counted if confusion is None else confusion + counted
    network.train(training)
    assert sums is not None, "a validation without batches is refused before training starts"
    assert confusion is not None
    confusion = add(confusion)
    loss = float(objective.finalise(add(sums))) if int(confusion.sum()) else None
    return Scores(loss, confusion.cpu().numpy())


def _confusion(prediction: Tensor, truth: Tensor, classes: int, ignore_index: int) -> Tensor:
    """int64 [K, K], rows truth, without leaving the device."""
    # Unlabelled pixels are counted into one more cell, as picking them out would have to wait for the device.
    labelled = (truth != ignore_index) & (truth >= 0) & (truth < classes)
    cells = torch.where(labelled, truth * classes + prediction, classes * classes)
    return torch.bincount(cells.flatten(), minlength=classes**2 + 1)[:-1].view(classes, classes)
