"""Labels of any kind, told apart by the content of the file."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sparsecover.classes import ClassScheme
from sparsecover.errors import LabelError, near_files
from sparsecover.grid import Grid
from sparsecover.labels.arrays import Mask
from sparsecover.labels.features import is_vector, split_layer
from sparsecover.labels.label_raster import LabelSet
from sparsecover.labels.mask import read_labels
from sparsecover.labels.mask_file import MaskFile
from sparsecover.labels.vector import burn_label_set


def open_labels(
    path: str | Path,
    grid: Grid,
    *,
    field: str | None = None,
    scheme: ClassScheme | None = None,
    unlabelled: Collection[int] = (),
    valid: Mask | None = None,
    **vector_options: Any,
) -> LabelSet:
    """Labels on a scene's grid, from a vector file (``burn_label_set``) or a label raster (``read_labels``).

    Args:
        vector_options: further arguments of ``burn_label_set``, which a label raster cannot follow.

    Raises:
        LabelError: a missing file, an option that does not apply, and all that the two readers raise.
    """
    file, _ = split_layer(path)
    if not file.exists():
        raise LabelError(f"The labels {file} do not exist. {near_files(file)}")
    if is_vector(path):
        return burn_label_set(path, grid, field, scheme=scheme, unlabelled=unlabelled, valid=valid, **vector_options)
    useless = [name for name, value in {"field": field, **vector_options}.items() if value is not None]
    if useless:
        MaskFile.open(path)  # what is no raster either says so
        raise LabelError(f"{path} is a raster; {', '.join(useless)} can only be given with vector labels.")
    return read_labels(path, grid, unlabelled=unlabelled, scheme=scheme, valid=valid)
