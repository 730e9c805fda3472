"""Arrays of labels: their types, and how many pixels each class has."""

import numpy as np
import numpy.typing as npt
import psutil

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError
from sparsecover.grid import Grid

Indices = npt.NDArray[np.uint8]
"""Class indices [H, W]; 255 is unlabelled."""

Groups = npt.NDArray[np.unsignedinteger]
"""The number, from 1, of the feature that labelled a pixel; 0 for none."""

Mask = npt.NDArray[np.bool_]

_PIECE = 2**18
_BYTES_PER_PIXEL = 20  # indices, groups and masks while labels are burnt and split


def count_values(values: Indices, num_classes: int) -> npt.NDArray[np.int64]:
    """Pixels by class index, int64[K].

    Raises:
        LabelError: a value that is neither below ``num_classes`` nor 255.
    """
    counts = np.zeros(256, np.int64)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _PIECE):  # bincount widens to int64
        counts += np.bincount(flat[start : start + _PIECE], minlength=256)
    excess = np.flatnonzero(counts[num_classes:UNLABELLED]) + num_classes
    if excess.size:
        raise LabelError(f"The labels hold the class index {excess[0]}, but there are only {num_classes} classes.")
    return counts[:num_classes]


def check_memory(grid: Grid) -> None:
    """Refuse a grid whose labels do not fit into memory, before they fill it; a header may claim any size.

    Raises:
        LabelError: less memory is free than labels of that size take.
    """
    needed, free = grid.window.size * _BYTES_PER_PIXEL, psutil.virtual_memory().available
    if needed > free:
        raise LabelError(
            f"Labels on {grid.width} x {grid.height} pixels take about {needed / 2**30:.0f} GiB of memory; "
            f"{free / 2**30:.0f} GiB are free. Cut out the labelled part (gdal_translate -projwin) and train on that; "
            "sparsecover predict then maps the whole scene in little memory."
        )
