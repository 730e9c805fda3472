"""Scenes: what is read from files, arrays and their combinations, and which pixels are valid."""

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from sparsecover.errors import GridError, SceneError
from sparsecover.grid import Grid, Window
from sparsecover.raster import Scene, gdal, open_scene, read_in_order

PLACE = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}


def save(path: Path, values: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None = None, **profile: Any) -> Path:
    """Write [C, H, W] as a GeoTIFF; further attributes such as ``descriptions`` are set on the dataset."""
    attributes = {
        key: profile.pop(key) for key in ("descriptions", "scales", "offsets", "colorinterp", "gcps") if key in profile
    }
    count, height, width = values.shape
    options = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype} | profile
    internal = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not profile.get("sidecar", False))
    options.pop("sidecar", None)
    with internal, gdal.georeference_optional(), rasterio.open(path, "w", **options) as dataset:
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.write(values)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def ramp(*shape: int, dtype: str = "uint8") -> npt.NDArray[Any]:
    return (np.arange(np.prod(shape)) % 200 + 1).astype(dtype).reshape(shape)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
def test_every_real_dtype_is_read_as_it_is(tmp_path: Path, dtype: str) -> None:
    values = (ramp(2, 5, 7, dtype="int64") % 100).astype(dtype)
    scene = open_scene(save(tmp_path / "a.tif", values, **PLACE))
    read, valid = scene.read()
    assert read.dtype == scene.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, values)
    assert valid.all()
    assert scene.name == "a"
    assert scene.grid.transform == PLACE["transform"]
    assert CRS.from_wkt(scene.grid.crs or "").to_epsg() == 32632


@pytest.mark.parametrize(("driver", "ending"), [("PNG", "png"), ("JP2OpenJPEG", "jp2"), ("COG", "tif"), ("VRT", "vrt")])
def test_formats(tmp_path: Path, driver: str, ending: str) -> None:
    values = ramp(3, 40, 50)
    source = save(tmp_path / "source.tif", values, photometric="rgb")
    lossless = {"QUALITY": 100, "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    with gdal.georeference_optional():
        rasterio.shutil.copy(source, tmp_path / f"copy.{ending}", driver=driver, **lossless)
    scene = open_scene(tmp_path / f"copy.{ending}")
    np.testing.assert_array_equal(scene.read(Window(3, 4, 20, 30))[0], values[:, 3:23, 4:34])
    assert [band.name for band in scene.bands] == ["red", "green", "blue"]
    assert not scene.grid.is_georeferenced


def test_virtual_paths_are_left_to_gdal(tmp_path: Path) -> None:
    import zipfile

    save(tmp_path / "a.tif", ramp(1, 4, 4))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.tif", "inner.tif")
    scene = open_scene(f"/vsizip/{tmp_path}/a.zip/inner.tif")
    assert scene.name == "inner"
    np.testing.assert_array_equal(scene.read()[0], ramp(1, 4, 4))


def test_addresses_on_the_net(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", ramp(1, 4, 4))
    # A process of its own: opening holds this one's interpreter lock.
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        try:
            for prefix in ("", "/vsicurl/"):
                scene = open_scene(f"{prefix}http://127.0.0.1:{port}/a.tif")
                assert scene.name == "a"
                np.testing.assert_array_equal(scene.read()[0], ramp(1, 4, 4))
            with pytest.raises(SceneError, match=r"404.*Check the address"):
                open_scene(f"http://127.0.0.1:{port}/none.tif")
        finally:
            server.terminate()


def test_windows_may_reach_outside(tmp_path: Path) -> None:
    values = ramp(2, 6, 8)
    scene = open_scene(save(tmp_path / "a.tif", values))
    read, valid = scene.read(Window(-2, -3, 10, 14))
    np.testing.assert_array_equal(read, np.pad(values, ((0, 0), (2, 2), (3, 3))))
    np.testing.assert_array_equal(valid, np.pad(np.ones((6, 8), bool), ((2, 2), (3, 3))))
    read, valid = scene.read(Window(100, 100, 3, 3))
    assert not valid.any()
    assert not read.any()
    assert scene.read(Window(2, 2, 0, 3))[0].shape == (2, 0, 3)


def test_nodata_of_any_band_makes_a_pixel_invalid(tmp_path: Path) -> None:
    values = ramp(3, 4, 5)
    values[1, 2, 3] = 0
    scene = open_scene(save(tmp_path / "a.tif", values, nodata=0))
    read, valid = scene.read()
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    assert read[:, 2, 3].tolist() == [0, 0, 0]
    assert scene.select([1, 3]).read()[1].all()


def test_each_band_of_a_vrt_has_its_own_nodata(tmp_path: Path) -> None:
    values = np.array([[[1, 2, 3]], [[1, 2, 3]]], np.uint8)
    for number in (1, 2):
        save(tmp_path / f"{number}.tif", values[:1], nodata=number, **PLACE)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><NoDataValue>{n}</NoDataValue><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{n}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
        for n in (1, 2)
    )
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="3" rasterYSize="1">{bands}</VRTDataset>')
    scene = open_scene(tmp_path / "a.vrt")
    assert scene.read()[1].tolist() == [[False, False, True]]
    assert [band.nodata for band in scene.bands] == [1, 2]


@pytest.mark.parametrize(
    ("dtype", "nodata", "stored"),
    [
        ("float32", -3.4028234663852886e38, np.finfo(np.float32).min),
        ("float32", -9999.0, np.float32(-9999)),
        ("float32", 0.1, np.float32(0.1)),
        ("float64", -1.7976931348623157e308, np.finfo(np.float64).min),
        ("float32", float("nan"), np.nan),
        ("int16", -32768, -32768),
    ],
)
def test_nodata_as_written_in_decimals(tmp_path: Path, dtype: str, nodata: float, stored: Any) -> None:
    values = ramp(1, 2, 3, dtype=dtype)
    values[0, 1, 1] = stored
    _, valid = open_scene(save(tmp_path / "a.tif", values, nodata=nodata)).read()
    assert np.argwhere(~valid).tolist() == [[1, 1]]


def test_nodata_that_the_dtype_cannot_hold_marks_nothing(tmp_path: Path) -> None:
    values = ramp(1, 2, 3)
    source = save(tmp_path / "a.tif", values)
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="3" rasterYSize="2"><VRTRasterBand dataType="Byte" band="1"><NoDataValue>-9999'
        f"</NoDataValue><SimpleSource><SourceFilename>{source}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert open_scene(tmp_path / "a.vrt").read()[1].all()


def test_nan_and_infinity_are_invalid_and_read_as_zero(tmp_path: Path) -> None:
    values = ramp(2, 3, 3, dtype="float32")
    values[0, 0, 0], values[1, 2, 2], values[1, 0, 1] = np.nan, np.inf, -np.inf
    read, valid = open_scene(save(tmp_path / "a.tif", values)).read()
    assert np.argwhere(~valid).tolist() == [[0, 0], [0, 1], [2, 2]]
    assert np.isfinite(read).all()
    assert not read[:, ~valid].any()


@pytest.mark.parametrize("sidecar", [False, True], ids=["internal", "msk"])
def test_masks_inside_and_beside_the_file(tmp_path: Path, sidecar: bool) -> None:
    mask = np.ones((40, 30), bool)
    mask[5:9, 7:11] = False
    path = save(tmp_path / "a.tif", ramp(3, 40, 30), mask, sidecar=sidecar)
    assert path.with_name("a.tif.msk").exists() == sidecar
    values, valid = open_scene(path).read()
    np.testing.assert_array_equal(valid, mask)
    assert not values[:, ~mask].any()
    np.testing.assert_array_equal(open_scene(path).read(Window(4, 4, 8, 8))[1], mask[4:12, 4:12])


def test_alpha_is_a_mask_unless_asked_for(tmp_path: Path) -> None:
    values = ramp(4, 6, 6, dtype="uint16")
    values[3] = 255  # not the largest uint16, yet opaque
    values[3, 0, 0] = 0
    values[3, 1, 1] = 1
    roles = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = save(tmp_path / "a.tif", values, colorinterp=roles)
    scene = open_scene(path)
    read, valid = scene.read()
    assert len(scene.bands) == len(read) == 3
    assert np.argwhere(~valid).tolist() == [[0, 0]]
    assert open_scene(path, bands=[2]).read()[1].tolist() == valid.tolist()
    four = open_scene(path, bands=[4, 1])
    np.testing.assert_array_equal(four.read()[0], values[[3, 0]])
    assert four.read()[1].all()


def test_alpha_blurred_by_jpeg_is_cut_at_half(tmp_path: Path) -> None:
    values = np.full((4, 64, 64), 120, np.uint8)
    values[3, :, :30] = 0
    values[3, :, 30:] = 255
    roles = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = save(tmp_path / "a.tif", values, colorinterp=roles, compress="jpeg", jpeg_quality=20)
    with gdal.georeference_optional(), rasterio.open(path) as dataset:
        assert np.unique(dataset.read(4)).size > 2
    np.testing.assert_array_equal(open_scene(path).read()[1], values[3] > 0)


def test_scale_and_offset_are_applied_after_nodata(tmp_path: Path) -> None:
    values = np.array([[[0, 100, 200]], [[1, 2, 3]]], np.int16)
    path = save(tmp_path / "a.tif", values, nodata=0, scales=(0.01, 1), offsets=(-1, 0))
    scene = open_scene(path)
    read, valid = scene.read()
    assert scene.dtype == read.dtype == np.float32
    assert valid.tolist() == [[False, True, True]]
    np.testing.assert_allclose(read, [[[0, 0, 1]], [[0, 2, 3]]])
    for plain in (scene.select([2]), open_scene(path, bands=[2])):
        assert plain.dtype == np.int16
        assert plain.read()[0].tolist() == [[[1, 2, 3]]]
    assert [band.dtype for band in scene.bands] == ["int16", "int16"]


def test_bands_of_several_dtypes_get_the_common_one(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", ramp(1, 3, 3, dtype="uint16"), **PLACE)
    save(tmp_path / "b.tif", ramp(1, 3, 3, dtype="float32") / 2, **PLACE)
    scene = open_scene([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert scene.dtype == np.float32
    np.testing.assert_array_equal(scene.read()[0][1], ramp(3, 3) / 2)


def test_names_of_bands(tmp_path: Path) -> None:
    first = save(tmp_path / "a.tif", ramp(2, 3, 3), descriptions=("VV", None), **PLACE)
    second = save(tmp_path / "b.tif", ramp(2, 3, 3), **PLACE)
    scene = open_scene([first, second], name="pair")
    assert [band.name for band in scene.bands] == ["VV", "band_2", "band_3", "band_4"]
    assert scene.name == "pair"
    assert scene.paths == (str(first), str(second))


def test_a_stack_gives_any_bands_in_any_order(tmp_path: Path) -> None:
    values = ramp(5, 6, 7, dtype="int16")
    paths = [save(tmp_path / "a.tif", values[:2], **PLACE), save(tmp_path / "b.tif", values[2:], **PLACE)]
    np.testing.assert_array_equal(open_scene(paths).read()[0], values)
    for chosen in ([5, 1, 4], [2, 1], [3]):
        expected = values[[band - 1 for band in chosen]]
        np.testing.assert_array_equal(open_scene(paths, bands=chosen).read()[0], expected)
        np.testing.assert_array_equal(open_scene(paths).select(chosen).read()[0], expected)
    assert [b.name for b in open_scene(paths, bands=[5, 1]).bands] == ["band_5", "band_1"]


@pytest.mark.parametrize("bands", [[0], [6], [1, 1], [], [-1]])
def test_bands_that_are_not_there(tmp_path: Path, bands: list[int]) -> None:
    paths = [save(tmp_path / "a.tif", ramp(2, 3, 3)), save(tmp_path / "b.tif", ramp(3, 3, 3))]
    with pytest.raises(SceneError, match="numbers from 1 to 5"):
        open_scene(paths, bands=bands)
    with pytest.raises(SceneError, match="numbers from 1 to 5"):
        open_scene(paths).select(bands)


def test_a_stack_comes_on_the_finest_grid_or_the_given_one(tmp_path: Path) -> None:
    fine = ramp(1, 8, 8, dtype="float32")
    coarse = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    wide = {"crs": PLACE["crs"], "transform": PLACE["transform"] @ Affine.scale(2)}
    paths = [save(tmp_path / "coarse.tif", coarse, **wide), save(tmp_path / "fine.tif", fine, **PLACE)]
    scene = open_scene(paths)
    assert scene.grid.matches(open_scene(paths[1]).grid)
    values, valid = scene.read()
    np.testing.assert_array_equal(values[1:], fine)
    # Centres of fine pixels lie a quarter of a coarse pixel from those of coarse ones.
    assert values[0, 0, 1] == pytest.approx(0.25)
    assert values[0, 1, 0] == pytest.approx(1.0)
    assert valid.all()
    on_coarse = open_scene(paths, grid=open_scene(paths[0]).grid)
    np.testing.assert_array_equal(on_coarse.read()[0][:1], coarse)
    np.testing.assert_allclose(on_coarse.read()[0][1], fine[0].reshape(4, 2, 4, 2).mean((1, 3)))


def test_files_of_a_stack_may_differ_in_the_last_digits_only(tmp_path: Path) -> None:
    first = save(tmp_path / "a.tif", ramp(1, 8, 8), **PLACE)
    for shift, fits in ((1e-9, True), (0.4, True), (0.6, False)):
        place = PLACE["transform"] @ Affine.translation(shift, 0)
        second = save(tmp_path / "b.tif", ramp(1, 8, 8), crs=PLACE["crs"], transform=place)
        if fits:
            assert open_scene([first, second]).grid.matches(open_scene(first).grid)
        else:
            with pytest.raises(GridError, match=r"0\.6 of the coarser pixels apart"):
                open_scene([first, second])


def test_files_of_a_stack_in_other_systems_or_sizes(tmp_path: Path) -> None:
    first = save(tmp_path / "a.tif", ramp(1, 8, 8), **PLACE)
    other = save(tmp_path / "b.tif", ramp(1, 8, 8), crs="EPSG:32633", transform=PLACE["transform"])
    with pytest.raises(GridError, match="another coordinate system"):
        open_scene([first, other])
    with pytest.raises(GridError, match="8 x 9 pixels where 8 x 8"):
        open_scene([save(tmp_path / "c.tif", ramp(1, 8, 8)), save(tmp_path / "d.tif", ramp(1, 8, 9))], grid=Grid(8, 8))


def test_a_file_without_place_takes_that_of_the_stack(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.tif", ramp(1, 8, 8)), save(tmp_path / "b.tif", ramp(1, 8, 8), **PLACE)]
    assert open_scene(paths).grid.transform == PLACE["transform"]


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 3, 500_000, 2, -10, 5_000_000),
        Affine(10, 0, 500_000, 0, 10, 5_000_000),
        Affine(10, 0, 500_000, 0, -25, 5_000_000),
    ],
    ids=["rotated", "south-up", "not square"],
)
def test_transforms_are_kept(tmp_path: Path, transform: Affine) -> None:
    path = save(tmp_path / "a.tif", ramp(1, 4, 4), crs="EPSG:32632", transform=transform)
    assert open_scene(path).grid.transform.almost_equals(transform)


def test_control_points_are_carried(tmp_path: Path) -> None:
    points = [GroundControlPoint(0, 0, 10, 50, 5), GroundControlPoint(0, 8, 11, 50), GroundControlPoint(8, 0, 10, 49)]
    path = save(tmp_path / "a.tif", ramp(1, 8, 8), gcps=(points, rasterio.crs.CRS.from_epsg(4326)))
    scene = open_scene(path)
    assert scene.grid.crs is None
    assert scene.georeference.gcps == ((0, 0, 10, 50, 5), (0, 8, 11, 50, 0), (8, 0, 10, 49, 0))
    assert CRS.from_wkt(scene.georeference.gcp_crs or "").to_epsg() == 4326
    assert open_scene([path, path], bands=[1, 2]).georeference == scene.georeference
    assert scene.resized(4, 4).georeference.gcps == ()


def test_previews_are_small_means(tmp_path: Path) -> None:
    values = np.repeat(np.repeat(ramp(2, 10, 20), 4, 1), 4, 2)
    scene = open_scene(save(tmp_path / "a.tif", values))
    small, valid = scene.preview(20)
    assert small.shape == (2, 10, 20)
    np.testing.assert_array_equal(small, ramp(2, 10, 20))
    assert valid.all()
    np.testing.assert_array_equal(scene.preview(1000)[0], values)
    np.testing.assert_array_equal(scene.cached().preview(20)[0], small)


def test_previews_leave_out_what_is_invalid(tmp_path: Path) -> None:
    values = np.full((1, 40, 40), 100, np.uint8)
    values[:, :, :20] = 0
    values[0, ::2, 20:] = 0
    small, valid = open_scene(save(tmp_path / "a.tif", values, nodata=0)).preview(4)
    assert valid.tolist() == [[False, False, True, True]] * 4
    assert (small[0, :, 2:] == 100).all()


def test_codes_of_a_palette_are_not_averaged(tmp_path: Path) -> None:
    values = np.zeros((1, 40, 40), np.uint8)
    values[0, :, ::2] = 200
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=40, width=40, dtype="uint8", **PLACE) as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 200: (255, 0, 0, 255)})
        dataset.write(values)
    assert set(np.unique(open_scene(path).preview(10)[0])) <= {0, 200}


def test_scenes_go_through_pickle_and_threads(tmp_path: Path) -> None:
    values = ramp(3, 200, 200, dtype="uint16")
    scene = open_scene(save(tmp_path / "a.tif", values, tiled=True, blockxsize=64, blockysize=64, compress="deflate"))
    scene.read(Window(0, 0, 1, 1))  # a handle is open before
    copy = pickle.loads(pickle.dumps(scene))  # noqa: S301 (our own bytes)
    windows = [Window(i % 150, (i * 37) % 150, 50, 50) for i in range(200)]

    def right(window: Window) -> bool:
        rows, cols = window.slices
        return bool((copy.read(window)[0] == values[:, rows, cols]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, windows))


def test_scenes_go_to_other_processes(tmp_path: Path) -> None:
    values = ramp(2, 50, 60)
    scene = open_scene(save(tmp_path / "a.tif", values))
    scene.read()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        read, _ = pool.submit(scene.read, Window(5, 6, 7, 8)).result()
    np.testing.assert_array_equal(read, values[:, 5:12, 6:14])


def test_files_open_while_warnings_are_being_silenced(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", ramp(1, 2, 2))
    with gdal.georeference_optional():
        assert open_scene(path).read()[1].all()


def test_threads_that_read_in_order_keep_fewer_blocks(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", ramp(1, 4, 4))

    def kept() -> list[int]:
        settings = []
        with pytest.MonkeyPatch.context() as patch:
            environment = gdal.environment
            patch.setattr(gdal, "environment", lambda *size: settings.extend(size) or environment(*size))
            for width in (4, 2):
                open_source.read(Window(0, 0, 4, width))
        return settings

    open_source = open_scene(tmp_path / "a.tif").source
    assert kept() == [gdal.CACHE_BYTES, gdal.WINDOW_CACHE_BYTES]
    with ThreadPoolExecutor(1, initializer=read_in_order) as thread:
        assert thread.submit(kept).result() == [gdal.CACHE_BYTES] * 2


def test_many_more_files_than_handles(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.tif", np.full((1, 2, 2), i, np.uint8)) for i in range(3 * gdal.MAX_HANDLES)]
    scenes = [open_scene(path) for path in paths]
    assert [int(scene.read()[0].max()) for scene in scenes] == list(range(len(paths)))
    assert int(scenes[0].read()[0].max()) == 0


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.full((1, 2, 2), 1, np.uint8))
    assert open_scene(path).read()[0].max() == 1
    path.unlink()
    save(path, np.full((1, 3, 3), 2, np.uint8))
    scene = open_scene(path)
    assert scene.grid.height == 3
    assert scene.read()[0].max() == 2


def test_relative_names_hold_after_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.tif", ramp(1, 2, 2))
    monkeypatch.chdir(tmp_path)
    copy = pickle.dumps(open_scene("a.tif"))
    monkeypatch.chdir("/")
    assert pickle.loads(copy).read()[0].shape == (1, 2, 2)  # noqa: S301 (our own bytes)


def test_arrays_as_scenes() -> None:
    values = ramp(2, 3, 4, dtype="float32")
    values[0, 1, 1] = np.nan
    valid = np.ones((3, 4), bool)
    valid[0, 0] = False
    scene = Scene.from_array(values, valid, name="mine", band_names=["a", "b"])
    read, read_valid = scene.read()
    assert np.argwhere(~read_valid).tolist() == [[0, 0], [1, 1]]
    assert read[:, 1, 1].tolist() == [0, 0]
    assert [band.name for band in scene.bands] == ["a", "b"]
    read[:] = 7
    assert scene.read()[0][0, 0, 1] == 2
    assert scene.select([2]).read()[1][1, 1]


@pytest.mark.parametrize("dtype", ["bool", ">u2", "<f8"])
def test_arrays_of_any_layout(dtype: str) -> None:
    values = np.eye(4).astype(dtype)[None]
    np.testing.assert_array_equal(Scene.from_array(values).read()[0], np.eye(4)[None])


def test_arrays_that_are_no_scene() -> None:
    with pytest.raises(GridError, match=r"\[bands, height, width\]; given \[3, 4\]"):
        Scene.from_array(np.zeros((3, 4)))
    with pytest.raises(GridError, match="2 band names"):
        Scene.from_array(np.zeros((3, 4, 4)), band_names=["a", "b"])
    with pytest.raises(GridError, match="grid of 5 x 5"):
        Scene.from_array(np.zeros((3, 4, 4)), grid=Grid(5, 5))
    with pytest.raises(GridError, match=r"valid \[3, 3\]"):
        Scene.from_array(np.zeros((3, 4, 4)), np.ones((3, 3), bool))
    with pytest.raises(SceneError, match="complex128"):
        Scene.from_array(np.zeros((3, 4, 4), complex))


def test_cached_scenes_need_no_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", ramp(2, 6, 6), nodata=5, **PLACE)
    scene = open_scene(path)
    expected = scene.read()
    cached = scene.cached()
    path.unlink()
    np.testing.assert_array_equal(cached.read()[0], expected[0])
    np.testing.assert_array_equal(cached.read()[1], expected[1])
    assert (cached.grid, cached.bands, cached.dtype, cached.paths) == (
        scene.grid,
        scene.bands,
        scene.dtype,
        scene.paths,
    )


def test_resized_scenes_are_means_of_what_is_valid(tmp_path: Path) -> None:
    values = ramp(2, 6, 8)
    values[0, 0, :2] = 0
    scene = open_scene(save(tmp_path / "a.tif", values, nodata=0, **PLACE)).resized(3, 4)
    read, valid = scene.read()
    expected = values.astype(float).reshape(2, 3, 2, 4, 2).mean((2, 4))
    expected[:, 0, 0] = values[:, 1, :2].astype(float).mean(1)  # its upper two are nodata
    np.testing.assert_array_equal(read, np.rint(expected))
    assert valid.all()
    assert scene.grid.transform == PLACE["transform"] @ Affine.scale(2)
    assert scene.resized(3, 4) is scene
    again = scene.resized(6, 8).read()
    np.testing.assert_array_equal(again[0][:, again[1]], values[:, again[1]])  # from the file's pixels, not the means


def test_each_file_of_a_stack_is_resized_from_its_own_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fine, middle, coarse = (rng.random((1, 24 // k, 36 // k)).astype(np.float32) for k in (1, 2, 6))
    files = []
    for k, values in ((1, fine), (2, middle), (6, coarse)):
        place = PLACE | {"transform": PLACE["transform"] @ Affine.scale(k)}
        files.append(save(tmp_path / f"{k}.tif", values, **place))
    clouds = np.zeros((1, 12, 18), np.uint8)
    clouds[0, :2, :2] = 1
    mask = save(tmp_path / "mask.tif", clouds, **(PLACE | {"transform": PLACE["transform"] @ Affine.scale(2)}))
    stack = open_scene(files)
    at_middle = stack.at_resolution(20).read()[0]
    np.testing.assert_allclose(at_middle[0], fine[0].reshape(12, 2, 18, 2).mean((1, 3)), rtol=1e-6)
    np.testing.assert_array_equal(at_middle[1], middle[0])
    np.testing.assert_allclose(at_middle[2], open_scene(files[2]).resized(12, 18).read()[0][0], rtol=1e-6)
    clear = fine[0].astype(float)
    clear[:4, :4] = np.nan
    values, valid = stack.masked(mask).at_resolution(60).read()
    np.testing.assert_allclose(values[0], np.nanmean(clear.reshape(4, 6, 6, 6), axis=(1, 3)), rtol=1e-6)
    np.testing.assert_array_equal(values[2], coarse[0])
    assert valid.all()
    assert not stack.masked(mask).at_resolution(20).read()[1][:2, :2].any()


def test_a_mask_counts_where_no_file_of_a_stack_is_averaged(tmp_path: Path) -> None:
    """Bands of the coarser files alone, and a scene that becomes narrower but not lower."""
    files = []
    for k in (1, 2):
        place = PLACE | {"transform": PLACE["transform"] @ Affine.scale(k)}
        files.append(save(tmp_path / f"{k}.tif", np.ones((1, 24 // k, 36 // k), np.uint8), **place))
    clouds = np.zeros((1, 24, 36), np.uint8)
    clouds[0, :12, :8] = 1
    scene = open_scene(files).masked(save(tmp_path / "mask.tif", clouds, **PLACE))
    for small in (scene.select([2]).at_resolution(20), scene.resized(24, 18)):
        factors = 24 // small.grid.height, 36 // small.grid.width
        np.testing.assert_array_equal(~small.read()[1], clouds[0, :: factors[0], :: factors[1]].astype(bool))


def test_resized_pixels_are_invalid_where_most_of_them_is() -> None:
    valid = np.array([[1, 0, 0, 0], [1, 0, 1, 0]], bool)
    scene = Scene.from_array(np.full((1, 2, 4), 9, np.uint8), valid).resized(1, 2)
    read, kept = scene.read()
    assert kept.tolist() == [[True, False]]
    assert read.tolist() == [[[9, 0]]]


def test_resizing_agrees_with_other_libraries() -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=(2, 30, 40)).astype(np.float32)
    up = torch.nn.functional.interpolate(torch.from_numpy(values)[None], size=(77, 90), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(Scene.from_array(values).resized(77, 90).read()[0], up, atol=1e-5)
    down = torch.nn.functional.interpolate(torch.from_numpy(values)[None], size=(10, 8), mode="area")[0].numpy()
    np.testing.assert_allclose(Scene.from_array(values).resized(10, 8).read()[0], down, atol=1e-5)


def test_resizing_refuses_no_pixels() -> None:
    with pytest.raises(GridError, match="0 x 3"):
        Scene.from_array(np.zeros((1, 4, 4))).resized(0, 3)


def test_cloud_masks_take_pixels_away(tmp_path: Path) -> None:
    clouds = np.zeros((1, 4, 4), np.uint8)
    clouds[0, 1, 2] = 3
    clouds[0, 3, 3] = 255
    values = ramp(2, 8, 8)
    scene = open_scene(save(tmp_path / "a.tif", values, **PLACE))
    coarse = {"crs": PLACE["crs"], "transform": PLACE["transform"] @ Affine.scale(2)}
    expected = np.repeat(np.repeat(clouds[0] == 0, 2, 0), 2, 1)
    for nodata in (None, 0, 255):
        path = save(tmp_path / f"{nodata}.tif", clouds, nodata=nodata, **coarse)
        masked = scene.masked(path)
        read, valid = masked.read()
        np.testing.assert_array_equal(valid, expected)
        assert not read[:, ~expected].any()
        np.testing.assert_array_equal(masked.select([2]).read(Window(1, 1, 6, 6))[1], expected[1:7, 1:7])
    assert scene.masked(Scene.from_array(np.zeros((1, 8, 8)))).read()[1].all()
    with pytest.raises(GridError, match="3 x 3 pixels where 8 x 8"):
        scene.masked(Scene.from_array(np.zeros((1, 3, 3))))


@pytest.mark.parametrize("profile", [{}, {"nodata": -9999}, {"nodata": np.nan}], ids=["none", "number", "nan"])
def test_scattered_nan_leaves_the_preview_its_data(tmp_path: Path, profile: dict[str, float]) -> None:
    values = np.random.default_rng(0).normal(5, 1, (2, 200, 300)).astype(np.float32)
    values[:, 3::5, 3::5] = np.nan  # at least one in every pixel of the preview
    preview, valid = open_scene(save(tmp_path / "a.tif", values, **PLACE, **profile)).preview(20)
    assert valid.mean() > 0.9
    assert abs(preview[:, valid].mean() - 5) < 0.2
    assert not preview[:, ~valid].any()
