"""Vector labels on a scene's grid."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError, LabelsElsewhere
from sparsecover.grid import Grid
from sparsecover.labels.arrays import Indices, Mask, check_memory
from sparsecover.labels.burn import Conflict, Geometries, Shapes, widen
from sparsecover.labels.coding import Values, class_column, code_values, encode, scheme_of
from sparsecover.labels.features import check_georeferenced, place_features, read_features, split_layer
from sparsecover.labels.label_raster import LabelRaster, LabelSet, finish


def burn_labels(path: str | Path, grid: Grid, field: str | None = None, **options: Any) -> LabelRaster:
    """Burn the features of a vector file into a scene's grid; options and errors as for ``burn_label_set``.

    >>> labels = burn_labels("labels.gpkg", scene.grid, field="class")  # doctest: +SKIP
    """
    return burn_label_set(path, grid, field, **options).raster


def burn_label_set(
    path: str | Path,
    grid: Grid,
    field: str | None = None,
    *,
    scheme: ClassScheme | None = None,
    width_m: float | None = None,
    radius_m: float | None = None,
    conflict: Conflict = "unlabelled",
    background: str | None = None,
    labelled_area: str | Path | None = None,
    valid: Mask | None = None,
    unlabelled: Collection[int] = (),
) -> LabelSet:
    """Burn the features of a vector file into a scene's grid, and say what was found, dropped and changed.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or GeoParquet; ``FILE|layername=NAME`` chooses a layer.
        grid: the scene's grid; features are reprojected to it.
        field: attribute with the class, as numbers or text; may be missing where there is only one, or where
            ``background`` is given: then all features are one class named after the file.
        scheme: the classes to use; default: those found.
        width_m: full width of lines on the ground; default: the pixels a line crosses.
        radius_m: radius of points on the ground; default: the one pixel a point lies in.
        conflict: what becomes of a pixel that features of two classes cover: ``unlabelled``, ``raise`` or ``last``.
        background: name of the class of all pixels inside the labelled area that no feature covers, labelled or not.
        labelled_area: vector file with the area that was labelled completely; default: the pixels of
            ``valid``, or without it the whole grid, nodata included, since a grid does not tell where data is.
        valid: bool[H, W], pixels with data; labels elsewhere are dropped and counted.
        unlabelled: codes of features that are no labels; no background fills them, and where labels overlap them these
            stay.

    Raises:
        LabelError: see ``read_features``, ``place_features``, ``class_column``; fractional codes, more than 255
            classes, classes that ``scheme`` does not have, conflicts where they are to raise, or no labelled pixel.
    """
    if labelled_area is not None and background is None:
        raise LabelError("A labelled area needs the name of the class that fills it: --background NAME.")
    check_memory(grid)
    check_georeferenced(grid, path)  # before labels are asked for what would not help
    frame = read_features(path)
    classes, scheme = _classes(frame, field, path, scheme, background, unlabelled)
    placed = place_features(frame, grid, path)
    labels = classes[placed.feature] != UNLABELLED
    if not labels.any():
        raise LabelsElsewhere(f"All features of {path} on the scene are listed as unlabelled.")
    geometries = _widened(placed.geometries, grid, width_m, radius_m)
    points = shapely.get_dimensions(placed.geometries) == 0  # before they grow to discs
    every = Shapes(grid.height, grid.width, geometries, classes[placed.feature], points, conflict)
    shapes = every.only(labels)
    if background is not None:
        area = valid if labelled_area is None else _area(labelled_area, grid)
        shapes = shapes.on_background(scheme.index(background), area, every.only(~labels))
    raster, notes = _burn(shapes, grid, scheme)
    features = Counter(int(classes[i]) for i in np.unique(placed.feature[labels]))
    return finish(raster, [*placed.notes, *notes], valid, features)


def vector_values(path: str | Path, field: str | None) -> Values:
    """The class of each feature of a vector file as the users gave it; errors as for ``burn_label_set``."""
    return code_values(class_column(read_features(path), field, path), path)


def count_features(
    path: str | Path,
    field: str | None = None,
    *,
    scheme: ClassScheme | None = None,
    background: str | None = None,
    unlabelled: Collection[int] = (),
) -> list[dict[str, object]]:
    """Code, name and number of features of each class, wherever they lie; arguments as for ``burn_label_set``."""
    classes, scheme = _classes(read_features(path), field, path, scheme, background, unlabelled)
    counts = np.bincount(classes, minlength=256)
    return [{"code": c.code, "name": c.name, "features": int(counts[i])} for i, c in enumerate(scheme.classes)]


def _classes(
    frame: gpd.GeoDataFrame,
    field: str | None,
    path: str | Path,
    scheme: ClassScheme | None,
    background: str | None,
    unlabelled: Collection[int],
) -> tuple[Indices, ClassScheme]:
    """The class index of each feature, 255 for those that are no labels, and the scheme."""
    values: Values
    if field is None and background is not None:
        values = [split_layer(path)[0].stem] * len(frame)
    else:
        values = code_values(class_column(frame, field, path), path)
    what = f"The field {field!r} of {path}" if field else str(path)
    used = [value for value in values if value not in unlabelled]
    scheme = scheme or scheme_of(used, background, what)
    classes = np.full(len(values), UNLABELLED, np.uint8)
    classes[[value not in unlabelled for value in values]] = encode(used, scheme, what)
    return classes, scheme


def _widened(geometries: Geometries, grid: Grid, width_m: float | None, radius_m: float | None) -> Geometries:
    """Lines and points grown to their size on the ground."""
    geometries = geometries.copy()
    dimension = shapely.get_dimensions(geometries)
    for kind, distance_m in ((0, radius_m), (1, width_m / 2 if width_m is not None else None)):
        chosen = dimension == kind
        if distance_m is not None and chosen.any():
            geometries[chosen] = widen(geometries[chosen], distance_m, grid)
    return geometries


def _area(path: str | Path, grid: Grid) -> Geometries:
    area: Geometries = place_features(read_features(path), grid, path).geometries
    area = area[shapely.get_dimensions(area) == 2]
    if not len(area):
        raise LabelError(f"The labelled area {path} holds no polygon.")
    return area


def _burn(shapes: Shapes, grid: Grid, scheme: ClassScheme) -> tuple[LabelRaster, list[str]]:
    burnt = shapes.burn()
    if burnt.clashes and shapes.conflict == "raise":
        raise LabelError(
            f"Features of different classes meet on {burnt.clashes} pixels. Mend the labels, or let such pixels be "
            "unlabelled or take the last feature's class (conflict: unlabelled or last)."
        )
    notes = []
    if burnt.clashes:
        notes.append(
            f"{burnt.clashes} pixels are covered by features of different classes and became unlabelled: they "
            "overlap, or points are burnt wider than they lie apart."
        )
    if burnt.added:
        notes.append(f"{burnt.added} features too small to cover a pixel's centre were given one pixel.")
    return LabelRaster(burnt.values, grid, burnt.groups, scheme, shapes), notes
