"""Known layouts of scenes and labels, and their division into training, validation and test."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.datasets.demo import make_demo as make_demo
    from sparsecover.datasets.download import get_dataset as get_dataset
    from sparsecover.datasets.info import describe_dataset as describe_dataset
    from sparsecover.datasets.known import KNOWN as KNOWN
    from sparsecover.datasets.known import find_known as find_known
    from sparsecover.datasets.layouts.base import Entry as Entry
    from sparsecover.datasets.layouts.base import Listing as Listing
    from sparsecover.datasets.opening import open_dataset as open_dataset
    from sparsecover.datasets.opening import open_listing as open_listing
    from sparsecover.datasets.pair import Dataset as Dataset
    from sparsecover.datasets.pair import Pair as Pair
    from sparsecover.datasets.pair import check_sampler as check_sampler
    from sparsecover.datasets.pair import simulate_pairs as simulate_pairs
    from sparsecover.datasets.pair import simulated_note as simulated_note
    from sparsecover.datasets.split import Split as Split
    from sparsecover.datasets.split import apply_plan as apply_plan
    from sparsecover.datasets.split import split_folds as split_folds
    from sparsecover.datasets.split import split_pairs as split_pairs
    from sparsecover.datasets.split_plan import SplitPlan as SplitPlan

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "make_demo": "demo",
        "get_dataset": "download",
        "describe_dataset": "info",
        "KNOWN": "known",
        "find_known": "known",
        "Entry": "layouts.base",
        "Listing": "layouts.base",
        "open_dataset": "opening",
        "open_listing": "opening",
        "Dataset": "pair",
        "Pair": "pair",
        "check_sampler": "pair",
        "simulate_pairs": "pair",
        "simulated_note": "pair",
        "Split": "split",
        "apply_plan": "split",
        "split_folds": "split",
        "split_pairs": "split",
        "SplitPlan": "split_plan",
    },
)
