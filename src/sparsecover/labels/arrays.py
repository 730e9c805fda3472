"""Arrays of labels: their types, and how many pixels each class has."""

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError

Indices = npt.NDArray[np.uint8]
"""Class indices [H, W]; 255 is unlabelled."""

Groups = npt.NDArray[np.unsignedinteger]
"""The number, from 1, of the feature that labelled a pixel; 0 for none."""

Mask = npt.NDArray[np.bool_]


def count_values(values: Indices, num_classes: int) -> npt.NDArray[np.int64]:
    """Pixels by class index, int64[K].

    Raises:
        LabelError: a value that is neither below ``num_classes`` nor 255.
    """
    counts = np.zeros(256, np.int64)
    flat = values.reshape(-1)
    for start in range(0, flat.size, 2**22):  # bincount widens to int64, so by pieces
        counts += np.bincount(flat[start : start + 2**22], minlength=256)
    excess = np.flatnonzero(counts[num_classes:UNLABELLED]) + num_classes
    if excess.size:
        raise LabelError(f"The labels hold the class index {excess[0]}, but there are only {num_classes} classes.")
    return counts[:num_classes]
