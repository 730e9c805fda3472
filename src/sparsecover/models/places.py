"""Which labels lie in one place, and so must be held out of a fit together."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from sparsecover.classes import UNLABELLED

Integers = npt.NDArray[np.integer[Any]]

PLACE_PX = 64  # side of the squares
NOWHERE = -1


def number_places(labels: Integers) -> tuple[Integers, Integers]:
    """The connected piece of labels that each pixel belongs to, and the place.

    A place is a square of ``PLACE_PX`` a side; a piece lies in that of its upper left corner. What is larger lies
    ``NOWHERE``: a field that reaches over many squares shows one field, and may go on in the next window.

    Args:
        labels: of one window, int [h, w], 255 where unlabelled.

    Returns:
        Numbers [h, w] of pieces, from 1, and of places, from 0; 0 and ``NOWHERE`` where unlabelled.
    """
    piece, _ = label(labels != UNLABELLED, structure=np.ones((3, 3)))
    across = -(-labels.shape[1] // PLACE_PX)
    of_piece = [NOWHERE]
    for rows, cols in find_objects(piece):
        small = max(rows.stop - rows.start, cols.stop - cols.start) <= PLACE_PX
        of_piece.append(rows.start // PLACE_PX * across + cols.start // PLACE_PX if small else NOWHERE)
    return piece, np.array(of_piece)[piece]
