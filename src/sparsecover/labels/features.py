"""Vector files in: which layer, which features, which coordinate system."""

from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from affine import Affine

from sparsecover.errors import LabelError, LabelsElsewhere, near_files, nearest
from sparsecover.grid import Grid
from sparsecover.labels.burn import Geometries

# pyogrio finds damage in the file, shapely in a geometry.
_UNREADABLE = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, shapely.errors.ShapelyError)


class Placed(NamedTuple):
    """Single-part geometries in pixels (x = column, y = row) of a grid, and the feature that each is a part of."""

    geometries: Geometries
    feature: npt.NDArray[np.intp]
    notes: list[str]


def is_vector(path: str | Path) -> bool:
    """Whether a file holds features, by its content; a path may end with ``|layername=NAME``."""
    file, layer = split_layer(path)
    if layer is not None or _is_parquet(file):
        return True
    try:
        return any(geometry is not None for _, geometry in pyogrio.list_layers(file))
    except pyogrio.errors.DataSourceError:
        # A damaged GeoJSON is still no raster: its own reader gives the better message.
        return file.suffix.lower() in (".geojson", ".json", ".gpkg", ".shp")


def is_table(path: str | Path) -> bool:
    """Whether a file holds rows and columns without geometries, as CSV does."""
    try:
        layers = pyogrio.list_layers(split_layer(path)[0])
    except pyogrio.errors.DataSourceError:
        return False
    return len(layers) > 0 and all(geometry is None for _, geometry in layers)


def split_layer(path: str | Path) -> tuple[Path, str | None]:
    """``labels.gpkg|layername=roads`` (as QGIS writes it) to the file and the layer."""
    file, _, layer = str(path).partition("|layername=")
    return Path(file), layer or None


def read_features(path: str | Path) -> gpd.GeoDataFrame:
    """All features of a vector file (GPKG, GeoJSON, Shapefile, GeoParquet and what else GDAL reads).

    Raises:
        LabelError: a missing or unreadable file, several layers to choose from, no features, no coordinate system.
    """
    file, layer = split_layer(path)
    if not file.exists():
        raise LabelError(f"The labels {file} do not exist. {near_files(file)}")
    try:
        frame = gpd.read_parquet(file) if _is_parquet(file) else gpd.read_file(file, layer=_layer(file, layer))
    except LabelError:
        raise
    except (*_UNREADABLE, OSError, ValueError) as error:
        raise LabelError(
            f"{file} cannot be read as vector labels ({error}). "
            "Expected a GeoPackage, GeoJSON, Shapefile or GeoParquet; if it is one, it is damaged: copy or export it "
            "again."
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.geometry.isna().all() or frame.geometry.is_empty.all():
        raise LabelError(f"{path} holds no features with a geometry; labels need at least one point, line or polygon.")
    if frame.crs is None:
        raise LabelError(
            f"{path} has no coordinate system, so its features cannot be placed on the scene. "
            "Assign the one they were drawn in (in QGIS: Layer > Set CRS, then export as GeoPackage)."
        )
    return frame


def check_georeferenced(grid: Grid, path: str | Path) -> None:
    """Refuse vector labels for a scene without a place on the ground, whatever the labels say of theirs."""
    if not grid.is_georeferenced:
        raise LabelError(
            f"The scene has no georeferencing, so the vector labels {path} cannot be placed on it. Give labels as a "
            "raster of the scene's size, or georeference the scene first (in QGIS: Layer > Georeferencer)."
        )


def place_features(frame: gpd.GeoDataFrame, grid: Grid, path: str | Path) -> Placed:
    """Reproject features to the scene, split multi-parts, mend invalid polygons, drop what lies outside.

    Raises:
        LabelError: a scene without georeferencing, or coordinates that cannot be in the file's system.
        LabelsElsewhere: no feature lies on the scene.
    """
    check_georeferenced(grid, path)
    _check_degrees(frame, grid, path)
    try:
        frame = frame.to_crs(grid.crs)
    except Exception as error:  # pyproj and geopandas raise several kinds, all meaning this
        raise LabelError(f"The features of {path} cannot be reprojected to the scene: {error}") from error
    geometries = _to_pixels(frame.geometry.to_numpy(), ~grid.transform)
    notes: list[str] = []
    geometries = _mend(geometries, notes)
    parts, feature = _explode(geometries)
    inside = _inside(parts, grid.height, grid.width)
    if not inside.any():
        raise LabelsElsewhere(
            f"No feature of {path} lies on the scene. In the scene's coordinate system they span "
            f"{_format(frame.total_bounds)} and the scene {_format(grid.bounds)} (left, bottom, right, top). "
            "Check that they belong together and that both coordinate systems are right."
        )
    outside = len(np.unique(feature)) - len(np.unique(feature[inside]))
    if outside:
        notes.append(f"{outside} of {len(frame)} features lie outside the scene.")
    return Placed(parts[inside], feature[inside], notes)


def _layer(file: Path, asked: str | None) -> str | None:
    """The layer to read: the one asked for, or the only one."""
    layers = [str(name) for name, geometry in pyogrio.list_layers(file) if geometry is not None]
    if asked is not None:
        if asked not in layers:
            raise LabelError(f"{file} has no layer {asked!r}. {nearest(asked, layers)}")
        return asked
    if len(layers) > 1:
        raise LabelError(
            f"{file} has the layers {', '.join(layers)}; choose one by writing '{file}|layername={layers[0]}'."
        )
    return layers[0] if layers else None


def _is_parquet(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _check_degrees(frame: gpd.GeoDataFrame, grid: Grid, path: str | Path) -> None:
    """Refuse metres that are said to be degrees, as in every GeoJSON whose coordinate system was not written."""
    left, bottom, right, top = frame.total_bounds
    if not frame.crs.is_geographic or (left >= -360 and right <= 360 and bottom >= -90.001 and top <= 90.001):
        return
    scene = grid.bounds
    fits = left < scene[2] and right > scene[0] and bottom < scene[3] and top > scene[1]
    hint = "they fit the scene's own coordinate system" if fits else "they look like metres of a projected system"
    raise LabelError(
        f"{path} says its coordinates are degrees ({frame.crs.name}), but they span "
        f"{_format(frame.total_bounds)}; {hint}. Assign the right system and save the labels as a GeoPackage "
        "(GeoJSON without a coordinate system is always read as degrees)."
    )


def _to_pixels(geometries: Geometries, inverse: Affine) -> Geometries:
    matrix = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]])
    origin = np.array([inverse.c, inverse.f])
    placed: Geometries = shapely.transform(shapely.force_2d(geometries), lambda xy: xy @ matrix.T + origin)
    return placed


def _mend(geometries: Geometries, notes: list[str]) -> Geometries:
    unusable = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    bounds: npt.NDArray[np.float64] = shapely.bounds(geometries)
    lost = ~unusable & ~np.isfinite(bounds).all(axis=1)
    if unusable.any():
        notes.append(f"{unusable.sum()} features without a geometry were left out.")
    if lost.any():
        notes.append(f"{lost.sum()} features cannot be expressed in the scene's coordinate system and were left out.")
    geometries = geometries.copy()
    geometries[unusable | lost] = None
    broken = ~shapely.is_missing(geometries) & ~shapely.is_valid(geometries)
    if broken.any():
        notes.append(f"{broken.sum()} invalid polygons (self-crossing outlines) were mended.")
        geometries[broken] = shapely.make_valid(geometries[broken])
    return geometries


def _explode(geometries: Geometries) -> tuple[Geometries, npt.NDArray[np.intp]]:
    """Multi-parts and collections to single parts: each clicked point of a multipoint is a label of its own."""
    feature = np.arange(len(geometries))
    while np.any(shapely.get_type_id(geometries) >= 4):  # 4 and up are the multi-part types
        geometries, origin = shapely.get_parts(geometries, return_index=True)
        feature = feature[origin]
    usable = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    return geometries[usable], feature[usable]


def _inside(geometries: Geometries, height: int, width: int) -> npt.NDArray[np.bool_]:
    left, top, right, bottom = shapely.bounds(geometries).T
    inside: npt.NDArray[np.bool_] = (right >= 0) & (left < width) & (bottom >= 0) & (top < height)
    return inside


def _format(bounds: Any) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in bounds) + ")"
