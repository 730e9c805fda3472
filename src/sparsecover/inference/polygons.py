"""A class map as polygons in a GeoPackage."""

import contextlib
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sparsecover.classes import NODATA_CODE, ClassScheme
from sparsecover.errors import OutputError

_AT_ONCE = 50_000  # polygons in memory while writing


def write_polygons(class_map: Path, scheme: ClassScheme, path: Path) -> None:
    """Write the areas of one class each (pixels joined at their sides) with their ``code`` and ``name``.

    The file appears under its name when it is whole. Memory grows with the number of polygons, not of pixels.

    Raises:
        OutputError: it cannot be written.
    """
    import geopandas
    import numpy as np
    import rasterio
    from pyogrio.errors import DataSourceError

    temporary = path.with_name(f".{path.name}.tmp.gpkg")
    names = dict(zip(scheme.map_codes, scheme.names, strict=True))
    try:
        with rasterio.open(class_map) as dataset, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # maps without one have polygons without one
            temporary.unlink(missing_ok=True)
            crs = dataset.crs.to_wkt() if dataset.crs else None
            found = _areas(dataset)
            chunk = list(islice(found, _AT_ONCE))
            while True:  # at least once: a map without any class gives an empty layer
                codes = np.array([code for _, code in chunk], np.int32)
                columns = {"code": codes, "name": np.array([names[code] for code in codes.tolist()], object)}
                table = geopandas.GeoDataFrame(columns, geometry=[polygon for polygon, _ in chunk], crs=crs)
                table.to_file(temporary, layer="map", mode="a" if temporary.exists() else "w", geometry_type="Polygon")
                chunk = list(islice(found, _AT_ONCE))
                if not chunk:
                    break
        temporary.replace(path)
    except (OSError, DataSourceError) as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _areas(dataset: Any) -> Iterator[tuple[Any, int]]:
    import rasterio
    import shapely.geometry
    from rasterio.features import shapes

    for outline, code in shapes(rasterio.band(dataset, 1), connectivity=4, transform=dataset.transform):
        if code != NODATA_CODE:
            yield shapely.geometry.shape(outline), int(code)
