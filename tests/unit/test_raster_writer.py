"""MapWriter: whole, georeferenced, the same bytes however written; or an error and nothing."""

import signal
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from sparsecover.classes import ClassScheme
from sparsecover.errors import GridError, OutputError
from sparsecover.grid import Grid, Window, tiles
from sparsecover.raster import Georeference, MapWriter, Scene, gdal, open_scene

UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
GRID = Grid(1300, 1100, UTM, Affine(10, 0, 500_000, 0, -10, 5_000_000))
SCHEME = ClassScheme.from_codes({1: "water", 3: "wood & heath", 7: "größe"})


def indices(grid: Grid) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.choice(np.array([0, 1, 2, 255], np.uint8), (grid.height // 16 + 1, grid.width // 16 + 1))
    return np.repeat(np.repeat(coarse, 16, 0), 16, 1)[: grid.height, : grid.width]


def write(path: Path, values: npt.NDArray[Any], grid: Grid = GRID, rows: int = 100, **options: Any) -> Path:
    with MapWriter(path, grid, **options) as writer:
        for window in tiles(grid.window, rows, grid.width):
            writer.write(window, values[..., window.row : window.row_stop, :])
    return path


def test_a_class_map_has_all_that_a_gis_wants(tmp_path: Path) -> None:
    codes = SCHEME.encode(indices(GRID))
    path = write(tmp_path / "map.tif", codes, scheme=SCHEME, band_names=["class"], tags={"MODEL": "unet"})
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), codes)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.overviews(1) == [2, 4]
        assert dataset.nodata == 255
        assert dataset.dtypes == ("uint8",)
        assert {code: dataset.colormap(1)[code][:3] for code in SCHEME.codes} == dict(
            zip(SCHEME.codes, SCHEME.colors, strict=True)
        )
        assert dataset.descriptions == ("class",)
        assert dataset.tags()["MODEL"] == "unet"
        assert dataset.transform == GRID.transform
        assert dataset.crs.to_epsg() == 32632
    names = ElementTree.parse(tmp_path / "map.tif.aux.xml").iterfind(".//CategoryNames/Category")
    assert [name.text or "" for name in names] == ["", "water", "", "wood & heath", "", "", "", "größe"]
    assert ClassScheme.from_config(tmp_path / "map.qml") == SCHEME
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.qml", "map.tif", "map.tif.aux.xml"]


@pytest.mark.parametrize(("grid", "tile"), [(GRID, 512), (Grid(100, 130, UTM, GRID.transform), 144)])
def test_without_overviews_all_else_is_the_same(tmp_path: Path, grid: Grid, tile: int) -> None:
    codes = SCHEME.encode(indices(grid))
    path = write(tmp_path / "labels.tif", codes, grid, scheme=SCHEME, overviews=False)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), codes)
        assert dataset.block_shapes == [(tile, tile)]
        assert dataset.overviews(1) == []
        assert dataset.nodata == 255
        assert (dataset.transform, dataset.crs.to_epsg()) == (grid.transform, 32632)
        assert dataset.colormap(1)[7][:3] == SCHEME.colors[2]
    assert ClassScheme.from_config(tmp_path / "labels.qml") == SCHEME
    assert "<Category>größe</Category>" in (tmp_path / "labels.tif.aux.xml").read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.qml", "labels.tif", "labels.tif.aux.xml"]


def test_overviews_of_classes_are_modes_and_of_confidence_means(tmp_path: Path) -> None:
    values = np.tile(np.array([[1, 1], [1, 7]], np.uint8), (650, 550))
    classes = write(tmp_path / "map.tif", values, scheme=SCHEME)
    confidence = write(tmp_path / "confidence.tif", values * 10)
    with rasterio.open(classes, overview_level=0) as dataset:
        assert (dataset.read(1) == 1).all()
    with rasterio.open(confidence, overview_level=0) as dataset:
        assert (dataset.read(1) == 25).all()


def test_the_bytes_depend_on_the_pixels_alone(tmp_path: Path) -> None:
    codes = SCHEME.encode(indices(GRID))
    by_strips = [write(tmp_path / f"{n}.tif", codes, rows=n, scheme=SCHEME).read_bytes() for n in (1300, 100, 17)]
    with MapWriter(tmp_path / "map.tif", GRID, scheme=SCHEME) as writer:
        for window in reversed(list(tiles(GRID.window, 300, 333))):
            writer.write(window, codes[window.slices])
    assert {*by_strips} == {(tmp_path / "map.tif").read_bytes()}


def test_what_is_not_written_is_nodata(tmp_path: Path) -> None:
    grid = Grid(300, 700)
    with MapWriter(tmp_path / "map.tif", grid, dtype="float32", count=2, nodata=-1) as writer:
        writer.write(Window(10, 600, 5, 9), np.ones((2, 5, 9), np.float32))
    scene = open_scene(tmp_path / "map.tif")
    expected = np.zeros((300, 700), bool)
    expected[10:15, 600:609] = True
    np.testing.assert_array_equal(scene.read()[1], expected)


def test_bands_of_probabilities(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 60, 70), np.float32)
    path = write(
        tmp_path / "p.tif", values, Grid(60, 70), dtype="float32", count=3, nodata=None, band_names=list("abc")
    )
    scene = open_scene(path)
    np.testing.assert_array_equal(scene.read()[0], values)
    assert [band.name for band in scene.bands] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, Affine(10, 3, 500_000, 2, -10, 5_000_000)),
        (UTM, Affine(10, 0, 500_000, 0, 10, 5_000_000)),
        (UTM, Affine(10, 0, 500_000, 0, -25, 5_000_000)),
        (None, Affine(2, 0, 100, 0, -2, 100)),
        (None, Affine(1, 0, 0, 0, -1, 0)),
        (None, Affine.identity()),
        ("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 50)),
        ("+proj=laea +lat_0=47.3 +lon_0=3.1 +x_0=17 +datum=WGS84 +units=m", Affine(30, 0, 5, 0, -30, 9)),
        ("+proj=geos +h=35785831 +lon_0=9.5 +sweep=y +ellps=GRS80", Affine(3000, 0, -1e6, 0, -3000, 4e6)),
        # GeoTIFF cannot express it, so that GDAL puts it into the .aux.xml, beside the category names.
        ("+proj=airy +lat_0=10", Affine(30, 0, 100, 0, -30, 200)),
        ("+proj=eqc +R=3396190 +units=m", Affine(5, 0, 7e6, 0, -5, -8e5)),
    ],
    ids=[
        "rotated",
        "south-up",
        "not square",
        "no crs",
        "flipped",
        "nothing",
        "degrees",
        "own",
        "geostationary",
        "airy",
        "mars",
    ],
)
def test_georeferencing_is_kept(tmp_path: Path, crs: str | None, transform: Affine) -> None:
    wkt = None if crs is None else rasterio.crs.CRS.from_string(crs).to_wkt()
    grid = Grid(30, 40, wkt, transform)
    for options in ({}, {"scheme": SCHEME}):
        written = write(tmp_path / "map.tif", np.ones((30, 40), np.uint8), grid, overwrite=True, **options)
        found = open_scene(written).grid
        assert found.transform == transform
        assert (found.crs is None) == (wkt is None)
        assert found.same_crs(grid)


def test_control_points_and_rpc_are_kept(tmp_path: Path) -> None:
    values = np.ones((1, 30, 40), np.uint8)
    coefficients = " ".join(["1"] + ["0"] * 19)
    rpc = {f"{axis}_{part}_COEFF": coefficients for axis in ("LINE", "SAMP") for part in ("NUM", "DEN")}
    rpc |= {f"{key}_{kind}": "1" for key in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT") for kind in ("OFF", "SCALE")}
    source = tmp_path / "scene.tif"
    points = [GroundControlPoint(0, 0, 10, 50, 5), GroundControlPoint(0, 40, 11, 50), GroundControlPoint(30, 0, 10, 49)]
    profile = {"driver": "GTiff", "count": 1, "height": 30, "width": 40, "dtype": "uint8"}
    for extra in ({"gcps": points, "crs": "EPSG:4326"}, {}):
        with gdal.georeference_optional(), rasterio.open(source, "w", **profile, **extra) as dataset:
            dataset.write(values)
            if not extra:
                dataset.update_tags(ns="RPC", **rpc)
        scene = open_scene(source)
        path = write(tmp_path / "map.tif", values, scene.grid, like=scene, overwrite=True)
        back = open_scene(path)
        assert scene.georeference != Georeference()
        assert back.georeference.gcps == scene.georeference.gcps
        assert back.georeference.gcp_crs == scene.georeference.gcp_crs
        assert dict(back.georeference.rpc).keys() >= rpc.keys() or extra
        assert back.grid == scene.grid
        source.unlink()


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        MapWriter(path, GRID)
    with pytest.raises(ZeroDivisionError), MapWriter(path, GRID, overwrite=True) as writer:
        writer.write(Window(0, 0, 5, 1100), np.zeros((5, 1100), np.uint8) // (1 // 0))
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
    write(path, indices(GRID), overwrite=True)
    assert open_scene(path).grid.height == 1300


def test_what_lay_beside_an_older_map_does_not_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "map.tif", SCHEME.encode(indices(GRID)), scheme=SCHEME)
    for ending in (".msk", ".ovr"):
        path.with_name(path.name + ending).write_text("old")
    write(path, np.ones((1300, 1100), np.uint8), overwrite=True)
    assert not path.with_name("map.tif.aux.xml").exists()
    assert not path.with_name("map.tif.ovr").exists()
    assert not path.with_name("map.tif.msk").exists()


def test_targets_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match=r"folder .*none .*does not exist"):
        MapWriter(tmp_path / "none" / "map.tif", GRID)
    with pytest.raises(OutputError, match=r"Name it .*map\.tif"):
        MapWriter(tmp_path / "map.png", GRID)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        MapWriter(tmp_path / "folder.tif", GRID, overwrite=True)
    with pytest.raises(OutputError, match="MiB are free"):
        MapWriter(tmp_path / "map.tif", Grid(10**9, 10**9))
    # The test may run as one who may write anywhere, so the refusal is made.
    monkeypatch.setattr("tempfile.mkdtemp", _refuse)
    with pytest.raises(OutputError, match=r"Cannot write into .*Permission denied"):
        MapWriter(tmp_path / "map.tif", GRID)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.tif"]


def _refuse(**_: Any) -> str:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scheme": SCHEME, "dtype": "float32"}, "one band of uint8"),
        ({"scheme": SCHEME, "count": 2}, "one band of uint8"),
        ({"band_names": ["a", "b"]}, "2 band names were given for 1"),
        ({"like": Scene.from_array(np.zeros((1, 4, 4)), name="other")}, "not that of the scene other"),
    ],
)
def test_maps_that_cannot_be_meant(tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(GridError, match=complaint):
        MapWriter(tmp_path / "map.tif", GRID, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("window", "values", "complaint"),
    [
        (Window(0, 0, 2, 3), np.zeros((3, 2), np.uint8), r"\[1, 3, 2\].*expected \[1, 2, 3\]"),
        (Window(1299, 0, 2, 3), np.zeros((2, 3), np.uint8), "inside the map"),
        (Window(0, 0, 1, 2), np.array([[0, 256]]), "do not fit a map of uint8"),
        (Window(0, 0, 1, 2), np.array([[0.5, 1]]), "do not fit a map of uint8"),
        (Window(0, 0, 1, 2), np.array([[np.nan, 1]]), "do not fit a map of uint8"),
    ],
)
def test_pixels_that_do_not_fit(tmp_path: Path, window: Window, values: npt.NDArray[Any], complaint: str) -> None:
    with pytest.raises(GridError, match=complaint), MapWriter(tmp_path / "map.tif", GRID) as writer:
        writer.write(window, values)
    assert list(tmp_path.iterdir()) == []


def test_wider_integers_that_fit_are_taken(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.int64).reshape(3, 4)
    path = write(tmp_path / "map.tif", values, Grid(3, 4))
    np.testing.assert_array_equal(open_scene(path).read()[0][0], values)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="file sizes can only be limited on POSIX")
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    # Writing fails at the limit wherever it falls: in the strips, the overviews, the map or its last bytes.
    program = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from sparsecover.errors import OutputError
        from sparsecover.grid import Grid, tiles
        from sparsecover.raster import MapWriter

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        folder, grid = Path(sys.argv[1]), Grid(700, 700)
        values = np.random.default_rng(0).integers(0, 250, (700, 700), dtype=np.uint8)

        def write(name):
            with MapWriter(folder / name, grid) as writer:
                for window in tiles(grid.window, 100, 700):
                    writer.write(window, values[window.slices])

        write("whole.tif")
        size = (folder / "whole.tif").stat().st_size
        limits = [500, 3000, *range(20_000, size, 60_000), size - 4000, size - 300, size - 1]
        for limit in limits:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                write("map.tif")
            except OutputError as error:
                assert "Nothing was left of it" in str(error), error
            else:
                raise SystemExit(f"no error at {limit} of {size} bytes")
            assert [p.name for p in folder.iterdir()] == ["whole.tif"], limit
        print("ok", len(limits))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.startswith("ok"), done.stdout + done.stderr


@pytest.mark.parametrize("overviews", [True, False])
def test_the_fourth_band_of_bytes_is_no_transparency(tmp_path: Path, overviews: bool) -> None:
    grid = Grid(8, 8, None, Affine.identity())
    values = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    scene = open_scene(write(tmp_path / "a.tif", values, grid, count=4, nodata=None, overviews=overviews))
    read, valid = scene.read()
    assert len(scene.bands) == 4
    assert valid.all()
    np.testing.assert_array_equal(read, values)
