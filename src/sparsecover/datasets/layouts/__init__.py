"""Where the files of a dataset are. A new layout is one file here and one line in ``LAYOUTS``."""

from collections.abc import Callable

from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import Listing
from sparsecover.datasets.layouts.deepglobe import list_deepglobe
from sparsecover.datasets.layouts.folder import list_folder
from sparsecover.datasets.layouts.landcoverai import list_landcoverai
from sparsecover.datasets.layouts.oxford_pet import list_oxford_pet
from sparsecover.datasets.layouts.patches import list_patches
from sparsecover.datasets.layouts.table import list_table

LAYOUTS: dict[str, Callable[[DataConfig], Listing]] = {
    "folder": list_folder,
    "patches": list_patches,
    "table": list_table,
    "landcoverai": list_landcoverai,
    "deepglobe": list_deepglobe,
    "oxford-pet": list_oxford_pet,
}

__all__ = ["LAYOUTS", "Listing"]
