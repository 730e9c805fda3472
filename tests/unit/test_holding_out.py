"""Labels of several scenes brought to one scheme and split into those that train and those that score."""

from pathlib import Path

import geopandas as gpd
from affine import Affine
from pyproj import CRS
from shapely import Point

from sparsecover.classes import ClassScheme
from sparsecover.grid import Grid
from sparsecover.labels import burn_label_set, label_groups
from sparsecover.pipeline.inputs import in_scheme

UTM = CRS.from_epsg(32633).to_wkt()
GRID = Grid(100, 100, UTM, Affine(10, 0, 500_000, 0, -10, 5_800_000))


def clicks(folder: Path, places: list[tuple[int, int]], name: str, grid: Grid = GRID, **options):
    """Labels of one class at (row, column)."""
    path = folder / f"{name}.gpkg"
    points = [Point(grid.transform @ (col + 0.5, row + 0.5)) for row, col in places]
    gpd.GeoDataFrame({"class": [name] * len(points)}, geometry=points, crs=grid.crs).to_file(path)
    return burn_label_set(path, grid, "class", **options)


CLUSTERS = [(r + d, c + d) for r in (10, 50, 90) for c in (10, 50, 90) for d in (0, 2, 4)]


def test_clicks_stay_clicks_in_the_scheme_of_several_scenes(tmp_path):
    alone = clicks(tmp_path, CLUSTERS, "water", background="land")
    both = ClassScheme.union([ClassScheme.from_names(["forest"]), alone.scheme])
    labels = in_scheme(alone, both)
    assert both.names != alone.scheme.names
    again = labels.resized(GRID.resized(200, 200))
    water, land = both.index("water"), both.index("land")
    assert [int((again.values == k).sum()) for k in (water, land)] == [27, 40_000 - 27]


def test_clicks_are_clustered_in_the_scheme_of_several_scenes(tmp_path):
    alone = clicks(tmp_path, CLUSTERS, "water")
    both = ClassScheme.union([ClassScheme.from_names(["forest"]), alone.scheme])
    assert len(label_groups(in_scheme(alone, both), 2, link_px=4).counts) == 9
