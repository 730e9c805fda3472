"""Training: one loop under ``fit`` and ``Trainer``. Names are imported on first use."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.training.device import resolve_device as resolve_device
    from sparsecover.training.ema import WeightAverage as WeightAverage
    from sparsecover.training.fitting import fit as fit
    from sparsecover.training.interrupts import Terminated as Terminated
    from sparsecover.training.loader import PatchLoader as PatchLoader
    from sparsecover.training.optimizer import build_optimizer as build_optimizer
    from sparsecover.training.preparing import check_parts as check_parts
    from sparsecover.training.rate_test import RateTest as RateTest
    from sparsecover.training.rate_test import find_learning_rate as find_learning_rate
    from sparsecover.training.schedule import Schedule as Schedule
    from sparsecover.training.trainer import Trainer as Trainer

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "resolve_device": "device",
        "WeightAverage": "ema",
        "fit": "fitting",
        "Terminated": "interrupts",
        "PatchLoader": "loader",
        "build_optimizer": "optimizer",
        "check_parts": "preparing",
        "RateTest": "rate_test",
        "find_learning_rate": "rate_test",
        "Schedule": "schedule",
        "Trainer": "trainer",
    },
)
