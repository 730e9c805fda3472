"""Label rasters in: any data type that holds whole numbers, any code for unlabelled, colours instead of codes."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelsElsewhere
from sparsecover.grid import Grid
from sparsecover.labels.arrays import Indices, Mask, check_memory
from sparsecover.labels.label_raster import LabelRaster, LabelSet, finish
from sparsecover.labels.mask_file import MaskFile


def read_labels(
    path: str | Path,
    grid: Grid | None = None,
    *,
    unlabelled: Collection[int] = (),
    scheme: ClassScheme | None = None,
    valid: Mask | None = None,
    by_color: bool | None = None,
    snap: bool = False,
) -> LabelSet:
    """Read a label raster, on its own grid or on a scene's.

    Args:
        path: a raster of one band (or several equal ones) with whole numbers, also stored as floats; or a colour mask.
        grid: the scene's grid. Labels on the same pixels (to 0.01 px) are read as they are, others warped by nearest;
            where either has no georeferencing the sizes must agree.
        unlabelled: codes of unlabelled pixels beside the file's nodata, NaN, -1 and 255. 0 is a class unless listed.
        scheme: the classes; default: the codes found, with names and colours of the file's palette.
        valid: bool[H, W], pixels with data; labels elsewhere are dropped and counted.
        by_color: match the colours of ``scheme`` rather than codes; default: for masks of three different bands.
        snap: send each channel of a colour mask to 0 or 255 first.

    Raises:
        LabelError: unreadable files, fractions, more than 255 classes, unknown codes or colours (listed with counts),
            sizes that differ.
        LabelsElsewhere: labels beside the scene, or no labelled pixel.
    """
    mask = MaskFile.open(path, grid, by_color=by_color, snap=snap)
    scheme = scheme or mask.scan(unlabelled).scheme()
    if not len(scheme):
        raise LabelsElsewhere(f"{path} holds no labelled pixel: all are nodata, -1, 255 or listed as unlabelled.")
    raster = LabelRaster(read_indices(mask, scheme, unlabelled), mask.grid, scheme=scheme)
    return finish(raster, list(mask.notes), valid)


def read_indices(mask: MaskFile, scheme: ClassScheme, unlabelled: Collection[int] = ()) -> Indices:
    """All class indices of a label raster, uint8[H, W].

    Raises:
        LabelError: codes or colours that the scheme does not have, with their counts over the whole file.
    """
    check_memory(mask.grid)
    values = np.full((mask.grid.height, mask.grid.width), UNLABELLED, np.uint8)
    unknown: Counter[int] = Counter()
    for window in mask.strips():
        values[window.slices] = mask.indices(window, scheme, unlabelled, unknown)
    mask.refuse(unknown, scheme)
    return values
