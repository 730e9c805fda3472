"""Windows, grids and scenes: what holds whatever the sizes."""

from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsecover.grid import Grid, Window, spread, tiles
from sparsecover.raster import MapWriter, Scene, open_scene
from sparsecover.raster.resample import axis_taps

windows = st.builds(Window, st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 60), st.integers(0, 60))
transforms = st.builds(
    lambda x, y, angle, width, height: Affine.translation(x, y) @ Affine.rotation(angle) @ Affine.scale(width, height),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(-180, 180),
    st.floats(0.1, 1000),
    st.sampled_from([-1000.0, -0.3, 0.5, 60.0]),
)


def pixels(window: Window) -> set[tuple[int, int]]:
    return {(r, c) for r in range(window.row, window.row_stop) for c in range(window.col, window.col_stop)}


@given(windows, windows)
def test_an_intersection_holds_the_common_pixels(a: Window, b: Window) -> None:
    assert pixels(a.intersect(b)) == pixels(a) & pixels(b)


@given(windows, windows, st.integers(0, 9))
def test_moving_and_growing_undo(window: Window, origin: Window, margin: int) -> None:
    moved = window.relative_to(origin)
    assert moved.relative_to(Window(-origin.row, -origin.col, 0, 0)) == window
    assert window.expand(margin).intersect(window) == window or not window.size


@given(st.integers(1, 5000), st.integers(1, 600), st.integers(1, 600))
def test_spread_windows_cover_all_with_the_fewest(length: int, size: int, step: int) -> None:
    starts = spread(length, size, step)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - size)
    steps = np.diff(starts)
    assert (steps <= step).all()
    assert (steps > 0).all()
    assert (len(starts) - 2) * step < max(0, length - size) or len(starts) <= 2
    assert np.ptp(steps) <= 1 if len(steps) else True


@given(windows, st.integers(1, 20), st.integers(1, 20))
def test_tiles_hold_each_pixel_once(window: Window, height: int, width: int) -> None:
    cut = list(tiles(window, height, width))
    assert sum(t.size for t in cut) == window.size
    assert set().union(*map(pixels, cut)) == pixels(window)
    assert all(0 < t.height <= height and 0 < t.width <= width for t in cut)


@given(st.integers(1, 500), st.integers(1, 500), transforms, windows)
def test_a_crop_keeps_every_corner_in_place(height: int, width: int, transform: Affine, window: Window) -> None:
    grid = Grid(height, width, None, transform)
    crop = grid.crop(window)
    there = crop.transform @ (window.width, window.height)
    assert np.allclose(there, transform @ (window.col_stop, window.row_stop), rtol=1e-9, atol=1e-6)


@given(st.integers(1, 500), st.integers(1, 500), transforms, st.integers(1, 500), st.integers(1, 500))
def test_a_resized_grid_covers_the_same_ground(h: int, w: int, transform: Affine, height: int, width: int) -> None:
    grid = Grid(h, w, None, transform)
    resized = grid.resized(height, width)
    assert np.allclose(resized.bounds, grid.bounds, rtol=1e-9, atol=1e-6)
    assert resized.resized(h, w).matches(grid)


@given(transforms, st.floats(0, 3), st.floats(-3, 3))
def test_offsets_are_told_in_pixels(transform: Affine, right: float, down: float) -> None:
    grid = Grid(40, 30, None, transform)
    moved = Grid(40, 30, None, transform @ Affine.translation(right, down))
    assert abs(grid.corner_offset_px(moved) - np.hypot(right, down)) < 1e-6


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_weights_of_a_pixel_sum_to_one(n_out: int, n_in: int, nearest: bool) -> None:
    taps = axis_taps(0, n_out, n_out, n_in, nearest)
    assert np.allclose(taps.weight.sum(axis=1), 1)
    assert taps.weight.min() >= 0
    assert 0 <= taps.first <= taps.first + taps.length <= n_in
    assert np.allclose((taps.weight[:, :, None] * (taps.index[:, :, None] == np.arange(taps.length))).sum(1).sum(1), 1)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    dtype = draw(st.sampled_from(["uint8", "int16", "uint16", "float32", "float64", "int32"]))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 255, shape).astype(dtype)
    if values.dtype.kind == "f":
        values += rng.random(shape).astype(dtype)
    valid = rng.random(shape[1:]) < draw(st.sampled_from([0.2, 0.9, 1.1]))
    return values, valid


def inside(draw: Any, height: int, width: int) -> Window:
    row, col = draw(st.integers(-5, height + 5)), draw(st.integers(-5, width + 5))
    return Window(row, col, draw(st.integers(1, height + 5)), draw(st.integers(1, width + 5)))


@given(scenes(), st.integers(1, 60), st.integers(1, 60), st.data())
@settings(deadline=None)
def test_any_window_of_a_resized_scene_is_cut_from_the_whole(
    content: tuple[Any, Any], height: int, width: int, data: Any
) -> None:
    scene = Scene.from_array(*content).resized(height, width)
    values, valid = scene.read()
    window = inside(data.draw, height, width)
    part, part_valid = scene.read(window)
    common = window.intersect(scene.grid.window)
    rows, cols = common.relative_to(window).slices
    np.testing.assert_array_equal(part[:, rows, cols], values[(slice(None), *common.slices)])
    np.testing.assert_array_equal(part_valid[rows, cols], valid[common.slices])
    assert part_valid.sum() == valid[common.slices].sum()
    assert not part[:, ~part_valid].any()


@given(scenes(), st.integers(1, 60), st.integers(1, 60))
@settings(deadline=None)
def test_resizing_stays_between_the_extremes(content: tuple[Any, Any], height: int, width: int) -> None:
    values, valid = content
    read, kept = Scene.from_array(values, valid).resized(height, width).read()
    assert read.dtype == values.dtype
    if kept.any():
        slack = 1e-3 if values.dtype.kind == "f" else 0
        assert read[:, kept].min() >= values[:, valid].min() - slack
        assert read[:, kept].max() <= values[:, valid].max() + slack
    if valid.all():
        assert kept.all()


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90)), elements=st.integers(0, 254)),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_map_holds_what_was_written_in_strips_of_any_height(
    tmp_path_factory: pytest.TempPathFactory, values: Any, heights: list[int]
) -> None:
    path = tmp_path_factory.mktemp("map") / "map.tif"
    grid = Grid(*values.shape)
    row = turn = 0
    with MapWriter(path, grid) as writer:
        while row < grid.height:
            strip = Window(row, 0, min(heights[turn % len(heights)], grid.height - row), grid.width)
            writer.write(strip, values[strip.slices])
            row, turn = strip.row_stop, turn + 1
    np.testing.assert_array_equal(open_scene(path).read()[0][0], values)
