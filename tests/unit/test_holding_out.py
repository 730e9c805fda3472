"""Labels of several scenes brought to one scheme and split into those that train and those that score."""

from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from scipy.spatial.distance import cdist
from shapely import Point

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import LabelError
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster, burn_label_set, label_groups
from sparsecover.pipeline.holding_out import split_labels
from sparsecover.pipeline.inputs import Inputs, LabelOptions, in_scheme, open_inputs

UTM = CRS.from_epsg(32633).to_wkt()
GRID = Grid(100, 100, UTM, Affine(10, 0, 500_000, 0, -10, 5_800_000))
FAR = Grid(100, 100, UTM, Affine(10, 0, 600_000, 0, -10, 5_800_000))


def write_scene(path: Path, grid: Grid) -> Path:
    profile = {"driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=grid.crs, transform=grid.transform, **profile) as file:
        file.write(np.random.default_rng(0).integers(1, 255, (1, grid.height, grid.width), np.uint8))
    return path


def clicks_file(folder: Path, places: list[tuple[int, int]], name: str, grid: Grid = GRID) -> Path:
    """Labels of one class at (row, column)."""
    path = folder / f"{name}.gpkg"
    points = [Point(grid.transform @ (col + 0.5, row + 0.5)) for row, col in places]
    gpd.GeoDataFrame({"class": [name] * len(points)}, geometry=points, crs=grid.crs).to_file(path)
    return path


def clicks(folder: Path, places: list[tuple[int, int]], name: str, grid: Grid = GRID, **options):
    """The same, burnt."""
    return burn_label_set(clicks_file(folder, places, name, grid), grid, "class", **options)


def inputs(*labels: LabelRaster) -> Inputs:
    """Scenes without bands of their own: a split looks at labels only."""
    scheme = labels[0].scheme
    pairs = tuple((SimpleNamespace(name=f"scene{n}", grid=one.grid), one) for n, one in enumerate(labels))
    return Inputs((), (), pairs, scheme, [], [])


def labelled(labels: LabelRaster):
    return labels.values != UNLABELLED


def centres(labels: LabelRaster) -> np.ndarray:
    """Where labelled pixels lie, in metres of zone 33."""
    rows, cols = np.nonzero(labelled(labels))
    x, y = labels.grid.transform @ (cols + 0.5, rows + 0.5)
    return np.stack(Transformer.from_crs(labels.grid.crs, UTM, always_xy=True).transform(x, y), axis=1)


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


@pytest.mark.parametrize("seed", [0, 1])
def test_how_many_pixels_train_and_score_is_told(tmp_path, seed):
    labels = clicks(tmp_path, CLUSTERS, "water").raster
    split = split_labels(inputs(labels), None, seed)
    train, held = (labelled(side[0][1]).sum() for side in (split.train, split.held))
    assert split.notes[0].startswith(f"{train} labelled pixels train and {held} score")
    assert (f"; {labelled(labels).sum() - train - held} too close" in split.notes[0]) == (
        labelled(labels).sum() > train + held
    )


def test_a_damaged_label_file_of_one_of_several_scenes_is_no_scene_without_labels(tmp_path):
    scenes = [write_scene(tmp_path / f"{name}.tif", grid) for name, grid in (("a", GRID), ("b", FAR))]
    good = clicks_file(tmp_path, CLUSTERS, "water", GRID)
    elsewhere = open_inputs(scenes, [good, good], LabelOptions(field="class"))
    assert [scene.name for scene, _ in elsewhere.pairs] == ["a"]
    assert any("Mapped without labels of its own" in note for note in elsewhere.notes)
    bad = tmp_path / "bad.gpkg"
    bad.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(LabelError, match="cannot be read"):
        open_inputs(scenes, [good, bad], LabelOptions(field="class"))


def test_a_header_that_claims_more_than_memory_is_refused_at_once(tmp_path):
    claimed = tmp_path / "huge.vrt"
    claimed.write_text(
        '<VRTDataset rasterXSize="900000" rasterYSize="900000"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000, 10, 0, 5800000, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    labels = clicks_file(tmp_path, CLUSTERS, "water", GRID)
    with pytest.raises(LabelError, match="GiB of memory"):
        open_inputs([claimed], labels, LabelOptions(field="class"))


@pytest.mark.parametrize("epsg", [32633, 32632])
@pytest.mark.parametrize("folds", [None, 2])
def test_ground_held_out_in_one_scene_trains_in_none(tmp_path, epsg, folds):
    path = tmp_path / "water.gpkg"
    gpd.GeoDataFrame(geometry=[Point(GRID.transform @ (c + 0.5, r + 0.5)) for r, c in CLUSTERS], crs=UTM).to_file(path)
    system = CRS.from_epsg(epsg)
    left, top = Transformer.from_crs(UTM, system, always_xy=True).transform(500_200, 5_799_800)
    other = Grid(100, 100, system.to_wkt(), Affine(10, 0, left, 0, -10, top))
    pair = [burn_label_set(path, grid, background="land").raster for grid in (GRID, other)]
    split = split_labels(inputs(*(one.keep(one.groups > 0) for one in pair)), folds, seed=0)
    assert any("Scenes overlap" in note for note in split.notes)
    for train, held in split.folds:
        for mine, theirs in ((0, 1), (1, 0)):
            places = centres(held[theirs][1])
            assert len(places)
            assert len(centres(train[mine][1]))
            assert cdist(centres(train[mine][1]), places).min() > 15 * 10


def test_folds_are_refused_where_no_scene_has_enough_groups(tmp_path):
    few = [clicks(tmp_path, CLUSTERS[:1], "water", grid).raster for grid in (GRID, FAR)]
    with pytest.raises(LabelError, match="3 folds need at least 3 groups"):
        split_labels(inputs(*few), 3, seed=0)


def test_the_table_of_several_scenes_has_one_row_a_class(tmp_path):
    scenes = [write_scene(tmp_path / f"{name}.tif", grid) for name, grid in (("a", GRID), ("b", FAR))]
    files = [clicks_file(tmp_path, CLUSTERS, "water", GRID), clicks_file(tmp_path, CLUSTERS[:4], "forest", FAR)]
    found = open_inputs(scenes, files, LabelOptions(field="class"))
    assert [(row["name"], row["pixels"], row["features"]) for row in found.table] == [
        ("forest", 4, 4),
        ("water", 27, 27),
    ]
    assert [row["code"] for row in found.table] == list(found.scheme.codes)
