"""Windows and grids on cases whose answers are known."""

import pytest
from affine import Affine
from pyproj import CRS

from sparsecover.errors import GridError
from sparsecover.grid import Grid, Window, spread, tiles

UTM = CRS.from_epsg(32632).to_wkt()
MERCATOR = CRS.from_epsg(3857).to_wkt()
GEOGRAPHIC = CRS.from_epsg(4326).to_wkt()


def test_window_has_stops_slices_and_size() -> None:
    window = Window(2, 3, 4, 5)
    assert (window.row_stop, window.col_stop, window.size) == (6, 8, 20)
    assert window.slices == (slice(2, 6), slice(3, 8))
    assert window.expand(1) == Window(1, 2, 6, 7)
    assert window.relative_to(Window(1, 1, 9, 9)) == Window(1, 2, 4, 5)


def test_windows_side_by_side_have_nothing_in_common() -> None:
    assert Window(0, 0, 4, 4).intersect(Window(0, 4, 4, 4)).size == 0
    assert Window(0, 0, 4, 4).intersect(Window(9, 9, 1, 1)).size == 0


def test_negative_size_is_refused() -> None:
    with pytest.raises(GridError, match="-1 x 3"):
        Window(0, 0, -1, 3)


def test_pixel_size_of_a_metric_grid_is_that_of_its_transform() -> None:
    grid = Grid(100, 100, UTM, Affine(2, 0, 500_000, 0, -3, 5_000_000))
    assert grid.pixel_size_m == pytest.approx((3, 2))
    assert grid.pixel_area_ha == pytest.approx(6e-4)


def test_pixel_size_in_feet() -> None:
    grid = Grid(10, 10, CRS.from_epsg(2263).to_wkt(), Affine(1, 0, 1_000_000, 0, -1, 200_000))
    assert grid.pixel_size_m == pytest.approx((0.3048006096, 0.3048006096))  # the US survey foot


def test_pixel_size_of_a_geographic_grid_is_measured_on_the_ellipsoid() -> None:
    grid = Grid(2, 2, GEOGRAPHIC, Affine(0.001, 0, 10, 0, -0.001, 60.001))
    height, width = grid.pixel_size_m or (0, 0)
    # A degree of latitude is 111,412 m and one of longitude 55,800 m at 60 degrees: published tables of WGS 84.
    assert height == pytest.approx(111.412, rel=1e-4)
    assert width == pytest.approx(55.800, rel=1e-4)


def test_web_mercator_pixels_are_measured_on_the_ground() -> None:
    y = 8_399_737.9  # 60 degrees north, where the map is twice as large as the ground
    grid = Grid(2, 2, MERCATOR, Affine(10, 0, 1_113_194.9, 0, -10, y))
    assert grid.pixel_size_m == pytest.approx((5.0, 5.0), rel=5e-3)
    assert grid.pixel_area_ha == pytest.approx(0.0025, rel=1e-2)


def test_area_of_rotated_and_sheared_pixels_is_the_determinant() -> None:
    rotated = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    assert Grid(10, 10, UTM, rotated).pixel_area_ha == pytest.approx(0.01)
    sheared = Affine(10, 5, 500_000, 0, -10, 5_000_000)
    assert Grid(10, 10, UTM, sheared).pixel_area_ha == pytest.approx(0.01)


@pytest.mark.parametrize("grid", [Grid(5, 5), Grid(5, 5, UTM), Grid(5, 5, None, Affine.scale(2))])
def test_without_a_place_there_is_no_size(grid: Grid) -> None:
    assert grid.pixel_size_m is None
    assert grid.pixel_area_ha is None


def test_a_projection_without_an_inverse_is_measured_on_the_map() -> None:
    grid = Grid(5, 5, CRS.from_proj4("+proj=airy +lat_0=10").to_wkt(), Affine(30, 0, 100, 0, -30, 200))
    assert grid.pixel_size_m == (30, 30)


def test_latitudes_beyond_the_pole_have_no_size() -> None:
    assert Grid(5, 5, GEOGRAPHIC, Affine(30, 0, 100, 0, -30, 2000)).pixel_area_ha is None


def test_bounds_of_a_south_up_grid() -> None:
    assert Grid(10, 20, UTM, Affine(2, 0, 100, 0, 3, 200)).bounds == (100, 200, 140, 230)


def test_last_digits_do_not_make_another_grid() -> None:
    place = Affine(8.983e-05, 0, -1.5, 0, -8.983e-05, 9.9)
    moved = Affine(8.983e-05, 0, -1.5 + 1e-14, 0, -8.983e-05 - 1e-16, 9.9)
    assert Grid(512, 512, GEOGRAPHIC, place).matches(Grid(512, 512, GEOGRAPHIC, moved))
    assert not Grid(512, 512, GEOGRAPHIC, place).matches(Grid(511, 512, GEOGRAPHIC, place))
    assert not Grid(512, 512, GEOGRAPHIC, place).matches(Grid(512, 512, GEOGRAPHIC, place @ Affine.translation(1, 0)))


def test_neighbouring_zones_share_numbers_but_not_ground() -> None:
    place = Affine(10, 0, 300_000, 0, -10, 5_000_000)
    other = Grid(10, 10, CRS.from_epsg(32633).to_wkt(), place)
    assert not Grid(10, 10, UTM, place).matches(other)
    assert Grid(10, 10, None, place).matches(other)


@pytest.mark.parametrize("code", [32632, 4326, 3857, 2056, 2154])
def test_one_system_written_in_several_ways_is_one(code: int) -> None:
    system = CRS.from_epsg(code)
    grid = Grid(10, 10, system.to_wkt())
    for version in ("WKT1_ESRI", "WKT1_GDAL", "WKT2_2019"):
        assert grid.same_crs(Grid(10, 10, system.to_wkt(version)))
    assert not grid.same_crs(Grid(10, 10, CRS.from_epsg(32631).to_wkt()))


def test_crop_and_resize_stay_on_the_ground() -> None:
    grid = Grid(100, 200, UTM, Affine(1, 0.5, 10, 0.25, -1, 20))
    assert grid.crop(Window(10, 20, 5, 5)).transform @ (0, 0) == grid.transform @ (20, 10)
    assert grid.resized(50, 40).bounds == pytest.approx(grid.bounds)
    assert grid.corner_offset_px(grid.crop(Window(0, 3, 100, 200))) == pytest.approx(3)


def test_spread_refuses_no_step() -> None:
    assert spread(3, 8, 4) == [0]
    with pytest.raises(GridError, match="at least 1"):
        spread(10, 4, 0)


def test_tiles_come_row_by_row() -> None:
    assert list(tiles(Window(1, 1, 3, 3), 2, 2)) == [
        Window(1, 1, 2, 2),
        Window(1, 3, 2, 1),
        Window(3, 1, 1, 2),
        Window(3, 3, 1, 1),
    ]


def test_the_resolution_is_the_side_of_a_square_as_large() -> None:
    assert Grid(10, 10, UTM, Affine(10, 0, 400_000, 0, -2.5, 5_500_000)).resolution_m == pytest.approx(5, rel=1e-3)
    assert Grid(10, 10).resolution_m is None
