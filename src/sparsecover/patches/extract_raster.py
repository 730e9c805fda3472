"""A raster of one patch on disk, which says of the same pixels as its scene that they hold no data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from sparsecover.classes import NODATA_CODE
from sparsecover.errors import OutputError
from sparsecover.grid import Grid
from sparsecover.raster import MapWriter, gdal


def write_labels(path: Path, grid: Grid, codes: npt.NDArray[np.uint8]) -> None:
    """Write codes [h, w], ``NODATA_CODE`` where unlabelled."""
    _write(path, grid, codes[None], NODATA_CODE, None)


def write_image(
    path: Path, grid: Grid, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], names: Sequence[str], masked: bool
) -> None:
    """Write values [C, h, w], NaN where floats are invalid; of integers ``masked`` puts ``valid`` [h, w] into the file.

    A value, even one that the scene's files declare as nodata, would not do for integers: where all values are in use,
    or pixels are averages of others, some valid pixel may have it.

    Raises:
        OutputError: the file cannot be written.
    """
    if values.dtype.kind == "f":
        _write(path, grid, np.where(valid, values, values.dtype.type(np.nan)), np.nan, names)
        return
    _write(path, grid, values, None, names)
    if masked:
        _write_mask(path, valid)


def _write(path: Path, grid: Grid, values: npt.NDArray[Any], nodata: float | None, names: Sequence[str] | None) -> None:
    with MapWriter(
        path, grid, dtype=str(values.dtype), count=len(values), nodata=nodata, band_names=names, overwrite=True,
        overviews=False,
    ) as writer:  # fmt: skip
        writer.write(grid.window, values)


def _write_mask(path: Path, valid: npt.NDArray[np.bool_]) -> None:
    try:
        with gdal.environment(), gdal.georeference_optional():
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
                dataset.write_mask(valid)
            with rasterio.open(path) as dataset:  # not every write that failed is reported
                whole = np.array_equal(dataset.read_masks(1) > 0, valid)
        if not whole:
            raise OSError("another one was read back")
    except (*gdal.GDAL_ERRORS, OSError) as error:
        path.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write the mask of {path}: {gdal.reason(error)}. Make room or name another folder."
        ) from error
