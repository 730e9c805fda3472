"""A small scene that the package makes itself, with known truth: the input of ``sparsecover demo``.

It is made so that colour alone does not tell the classes apart: crops are as green as trees, roofs nearly as grey as
roads, shadows as dark as water. Shape and texture do.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
from affine import Affine
from pyproj import CRS
from shapely.affinity import affine_transform

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.datasets.demo.canvas import CLASSES, PIXEL_M, Array, Mask
from sparsecover.datasets.demo.clicks import RADIUS_M, Feature, label_by_hand
from sparsecover.datasets.demo.landscape import paint_landscape
from sparsecover.datasets.demo.photo import NODATA, photograph
from sparsecover.errors import DataError, OutputError
from sparsecover.grid import Grid
from sparsecover.raster import MapWriter

SIZE_PX = 960
LEAST_PX = 256  # smaller scenes may lack a class
BANDS = ("red", "green", "blue", "nir")
FIELD = "class"

_EPSG = 32632
_CORNER = (612_000.0, 5_318_000.0)  # metres east and north of the upper left corner: open country in southern Germany
_LABELS_EPSG = 4326  # as clicked on a web map, so that using them takes reprojection


@dataclass(frozen=True)
class DemoScene:
    """Files of the demo scene.

    Attributes:
        scene: uint16 GeoTIFF, four bands, reflectance times 10,000, nodata 0 in one corner.
        labels: GeoPackage of points and polygons in longitude and latitude.
        truth: uint8 GeoTIFF with the class of every pixel, nodata 255.
        field: attribute of the labels with the class.
        radius_m: how far a labelled point speaks for its surroundings; a disc of this radius is certainly of its class.
    """

    scene: Path
    labels: Path
    truth: Path
    field: str
    radius_m: float = RADIUS_M


def make_demo(out_dir: str | Path, seed: int = 0, size_px: int = SIZE_PX) -> DemoScene:
    """Write the demo scene, its labels and its truth into a folder, replacing earlier ones.

    Args:
        out_dir: made if it is missing.
        seed: fixes everything.
        size_px: height and width, at least 256; pixels are 0.6 m.

    Raises:
        DataError: a scene too small.
        OutputError: a folder that cannot be written.
    """
    folder = Path(out_dir)
    image, truth, valid, features = render_demo(seed, size_px)
    grid = Grid(
        size_px, size_px, CRS.from_epsg(_EPSG).to_wkt(), Affine(PIXEL_M, 0, _CORNER[0], 0, -PIXEL_M, _CORNER[1])
    )
    made = DemoScene(folder / "scene.tif", folder / "labels.gpkg", folder / "truth.tif", FIELD)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made: {error.strerror}. Choose another one.") from error
    with MapWriter(
        made.scene, grid, dtype="uint16", count=4, nodata=NODATA, band_names=BANDS, overwrite=True
    ) as writer:
        writer.write(grid.window, image)
    with MapWriter(made.truth, grid, scheme=ClassScheme.from_names(CLASSES), overwrite=True) as writer:
        writer.write(grid.window, np.where(valid, truth, np.uint8(UNLABELLED)))
    _write_labels(features, grid, made.labels)
    return made


def render_demo(seed: int = 0, size_px: int = SIZE_PX) -> tuple[Array, Array, Mask, list[Feature]]:
    """Paint and photograph the scene, and label a few of its pixels.

    Returns:
        Image uint16 [4, H, W]; class indices uint8 [H, W]; valid bool [H, W]; labels in pixels.

    Raises:
        DataError: a scene too small.
    """
    if size_px < LEAST_PX:
        raise DataError(f"A demo scene of {size_px} px is too small to hold all classes; give at least {LEAST_PX}.")
    rng = np.random.default_rng(seed)
    canvas = paint_landscape(rng, size_px)
    valid = _seen(size_px)
    image = photograph(rng, canvas, valid)
    return image, canvas.cover, valid, label_by_hand(rng, image, canvas.cover, valid)


def _seen(size_px: int) -> Mask:
    """Where the camera has looked: all but a slanting corner at the lower right."""
    rows, cols = np.mgrid[:size_px, :size_px] / size_px
    return np.asarray(rows + 0.6 * cols < 1.5)


def _write_labels(features: list[Feature], grid: Grid, path: Path) -> None:
    t = grid.transform
    placed = [affine_transform(f.geometry, (t.a, t.b, t.d, t.e, t.c, t.f)) for f in features]
    table = gpd.GeoDataFrame({FIELD: [f.name for f in features]}, geometry=placed, crs=grid.crs).to_crs(_LABELS_EPSG)
    with tempfile.TemporaryDirectory(prefix=".labels", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        try:
            table.to_file(whole, driver="GPKG", layer=path.stem)
            whole.replace(path)
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{path} cannot be written: {error}.") from error
