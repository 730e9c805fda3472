"""Training windows: which ones, how they are read, and how they are varied. Names are imported on first use."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.patches.augment import Augmenter as Augmenter
    from sparsecover.patches.batch import HELD_OUT as HELD_OUT
    from sparsecover.patches.batch import Batch as Batch
    from sparsecover.patches.batch import collate as collate
    from sparsecover.patches.dataset import PatchDataset as PatchDataset
    from sparsecover.patches.extract import Extraction as Extraction
    from sparsecover.patches.extract import extract_patches as extract_patches
    from sparsecover.patches.extract_plan import ExtractOptions as ExtractOptions
    from sparsecover.patches.extract_sources import match_sources as match_sources
    from sparsecover.patches.extract_view import describe_patches as describe_patches
    from sparsecover.patches.extract_view import patch_sheet as patch_sheet
    from sparsecover.patches.plan import Labels as Labels
    from sparsecover.patches.plan import Patch as Patch
    from sparsecover.patches.plan import PatchPlan as PatchPlan
    from sparsecover.patches.plan import auto_size_px as auto_size_px
    from sparsecover.patches.plan import plan_patches as plan_patches
    from sparsecover.patches.reader import Pair as Pair
    from sparsecover.patches.reader import PatchReader as PatchReader
    from sparsecover.patches.reader import cache_pairs as cache_pairs
    from sparsecover.patches.reader import check_bands as check_bands
    from sparsecover.patches.reader import check_pairs as check_pairs
    from sparsecover.patches.resident import ResidentReader as ResidentReader
    from sparsecover.patches.resident import fits_device as fits_device

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Augmenter": "augment",
        "HELD_OUT": "batch",
        "Batch": "batch",
        "collate": "batch",
        "PatchDataset": "dataset",
        "Extraction": "extract",
        "extract_patches": "extract",
        "ExtractOptions": "extract_plan",
        "match_sources": "extract_sources",
        "describe_patches": "extract_view",
        "patch_sheet": "extract_view",
        "Labels": "plan",
        "Patch": "plan",
        "PatchPlan": "plan",
        "auto_size_px": "plan",
        "plan_patches": "plan",
        "Pair": "reader",
        "PatchReader": "reader",
        "cache_pairs": "reader",
        "check_bands": "reader",
        "check_pairs": "reader",
        "ResidentReader": "resident",
        "fits_device": "resident",
    },
)
