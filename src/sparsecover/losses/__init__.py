"""Losses on labelled pixels; nothing here imports torch before it is used."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.losses.base import PartialLoss as PartialLoss
    from sparsecover.losses.cross_entropy import PartialCrossEntropyLoss as PartialCrossEntropyLoss
    from sparsecover.losses.focal import FocalLoss as FocalLoss
    from sparsecover.losses.overlap import DiceLoss as DiceLoss
    from sparsecover.losses.overlap import TverskyLoss as TverskyLoss
    from sparsecover.losses.processes import add_other_processes as add_other_processes
    from sparsecover.losses.registry import check_loss as check_loss
    from sparsecover.losses.registry import create_loss as create_loss
    from sparsecover.losses.registry import list_losses as list_losses
    from sparsecover.losses.registry import register_loss as register_loss
    from sparsecover.losses.sums import WeightedSum as WeightedSum

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "PartialLoss": "base",
        "PartialCrossEntropyLoss": "cross_entropy",
        "FocalLoss": "focal",
        "DiceLoss": "overlap",
        "TverskyLoss": "overlap",
        "add_other_processes": "processes",
        "check_loss": "registry",
        "create_loss": "registry",
        "list_losses": "registry",
        "register_loss": "registry",
        "WeightedSum": "sums",
    },
)
