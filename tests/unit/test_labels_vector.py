"""Vector labels on a scene's grid: places, classes, conflicts, backgrounds, and what is refused."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from shapely import LineString, MultiPoint, MultiPolygon, Point, Polygon, box, contains_xy

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import ClassError, LabelError
from sparsecover.grid import Grid
from sparsecover.labels import burn_label_set, burn_labels, open_labels, read_labels
from sparsecover.pipeline.inputs import LabelOptions, open_inputs

UTM = CRS.from_epsg(32633).to_wkt()
GRID = Grid(40, 60, UTM, Affine(10, 0, 500_000, 0, -10, 5_800_000))


def at(row: float, col: float, grid: Grid = GRID) -> tuple[float, float]:
    """Coordinates of a place counted in pixels."""
    x, y = grid.transform @ (col, row)
    return x, y


def rectangle(top: float, left: float, bottom: float, right: float) -> Polygon:
    return Polygon([at(top, left), at(top, right), at(bottom, right), at(bottom, left)])


def write(folder: Path, geometries, classes=None, name="labels.gpkg", crs=UTM, **columns) -> Path:
    data = {"class": classes, **columns} if classes is not None else columns
    frame = gpd.GeoDataFrame(data, geometry=list(geometries), crs=crs)
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def test_polygon_takes_the_pixels_whose_centres_it_covers(tmp_path):
    labels = burn_labels(write(tmp_path, [rectangle(2, 3, 5, 9)], [7]), GRID, "class")
    expected = np.full((40, 60), UNLABELLED, np.uint8)
    expected[2:5, 3:9] = 0
    assert np.array_equal(labels.values, expected)
    assert labels.scheme.codes == (7,)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.parquet"])
def test_all_formats_give_the_same_labels_also_in_other_coordinate_systems(tmp_path, name):
    places = [(3.5, 4.5, "water"), (20.5, 30.5, "field"), (39.5, 59.5, "water")]
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    points = [Point(to_degrees.transform(*at(row, col))) for row, col, _ in places]
    found = burn_label_set(write(tmp_path, points, [c for *_, c in places], name, crs=4326), GRID, "class")
    assert found.scheme.names == ("field", "water")
    for row, col, name in places:
        assert found.raster.values[int(row), int(col)] == found.scheme.index(name)
    assert (found.raster.values != UNLABELLED).sum() == 3


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 0, 500_000, 0, 10, 5_800_000),  # south-up
        Affine(8, 6, 500_000, 6, -8, 5_800_000),  # rotated
        Affine(7, 0, 500_000, 0, -13, 5_800_000),  # not square
    ],
)
def test_odd_transforms_burn_where_the_centres_are(tmp_path, transform):
    grid = Grid(30, 50, UTM, transform)
    outline = Polygon([at(4.3, 6.1, grid), at(8.2, 40.7, grid), at(25.9, 33.3, grid), at(22.4, 9.8, grid)])
    values = burn_labels(write(tmp_path, [outline], [1]), grid, "class").values
    row, col = np.mgrid[:30, :50] + 0.5
    x, y = grid.transform @ (col, row)
    assert np.array_equal(values == 0, contains_xy(outline, x, y))


def test_integer_classes_in_all_their_spellings(tmp_path):
    shapes = [rectangle(0, 0, 2, 2), rectangle(4, 4, 6, 6)]
    for classes in ([2, 10], [2.0, 10.0], ["2", "10"], [True, False]):
        scheme = burn_labels(write(tmp_path, shapes, classes), GRID, "class").scheme
        assert scheme.codes == ((0, 1) if classes[0] is True else (2, 10))


def test_a_given_scheme_decides_and_unknown_classes_are_listed(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2), rectangle(4, 4, 6, 6), rectangle(8, 8, 9, 9)], ["b", "a", "b"])
    found = burn_label_set(path, GRID, "class", scheme=ClassScheme.from_names(["b", "a", "c"]))
    assert found.raster.values[0, 0] == 0
    assert [row["pixels"] for row in found.table] == [5, 4, 0]
    assert [row["features"] for row in found.table] == [2, 1, 0]
    assert any("No labelled pixel: c" in note for note in found.notes)
    with pytest.raises(LabelError, match=r"b \(2 times\)"):
        burn_labels(path, GRID, "class", scheme=ClassScheme.from_names(["a"]))


def test_features_listed_as_unlabelled_are_no_labels(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2), rectangle(4, 4, 6, 6)], [0, 3])
    found = burn_label_set(path, GRID, "class", unlabelled=[0])
    assert found.scheme.codes == (3,)
    assert (found.raster.values != UNLABELLED).sum() == 4
    with pytest.raises(LabelError, match="listed as unlabelled"):
        burn_labels(path, GRID, "class", unlabelled=[0, 3])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([1.5, 2.0], r"fractions \(1.5\)"),
        ([None, "a"], "1 of 2 features .* have no class .*feature 1"),
        (["", "a"], "have no class"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "dates"),
        ([2**40, 1], "32 bit"),
    ],
)
def test_classes_that_are_none(tmp_path, classes, message):
    path = write(tmp_path, [rectangle(0, 0, 2, 2), rectangle(4, 4, 6, 6)], classes)
    with pytest.raises(LabelError, match=message):
        burn_labels(path, GRID, "class")


def test_more_than_255_classes_are_refused(tmp_path):
    path = write(tmp_path, [Point(at(i % 40 + 0.5, i // 40 + 0.5)) for i in range(256)], list(range(256)))
    with pytest.raises(LabelError, match=r"256 different classes.*identifier"):
        burn_labels(path, GRID, "class")


def test_missing_field_lists_those_that_exist(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2)], [1], kind=["x"])
    with pytest.raises(LabelError, match=r"no field 'clas'\. Did you mean 'class'\?.*class, kind"):
        burn_labels(path, GRID, "clas")
    with pytest.raises(LabelError, match="class, kind"):
        burn_labels(path, GRID)


def test_the_only_field_needs_no_name(tmp_path):
    assert burn_labels(write(tmp_path, [rectangle(0, 0, 2, 2)], ["a"]), GRID).scheme.names == ("a",)


def crossing(tmp_path):
    """Three rectangles over one another: class 1, class 2, class 1 again."""
    shapes = [rectangle(0, 0, 6, 6), rectangle(2, 2, 4, 4), rectangle(0, 0, 6, 3)]
    return write(tmp_path, shapes, [1, 2, 1])


def test_conflicting_pixels_become_unlabelled(tmp_path):
    found = burn_label_set(crossing(tmp_path), GRID, "class")
    assert (found.raster.values[2:4, 2:4] == UNLABELLED).all()
    assert (found.raster.groups[2:4, 2:4] == 0).all()
    assert (found.raster.values[:6, :6] == 0).sum() == 32
    assert any("4 pixels are covered by features of different classes" in note for note in found.notes)


def test_conflicting_pixels_can_raise_or_take_the_last(tmp_path):
    path = crossing(tmp_path)
    with pytest.raises(LabelError, match="meet on 4 pixels"):
        burn_labels(path, GRID, "class", conflict="raise")
    values = burn_labels(path, GRID, "class", conflict="last").values
    assert (values[2:4, 2] == 0).all()
    assert (values[2:4, 3] == 1).all()
    with pytest.raises(LabelError, match="choose from unlabelled, raise, last"):
        burn_labels(path, GRID, "class", conflict="first")


def test_a_polygon_smaller_than_a_pixel_keeps_one(tmp_path):
    tiny = [rectangle(5.1, 5.1, 5.3, 5.3), rectangle(7.1, 7.1, 7.3, 7.3), rectangle(7.6, 7.6, 7.9, 7.9)]
    found = burn_label_set(write(tmp_path, tiny, [1, 1, 2]), GRID, "class")
    assert found.raster.values[5, 5] == 0
    assert found.raster.values[7, 7] == UNLABELLED  # two classes claim it
    assert (found.raster.values != UNLABELLED).sum() == 1


def test_a_tiny_polygon_does_not_push_a_label_aside(tmp_path):
    shapes = [rectangle(5, 5, 8, 8), rectangle(6.1, 6.1, 6.2, 6.2)]
    values = burn_labels(write(tmp_path, shapes, [1, 2]), GRID, "class").values
    assert (values[5:8, 5:8] == 0).all()


def test_lines_are_crossed_pixels_or_have_a_width(tmp_path):
    path = write(tmp_path, [LineString([at(10.5, 5.5), at(10.5, 45.5)])], ["road"])
    thin = burn_labels(path, GRID, "class").values != UNLABELLED
    assert thin[10, 5:46].all()
    assert thin.sum() == 41
    wide = burn_labels(path, GRID, "class", width_m=50).values != UNLABELLED
    assert wide[:, 20].sum() == 5


def test_radius_is_in_metres_on_projected_and_geographic_grids(tmp_path):
    path = write(tmp_path, [Point(at(20.5, 30.5))], ["tree"])
    disc = (burn_labels(path, GRID, "class", radius_m=100).values != UNLABELLED).sum() * 100
    assert disc == pytest.approx(np.pi * 100**2, rel=0.05)
    x, y = Transformer.from_crs(UTM, 4326, always_xy=True).transform(*at(20.5, 30.5))
    degrees = Grid(400, 400, CRS.from_epsg(4326).to_wkt(), Affine(1e-5, 0, x - 2e-3, 0, -1e-5, y + 2e-3))
    covered = (burn_labels(path, degrees, "class", radius_m=100).values != UNLABELLED).sum()
    assert covered * degrees.pixel_area_ha == pytest.approx(np.pi, rel=0.02)
    with pytest.raises(LabelError, match="above 0 m"):
        burn_labels(path, GRID, "class", radius_m=0)


def test_background_fills_the_valid_area(tmp_path):
    valid = np.ones((40, 60), bool)
    valid[:, 50:] = False
    path = write(tmp_path, [rectangle(2, 2, 4, 4), rectangle(8, 48, 10, 52)], name="buildings.gpkg")
    found = burn_label_set(path, GRID, background="other", valid=valid)
    assert found.scheme.names == ("other", "buildings")
    assert found.scheme.codes == (0, 1)
    assert [row["pixels"] for row in found.table] == [40 * 50 - 8, 8]
    assert (found.raster.values[:, 50:] == UNLABELLED).all()
    assert any("4 labelled pixels lie on pixels without data" in note for note in found.notes)


def test_background_fills_a_given_area_but_not_conflicts(tmp_path):
    area = write(tmp_path, [rectangle(0, 0, 10, 10)], name="area.gpkg")
    shapes = write(tmp_path, [rectangle(0, 0, 2, 2), rectangle(1, 1, 3, 3), rectangle(20, 20, 22, 22)], ["b", "c", "b"])
    values = burn_labels(shapes, GRID, "class", background="a", labelled_area=area).values
    assert values[1, 1] == UNLABELLED
    assert (values == 0).sum() == 100 - 7
    assert values[20, 20] == 1
    with pytest.raises(LabelError, match="--background"):
        burn_labels(shapes, GRID, "class", labelled_area=area)


def with_unlabelled(folder: Path) -> Path:
    """A label that overlaps a polygon without one, and a polygon and a point of those that cover no pixel's centre."""
    shapes = [rectangle(0, 0, 4, 4), rectangle(2, 2, 8, 8), rectangle(20.1, 20.1, 20.3, 20.3), Point(at(30.5, 30.5))]
    return write(folder, shapes, [1, 99, 99, 99])


def test_background_does_not_fill_features_that_are_unlabelled(tmp_path):
    labels = burn_labels(with_unlabelled(tmp_path), GRID, "class", unlabelled=[99], background="rest")
    assert labels.scheme.names == ("rest", "1")
    expected = np.zeros((40, 60), np.uint8)
    expected[2:8, 2:8] = expected[20, 20] = expected[30, 30] = UNLABELLED
    expected[:4, :4] = 1
    assert np.array_equal(labels.values, expected)
    assert labels.groups.max() == 1
    small = labels.resized(GRID.resized(20, 30))
    assert (small.values[2:4, 2:4] == UNLABELLED).all()
    assert small.values[10, 10] == small.values[15, 15] == UNLABELLED
    assert (small.values == 0).sum() == 20 * 30 - 2 * 2 - (3 * 3 - 1) - 2
    wide = burn_labels(with_unlabelled(tmp_path), GRID, "class", unlabelled=[99], background="rest", radius_m=30)
    assert (wide.values[28:33, 28:33] == UNLABELLED).sum() > 9


def test_background_of_scenes_mapped_together_leaves_out_what_is_unlabelled(tmp_path):
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", dtype="uint8", count=1, height=40, width=60, crs=UTM,
        transform=GRID.transform,
    ) as target:  # fmt: skip
        target.write(np.ones((1, 40, 60), np.uint8))
    other = write(tmp_path, [rectangle(0, 0, 2, 2)], [7], "other.gpkg")  # so that classes are numbered anew
    options = LabelOptions(field="class", unlabelled=(99,), background="rest", labelled_area="scene")
    found = open_inputs([tmp_path / "scene.tif"] * 2, [other, with_unlabelled(tmp_path)], options)
    labels = found.pairs[1][1]
    for raster in (labels, labels.resized(GRID.resized(80, 120))):
        kept = raster.values != UNLABELLED
        assert (raster.values[kept & (raster.groups == 0)] == found.scheme.index("rest")).all()
        assert 0 < (~kept).sum() / kept.size < 0.02
        assert not kept[5 * raster.grid.height // 40, 5 * raster.grid.width // 60]


def test_background_can_be_a_class_that_is_drawn_too(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2), rectangle(4, 4, 6, 6)], ["field", "water"])
    labels = burn_labels(path, GRID, "class", background="field")
    assert labels.scheme.names == ("field", "water")
    assert (labels.values == 0).sum() == 40 * 60 - 4


def test_each_part_of_a_multipart_feature_is_a_group(tmp_path):
    shapes = [
        MultiPoint([at(1.5, 1.5), at(30.5, 50.5)]),
        MultiPolygon([rectangle(5, 5, 7, 7), rectangle(10, 10, 12, 12)]),
    ]
    found = burn_label_set(write(tmp_path, shapes, ["a", "b"]), GRID, "class")
    assert [row["features"] for row in found.table] == [1, 1]
    assert len(np.unique(found.raster.groups)) == 5
    assert found.raster.groups[1, 1] != found.raster.groups[30, 50]


def test_invalid_polygons_are_mended_and_empty_ones_left_out(tmp_path):
    bowtie = Polygon([at(0, 0), at(10, 10), at(0, 10), at(10, 0)])
    found = burn_label_set(write(tmp_path, [bowtie, None, Polygon()], [1, 1, 1]), GRID, "class")
    assert (found.raster.values == 0).sum() == pytest.approx(50, abs=10)
    assert any("1 invalid polygons" in note for note in found.notes)
    assert any("2 features without a geometry" in note for note in found.notes)


def test_features_outside_are_counted(tmp_path):
    far = rectangle(400, 400, 402, 402)
    found = burn_label_set(write(tmp_path, [rectangle(0, 0, 2, 2), far], [1, 1]), GRID, "class")
    assert any("1 of 2 features lie outside" in note for note in found.notes)
    with pytest.raises(LabelError, match=r"No feature of .* lies on the scene.*both coordinate systems"):
        burn_labels(write(tmp_path, [far], [1], "far.gpkg"), GRID, "class")


def test_labels_without_or_in_a_wrong_coordinate_system(tmp_path):
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        nowhere = write(tmp_path, [rectangle(0, 0, 2, 2)], [1], "none.shp", crs=None)
    with pytest.raises(LabelError, match="no coordinate system"):
        burn_labels(nowhere, GRID, "class")
    with pytest.raises(LabelError, match="The scene has no georeferencing"):  # a system of the labels would not help
        burn_labels(nowhere, Grid(40, 60), "class")
    wrong = write(tmp_path, [rectangle(0, 0, 2, 2)], [1], "wrong.gpkg", crs=4326)
    with pytest.raises(LabelError, match=r"says its coordinates are degrees.*fit the scene's own"):
        burn_labels(wrong, GRID, "class")


def test_scene_without_georeferencing_refuses_vectors(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2)], [1])
    with pytest.raises(LabelError, match=r"no georeferencing.*raster of the scene's size"):
        burn_labels(path, Grid(40, 60), "class")


def test_files_that_are_no_vector_labels(tmp_path):
    empty = write(tmp_path, [], [], "empty.gpkg")
    with pytest.raises(LabelError, match="no features"):
        burn_labels(empty, GRID, "class")
    with pytest.raises(LabelError, match="do not exist"):
        burn_labels(tmp_path / "missing.gpkg", GRID, "class")
    broken = tmp_path / "broken.geojson"
    broken.write_text("{ not json")
    with pytest.raises(LabelError, match="cannot be read as vector labels"):
        open_labels(broken, GRID, field="class")
    table = tmp_path / "table.csv"
    table.write_text("class\n1\n")
    with pytest.raises(LabelError, match="no features"):
        burn_labels(table, GRID, "class")


def test_several_layers_ask_for_one(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2)], [1], "two.gpkg")
    gpd.GeoDataFrame({"class": [2]}, geometry=[rectangle(0, 0, 3, 3)], crs=UTM).to_file(path, layer="roads")
    with pytest.raises(LabelError, match=r"layers two, roads; choose one by writing '.*\|layername=two'"):
        burn_labels(path, GRID, "class")
    assert burn_labels(f"{path}|layername=roads", GRID, "class").scheme.codes == (2,)
    with pytest.raises(LabelError, match=r"has no layer 'road'. Did you mean 'roads'\? Choices: roads, two"):
        burn_labels(f"{path}|layername=road", GRID, "class")
    with pytest.raises(LabelError, match=r"tow.gpkg do not exist. Did you mean 'two.gpkg'\?"):
        open_labels(path.with_name("tow.gpkg"), GRID, field="class")
    with pytest.raises(LabelError, match=r"none cannot be read either\. Check the path"):
        open_labels(tmp_path / "none" / "two.gpkg", GRID, field="class")
    assert open_labels(f"{path}|layername=roads", GRID, field="class").scheme.codes == (2,)


def test_resizing_burns_again_and_loses_no_click(tmp_path):
    clicks = [Point(at(row + 0.5, col + 0.5)) for row in range(1, 40, 6) for col in range(1, 60, 6)]
    labels = burn_labels(write(tmp_path, clicks, [1] * len(clicks)), GRID, "class")
    small = labels.resized(GRID.resized(17, 23))
    assert (small.values == 0).sum() == len(clicks)
    large = labels.resized(GRID.resized(80, 120))
    assert (large.values == 0).sum() == len(clicks)


def test_labels_taken_away_do_not_return_with_resizing(tmp_path):
    labels = burn_labels(write(tmp_path, [rectangle(0, 0, 10, 10), rectangle(20, 20, 30, 30)], [1, 2]), GRID, "class")
    mask = np.ones((40, 60), bool)
    mask[:15] = False
    kept = labels.keep(mask).resized(GRID.resized(13, 17))
    assert kept.counts(2).tolist()[0] == 0
    assert kept.counts(2).tolist()[1] > 0


def test_background_by_mask_and_by_area_are_resized_too(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 10, 10)], ["a"])
    area = write(tmp_path, [rectangle(0, 0, 20, 20)], name="area.gpkg")
    valid = np.zeros((40, 60), bool)
    valid[:20, :20] = True
    for options in ({"valid": valid}, {"labelled_area": area}):
        labels = burn_labels(path, GRID, "class", background="b", **options).resized(GRID.resized(20, 30))
        assert labels.counts(2).tolist() == [75, 25]


def test_vectors_without_a_scene_say_so(tmp_path):
    with pytest.raises(LabelError, match="holds vector labels"):
        read_labels(write(tmp_path, [rectangle(0, 0, 2, 2)], [1]))


def grid_of(path: Path) -> Grid:
    with rasterio.open(path) as source:
        return Grid(source.height, source.width, source.crs.to_wkt(), source.transform)


def test_real_historical_map(real_data):
    folder = real_data / "vector_labels" / "historical_map"
    grid = grid_of(folder / "map_compress.tif")
    found = burn_label_set(folder / "train.gpkg", grid, "Class")
    assert found.scheme.codes == (1, 2, 3, 4, 5)
    assert [row["features"] for row in found.table] == [6, 4, 3, 2, 2]
    assert np.count_nonzero(found.raster.values != UNLABELLED) / found.raster.values.size == pytest.approx(
        0.02, abs=0.002
    )
    clicks = burn_label_set(folder / "train_centroid.gpkg", grid, "Type")
    assert clicks.scheme.names == ("Agriculture", "Buildings", "Forest", "Soil", "Water")
    assert sum(row["pixels"] for row in clicks.table) == 17


def test_real_metres_said_to_be_degrees(real_data):
    folder = real_data / "vector_labels" / "custom_proj"
    with pytest.raises(LabelError, match="says its coordinates are degrees"):
        burn_labels(
            folder / "geotiff_custom_proj_labels.geojson", grid_of(folder / "sample_geotiff_custom_proj.tif"), "id"
        )


def test_real_multipoints(real_data):
    folder = real_data / "vector_labels" / "enmap_berlin_labels"
    found = burn_label_set(folder / "landcover_berlin_point.gpkg", grid_of(folder / "landcover_map_l3.tif"), "level_1")
    assert found.scheme.names == ("impervious", "soil", "vegetation", "water")
    assert sum(row["pixels"] for row in found.table) == found.raster.groups.astype(bool).sum() == 58


def test_class_error_is_not_hidden(tmp_path):
    path = write(tmp_path, [rectangle(0, 0, 2, 2)], ["a"])
    with pytest.raises(ClassError):
        burn_labels(path, GRID, "class", scheme=ClassScheme.from_names(["a"]), background="b")


def test_box_covers_everything(tmp_path):
    left, bottom, right, top = GRID.bounds
    labels = burn_labels(write(tmp_path, [box(left, bottom, right, top)], [1]), GRID, "class")
    assert labels.counts(1).tolist() == [2400]
