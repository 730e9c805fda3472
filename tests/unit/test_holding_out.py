"""Labels of several scenes brought to one scheme and split into those that train and those that score."""

from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import pytest
from affine import Affine
from pyproj import CRS
from shapely import Point

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster, burn_label_set, label_groups
from sparsecover.pipeline.holding_out import split_labels
from sparsecover.pipeline.inputs import Inputs, in_scheme

UTM = CRS.from_epsg(32633).to_wkt()
GRID = Grid(100, 100, UTM, Affine(10, 0, 500_000, 0, -10, 5_800_000))
FAR = Grid(100, 100, UTM, Affine(10, 0, 600_000, 0, -10, 5_800_000))


def clicks(folder: Path, places: list[tuple[int, int]], name: str, grid: Grid = GRID, **options):
    """Labels of one class at (row, column)."""
    path = folder / f"{name}.gpkg"
    points = [Point(grid.transform @ (col + 0.5, row + 0.5)) for row, col in places]
    gpd.GeoDataFrame({"class": [name] * len(points)}, geometry=points, crs=grid.crs).to_file(path)
    return burn_label_set(path, grid, "class", **options)


def inputs(*labels: LabelRaster) -> Inputs:
    """Scenes without bands of their own: a split looks at labels only."""
    scheme = labels[0].scheme
    pairs = tuple((SimpleNamespace(name=f"scene{n}", grid=one.grid), one) for n, one in enumerate(labels))
    return Inputs((), (), pairs, scheme, [], [])


def labelled(labels: LabelRaster):
    return labels.values != UNLABELLED


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


def test_a_scene_with_too_few_groups_for_the_folds_only_trains(tmp_path):
    many = clicks(tmp_path, CLUSTERS, "water").raster
    few = clicks(tmp_path, CLUSTERS[:1], "water", FAR).raster
    split = split_labels(inputs(many, few), 3, seed=0)
    assert len(split.folds) == 3
    for train, held in split.folds:
        assert labelled(train[1][1]).sum() == 1
        assert not labelled(held[1][1]).any()
        assert labelled(held[0][1]).any()
    assert [note for note in split.notes if note.startswith("scene1 only trains")]


def test_folds_are_refused_where_no_scene_has_enough_groups(tmp_path):
    few = [clicks(tmp_path, CLUSTERS[:1], "water", grid).raster for grid in (GRID, FAR)]
    with pytest.raises(LabelError, match="3 folds need at least 3 groups"):
        split_labels(inputs(*few), 3, seed=0)
