"""The area of interest: which pixels of a window are asked for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.errors import GridError, LabelError, LabelsElsewhere, near_files
from sparsecover.grid import Grid, Window

AreaLike = Path | tuple[float, float, float, float] | Window | tuple[Window, ...]

_MARGIN_PX = 2  # pixels just outside count where probabilities are interpolated


@dataclass(frozen=True, eq=False)
class Area:
    """Polygons in the coordinates of a grid; a pixel is inside where its centre is."""

    grid: Grid
    polygons: tuple[Any, ...]  # shapely geometries

    @classmethod
    def open(cls, grid: Grid, area: "AreaLike") -> "Area":
        """From a vector file, bounds (left, bottom, right, top) in the grid's coordinates, or windows of its pixels.

        A file is one of those that labels come in; ``FILE|layername=NAME`` chooses a layer.

        Raises:
            LabelError: the file cannot be read, is of several layers or without a coordinate system, or holds no
                polygons; or the grid has no place on the ground.
            GridError: the area lies outside the grid.
        """
        import shapely

        polygons = _polygons(grid, area)
        scene = _outline(grid, grid.window)
        inside = tuple(polygon for polygon in polygons if polygon.intersects(scene))
        if not inside:
            bounds = ", ".join(f"{v:.8g}" for v in shapely.union_all(polygons).bounds)
            ours = ", ".join(f"{v:.8g}" for v in grid.bounds)
            raise GridError(
                f"The area ({bounds}) lies outside the scene ({ours}; left, bottom, right, top). Check its coordinate "
                "system."
            )
        return cls(grid, inside)

    @cached_property
    def _tree(self) -> Any:
        import shapely

        return shapely.STRtree(self.polygons)

    def touches(self, window: Window) -> bool:
        """Whether any pixel in or next to a window may be inside."""
        outline = _outline(self.grid, window.expand(_MARGIN_PX))
        return bool(self._tree.query(outline, predicate="intersects").size)

    def mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """Which pixels of a window are inside, bool [h, w]."""
        import shapely
        from rasterio.features import geometry_mask

        grid = self.grid.crop(window)
        hits = self._tree.query(shapely.box(*grid.bounds))
        shape = (window.height, window.width)
        if not len(hits):
            return np.zeros(shape, bool)
        chosen = [self.polygons[i] for i in sorted(hits)]
        mask: npt.NDArray[np.bool_] = geometry_mask(chosen, shape, grid.transform, invert=True)
        return mask


def _polygons(grid: Grid, area: AreaLike) -> list[Any]:
    import shapely

    if isinstance(area, Path):
        return _read(area, grid)
    parts = (area,) if isinstance(area, Window) else area
    windows = [part for part in parts if isinstance(part, Window)]
    bounds = [part for part in parts if not isinstance(part, Window)]
    return [_outline(grid, window) for window in windows] or [shapely.box(*bounds)]


def _outline(grid: Grid, window: Window) -> Any:
    import shapely

    rows, cols = (window.row, window.row_stop), (window.col, window.col_stop)
    corners = ((cols[0], rows[0]), (cols[1], rows[0]), (cols[1], rows[1]), (cols[0], rows[1]))
    return shapely.Polygon([grid.transform @ corner for corner in corners])


def _read(path: Path, grid: Grid) -> list[Any]:
    """The polygons of a vector file that lie about a grid, in its coordinates."""
    from shapely.affinity import affine_transform

    from sparsecover.labels import place_features, read_features, split_layer

    file, _ = split_layer(path)
    if not file.exists():
        raise LabelError(f"The area of interest {path} does not exist. {near_files(file)}")
    if not grid.is_georeferenced:
        raise LabelError(
            f"The scene has no coordinate system, so the area of interest {path} cannot be placed on it. Give it as "
            "left,bottom,right,top in the scene's own coordinates, or georeference the scene first."
        )
    try:
        parts = place_features(read_features(path), grid, path).geometries
    except LabelsElsewhere as error:
        raise GridError(f"The area of interest lies outside the scene: {error}") from error
    except LabelError as error:
        raise LabelError(f"The area of interest {path} cannot be used: {error}") from error
    polygons = [affine_transform(part, grid.transform.to_shapely()) for part in parts if part.geom_type == "Polygon"]
    if not polygons:
        kinds = ", ".join(sorted({part.geom_type.lower() for part in parts}))
        raise LabelError(f"The area of interest {path} holds no polygon on the scene, but {kinds}; draw it as one.")
    return polygons
