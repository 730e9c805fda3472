"""Labels as vectors: the click or the outline behind each labelled pixel, for QGIS and for other grids."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from rasterio.features import shapes
from scipy.ndimage import label

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError, OutputError
from sparsecover.grid import Grid
from sparsecover.labels.label_raster import LabelRaster

_POINTS_BELOW = 2.0  # labelled pixels for each patch of them: fewer are clicks, more are drawn shapes


def labels_to_vectors(labels: LabelRaster, scheme: ClassScheme, outlines: bool | None = None) -> gpd.GeoDataFrame:
    """Points at the centres of labelled pixels, or the outlines of patches of them.

    Args:
        outlines: whether to draw outlines; default: where most labelled pixels have neighbours.

    Returns:
        Columns ``code``, ``class`` and ``geometry`` in the raster's coordinate system; burnt again on the same grid
        they give the same labels.

    Raises:
        LabelError: no georeferencing, or no label.
    """
    _check_place(labels.grid)
    labelled = labels.values != UNLABELLED
    if not labelled.any():
        raise LabelError("There is no labelled pixel to write.")
    if outlines is None:
        outlines = bool(labelled.sum() >= _POINTS_BELOW * label(labelled)[1])
    if not outlines:
        row, col = np.nonzero(labelled)
        t = labels.grid.transform
        x, y = t.a * (col + 0.5) + t.b * (row + 0.5) + t.c, t.d * (col + 0.5) + t.e * (row + 0.5) + t.f
        geometry, index = shapely.points(x, y), labels.values[row, col]
    else:
        drawn = list(shapes(labels.values, mask=labelled, transform=labels.grid.transform))
        geometry = shapely.from_geojson([json.dumps(outline) for outline, _ in drawn])
        index = np.array([int(value) for _, value in drawn])
    codes, names = np.array(scheme.codes), np.array(scheme.names, object)
    return gpd.GeoDataFrame({"code": codes[index], "class": names[index]}, geometry=geometry, crs=labels.grid.crs)


def check_vector_file(path: Path, grid: Grid, *, overwrite: bool = False) -> None:
    """Refuse what ``write_label_vectors`` could not write for labels on a grid, before these are made.

    Raises:
        OutputError: another ending than .gpkg, or a file that is there already.
        LabelError: no georeferencing.
    """
    _check_path(path, overwrite)
    _check_place(grid)


def write_label_vectors(
    labels: LabelRaster | Iterable[LabelRaster],
    scheme: ClassScheme,
    path: Path,
    *,
    outlines: bool | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``labels_to_vectors`` as GeoPackage under a temporary name and rename it when it is whole.

    Args:
        labels: of a scene, or of windows of it one after the other.
        outlines: as in ``labels_to_vectors``; the first window with labels decides for all.

    Raises:
        OutputError: another ending than .gpkg, a file that is there already, or a folder that cannot be written to.
        LabelError: no georeferencing, or no label.
    """
    _check_path(path, overwrite)
    frames = _frames([labels] if isinstance(labels, LabelRaster) else labels, scheme, outlines)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            whole = Path(folder) / path.name
            for frame in frames:
                frame.to_file(whole, layer=path.stem, mode="a" if whole.exists() else "w")
            if not whole.exists():
                raise LabelError("There is no labelled pixel to write.")
            whole.replace(path)
    except LabelError:
        raise
    except (OSError, RuntimeError) as error:  # pyogrio's errors are RuntimeErrors
        raise OutputError(f"{path} cannot be written: {error}.") from error


def _check_path(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() != ".gpkg":
        raise OutputError(f"Vector labels are written as GeoPackage; {path} does not end in .gpkg.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Ask for it to be overwritten (--overwrite), or name another file.")


def _check_place(grid: Grid) -> None:
    if not grid.is_georeferenced:
        raise LabelError("Labels without georeferencing cannot be written as vectors; write a raster (.tif) instead.")


def _frames(parts: Iterable[LabelRaster], scheme: ClassScheme, outlines: bool | None) -> Iterator[gpd.GeoDataFrame]:
    for part in parts:
        if not part.grid.is_georeferenced or (part.values != UNLABELLED).any():
            frame = labels_to_vectors(part, scheme, outlines)
            outlines = bool(frame.geom_type.iloc[0] != "Point")
            yield frame
