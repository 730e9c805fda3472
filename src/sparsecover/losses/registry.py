"""Losses by name. This table needs no torch; a loss's module is imported when one is made."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sparsecover.registry import Part, Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

_LOSSES = Registry(
    "loss",
    {
        "ce": Part("sparsecover.losses.cross_entropy:PartialCrossEntropyLoss"),
        "dice": Part("sparsecover.losses.overlap:DiceLoss"),
        "tversky": Part("sparsecover.losses.overlap:TverskyLoss"),
        "focal": Part("sparsecover.losses.focal:FocalLoss"),
        "dice_ce": Part("sparsecover.losses.sums:dice_ce"),
        "focal_dice": Part("sparsecover.losses.sums:focal_dice"),
        "combo": Part("sparsecover.losses.sums:combo"),
    },
    {"weight": "loss.class_weights", "ignore_index": "the labels (data.unlabelled)"},
)


def list_losses() -> list[str]:
    """Names that :func:`create_loss` knows, sorted.

    >>> "dice_ce" in list_losses()
    True
    """
    return _LOSSES.names()


def register_loss(name: str, factory: Callable[..., "nn.Module"], *, replace: bool = False) -> None:
    """Make a loss usable by name everywhere.

    Args:
        name: the new name.
        factory: called as ``factory(weight=..., ignore_index=..., **options)``; returns a
            :class:`~sparsecover.losses.PartialLoss`.
        replace: allow a name that exists.

    Raises:
        ModelError: the name exists, or the factory cannot be called.
    """
    _LOSSES.register(name, factory, replace=replace)


def check_loss(name: str, options: Mapping[str, Any] | None = None) -> None:
    """See whether a configuration names a loss and options that it takes, before anything is read or made.

    Args:
        name: one of :func:`list_losses`.
        options: the loss's own; None looks at the name alone, which needs no torch.

    Raises:
        ModelError: unknown name or option (the message lists near matches), or a value that cannot be meant.
    """
    _LOSSES.check(name, options, lambda: create_loss(name, **(options or {})))


def create_loss(
    name: str, weight: "Sequence[float] | Tensor | None" = None, ignore_index: int = 255, **options: Any
) -> "nn.Module":
    """Make a loss by name.

    Peak memory of forward and backward beyond the logits, in multiples of their size in fp32 and with their gradient
    (``benchmarks/losses.py``): ce 3.3, dice, tversky and focal 4.4, dice_ce 5.4, focal_dice 6.1, combo 7.3; torch's own
    cross-entropy 3.0.

    Args:
        name: one of :func:`list_losses`.
        weight: a weight for each of the K classes, or None.
        ignore_index: the target's value at unlabelled pixels; any integer.
        **options: the loss's own.

    Returns:
        A :class:`~sparsecover.losses.PartialLoss`, called as ``loss(logits, target)``.

    Raises:
        ModelError: unknown name or option (the message lists near matches), or a value that cannot be meant.

    >>> create_loss("focal", gamma=1.5).gamma
    1.5
    """
    loss: nn.Module = _LOSSES.create(name, options, weight=weight, ignore_index=ignore_index)
    return loss
