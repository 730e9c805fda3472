"""Label rasters: codes, unlabelled pixels, places, palettes and colour masks, and what is refused."""

import pickle
import sqlite3
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.warp import Resampling, reproject
from shapely.geometry import box

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import GridError, LabelError, SceneError
from sparsecover.grid import Grid, Window
from sparsecover.labels import (
    LabelFile,
    LabelRaster,
    MaskFile,
    ValidPixels,
    open_labels,
    read_labels,
    valid_mask,
)
from sparsecover.raster import Scene, open_scene

UTM = CRS.from_epsg(32633).to_wkt()
PLACE = Affine(10, 0, 500_000, 0, -10, 5_800_000)
SCHEME = ClassScheme.from_dicts(
    [{"code": 0, "name": "red", "color": [255, 0, 0]}, {"code": 1, "name": "blue", "color": [0, 0, 255]}]
)


def write(folder: Path, values, *, name="labels.tif", placed=True, palette=None, **options) -> Path:
    values = np.asarray(values)
    bands = values if values.ndim == 3 else values[None]
    path = folder / name
    place = {"crs": UTM, "transform": PLACE} if placed else {}
    profile = {"driver": "PNG" if name.endswith("png") else "GTiff", "dtype": bands.dtype, "count": len(bands)}
    profile |= {"height": bands.shape[1], "width": bands.shape[2], **place, **options}
    with pytest.warns() if not placed else no_warning(), rasterio.open(path, "w", **profile) as target:
        target.write(bands)
        if palette:
            target.write_colormap(1, palette)
    return path


def no_warning():
    from contextlib import nullcontext

    return nullcontext()


def grid_of(height: int, width: int, placed: bool = True) -> Grid:
    return Grid(height, width, UTM, PLACE) if placed else Grid(height, width)


CODES = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_any_type_of_whole_numbers(tmp_path, dtype):
    found = read_labels(write(tmp_path, CODES.astype(dtype)), grid_of(2, 4))
    assert np.array_equal(found.raster.values, CODES)
    assert found.scheme.codes == (0, 1, 2, 3)  # zero is a class
    assert [row["pixels"] for row in found.table] == [2, 2, 2, 2]


def test_what_is_unlabelled(tmp_path):
    codes = np.array([[-1, 255, 7, 0], [1, 2, 7, 9]], np.int16)
    found = read_labels(write(tmp_path, codes, nodata=9), unlabelled=[0])
    assert found.scheme.codes == (1, 2, 7)
    u = UNLABELLED
    assert found.raster.values.tolist() == [[u, u, 2, u], [0, 1, 2, u]]


def test_nan_is_unlabelled_and_fractions_are_refused(tmp_path):
    found = read_labels(write(tmp_path, np.array([[1, np.nan], [2, np.inf]], np.float32)))
    assert found.raster.values.tolist() == [[0, UNLABELLED], [1, UNLABELLED]]
    with pytest.raises(LabelError, match=r"fractions \(0\.25\)"):
        read_labels(write(tmp_path, np.array([[1, 0.25]], np.float32)))


def test_more_than_255_codes_are_refused(tmp_path):
    with pytest.raises(LabelError, match=r"more than 255 different codes.*image"):
        read_labels(write(tmp_path, np.arange(400, dtype=np.int16).reshape(20, 20)))


def test_nothing_labelled(tmp_path):
    with pytest.raises(LabelError, match="no labelled pixel"):
        read_labels(write(tmp_path, np.full((3, 3), 255, np.uint8)))


def test_unknown_codes_are_listed_with_counts(tmp_path):
    path = write(tmp_path, np.array([[0, 1, 4], [4, 6, 255]], np.uint8))
    with pytest.raises(LabelError, match=r"4 \(2 times\), 6 \(1 times\)\. Known: 0 red, 1 blue"):
        read_labels(path, scheme=SCHEME)
    assert read_labels(path, scheme=SCHEME, unlabelled=[4, 6]).raster.counts(2).tolist() == [1, 1]


def test_a_class_may_have_the_code_255(tmp_path):
    scheme = ClassScheme.from_codes({0: "a", 255: "b"})
    found = read_labels(write(tmp_path, np.array([[0, 255]], np.uint8)), scheme=scheme)
    assert found.raster.values.tolist() == [[0, 1]]


def test_large_rasters_are_read_whole_in_strips(tmp_path):
    codes = np.arange(1300, dtype=np.int64)[:, None].repeat(5, 1) % 7
    found = read_labels(write(tmp_path, codes.astype(np.uint8)))
    assert np.array_equal(found.raster.values, codes)


def test_aligned_up_to_the_last_digits(tmp_path):
    grid = Grid(2, 4, UTM, PLACE @ Affine.translation(1e-4, -1e-4))
    found = read_labels(write(tmp_path, CODES.astype(np.uint8)), grid)
    assert np.array_equal(found.raster.values, CODES)
    assert found.raster.grid == grid
    assert not found.notes


@pytest.mark.parametrize("nodata", [None, 200])
def test_other_pixels_are_warped_by_nearest(tmp_path, nodata):
    codes = np.random.default_rng(0).integers(0, 5, (60, 80)).astype(np.uint8)
    path = write(tmp_path, codes, nodata=nodata)
    turned = PLACE @ Affine.translation(10.3, 12.2) @ Affine.rotation(20) @ Affine.scale(1.3)
    for crs, transform in ((UTM, turned), (CRS.from_epsg(3035).to_wkt(), Affine(12, 0, 4_640_000, 0, -12, 3_253_000))):
        grid = Grid(90, 70, crs, transform)
        if crs != UTM:  # put the other system's grid where the labels are
            from pyproj import Transformer

            x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(500_100, 5_799_900)
            grid = Grid(90, 70, crs, Affine(12, 0, x, 0, -12, y))
        expected = np.full((90, 70), UNLABELLED, np.uint8)
        reproject(
            codes, expected, src_transform=PLACE, src_crs=UTM, dst_transform=grid.transform, dst_crs=crs,
            resampling=Resampling.nearest, src_nodata=201, dst_nodata=UNLABELLED,
        )  # fmt: skip
        found = read_labels(path, grid)
        assert np.array_equal(found.raster.values, expected)
        assert 0 < (expected == UNLABELLED).mean() < 1
        assert any("nearest neighbour" in note for note in found.notes)


def test_labels_beside_the_scene(tmp_path):
    path = write(tmp_path, CODES.astype(np.uint8))
    with pytest.raises(LabelError, match="lie beside the scene"):
        read_labels(path, Grid(2, 4, UTM, PLACE @ Affine.translation(1000, 0)))


def test_without_georeferencing_sizes_decide(tmp_path):
    path = write(tmp_path, CODES.astype(np.uint8), name="a.png", placed=False)
    assert np.array_equal(read_labels(path, grid_of(2, 4, placed=False)).raster.values, CODES)
    found = read_labels(path, grid_of(2, 4))
    assert np.array_equal(found.raster.values, CODES)
    assert any("the labels have no georeferencing" in note for note in found.notes)
    with pytest.raises(LabelError, match=r"2 x 4 pixels .* the scene 3 x 4"):
        read_labels(path, grid_of(3, 4))


def test_labels_on_invalid_pixels_are_dropped_and_counted(tmp_path):
    path = write(tmp_path, CODES.astype(np.uint8))
    valid = np.ones((2, 4), bool)
    valid[:, 0] = False
    found = read_labels(path, valid=valid)
    assert (found.raster.values[:, 0] == UNLABELLED).all()
    assert any("2 labelled pixels lie on pixels without data" in note for note in found.notes)
    with pytest.raises(LabelError, match="No labelled pixel is left"):
        read_labels(path, valid=np.zeros((2, 4), bool))
    with pytest.raises(GridError):
        read_labels(path, valid=np.ones((3, 4), bool))


def test_names_and_colours_of_a_palette(tmp_path):
    palette = {0: (1, 2, 3, 255), 1: (10, 20, 30, 255), 2: (11, 21, 31, 255)}
    path = write(tmp_path, np.array([[1, 2]], np.uint8), palette=palette)
    names = "".join(f"<Category>{name}</Category>" for name in ("", "meadow", ""))
    Path(f"{path}.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    scheme = read_labels(path).scheme
    assert scheme.names == ("meadow", "2")
    assert scheme.colors == ((10, 20, 30), (11, 21, 31))


RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (120, 120, 120)


def colors(*pixels) -> np.ndarray:
    return np.array(pixels, np.uint8).T[:, None, :]


def test_colour_masks(tmp_path):
    path = write(tmp_path, colors(RED, BLUE, BLUE))
    assert read_labels(path, scheme=SCHEME).raster.values.tolist() == [[0, 1, 1]]
    with pytest.raises(LabelError, match="colours rather than codes"):
        read_labels(path)
    grey = write(tmp_path, colors(RED, GREY, GREY), name="grey.tif")
    with pytest.raises(LabelError, match=r"#787878 \(2 times\)"):
        read_labels(grey, scheme=SCHEME)
    assert read_labels(grey, scheme=SCHEME, unlabelled=[0x787878]).raster.counts(2).tolist() == [1, 0]


def test_a_colour_is_nodata_only_where_all_its_bands_are(tmp_path):
    path = write(tmp_path, colors(RED, BLUE, (0, 0, 0), BLUE), nodata=0)
    assert read_labels(path, scheme=SCHEME).raster.values.tolist() == [[0, 1, UNLABELLED, 1]]
    halved = read_labels(path, Grid(2, 8, UTM, PLACE @ Affine.scale(0.5)), scheme=SCHEME).raster.values
    assert halved.tolist() == [[0, 0, 1, 1, UNLABELLED, UNLABELLED, 1, 1]] * 2


def test_a_header_that_places_all_pixels_on_one_point_is_none(tmp_path):
    path = write(tmp_path, CODES.astype(np.uint8), transform=Affine(0, 0, 500_000, 0, 0, 5_800_000))
    found = read_labels(path, grid_of(2, 4))
    assert np.array_equal(found.raster.values, CODES)
    assert any("the labels have no georeferencing" in note for note in found.notes)
    with pytest.raises(LabelError, match="sizes must be equal"):
        read_labels(path, grid_of(4, 4))


def test_blurred_colours_snap_to_pure_ones(tmp_path):
    path = write(tmp_path, colors((250, 3, 1), (9, 0, 199)))
    with pytest.raises(LabelError):
        read_labels(path, scheme=SCHEME)
    assert read_labels(path, scheme=SCHEME, snap=True).raster.values.tolist() == [[0, 1]]


def test_palette_masks_can_be_read_by_colour(tmp_path):
    path = write(tmp_path, np.array([[4, 7]], np.uint8), palette={4: (*BLUE, 255), 7: (*RED, 255)})
    assert read_labels(path, scheme=SCHEME, by_color=True).raster.values.tolist() == [[1, 0]]


def test_a_mask_that_became_rgb(tmp_path):
    found = read_labels(write(tmp_path, np.stack([CODES] * 3).astype(np.uint8)))
    assert np.array_equal(found.raster.values, CODES)
    assert any("equal bands" in note for note in found.notes)


def test_other_stacks_are_refused(tmp_path):
    with pytest.raises(LabelError, match="5 different bands"):
        read_labels(write(tmp_path, np.arange(20, dtype=np.uint8).reshape(5, 2, 2)))


def test_unreadable_files(tmp_path):
    with pytest.raises(LabelError, match="do not exist"):
        open_labels(tmp_path / "missing.tif", grid_of(2, 4))
    with pytest.raises(LabelError, match="no such file"):
        read_labels(tmp_path / "missing.tif")
    pointer = tmp_path / "pointer.tif"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(LabelError, match="Git LFS"):
        read_labels(pointer)


def test_a_truncated_file(tmp_path):
    whole = write(tmp_path, np.random.default_rng(0).integers(0, 5, (600, 600)).astype(np.uint8))
    data = whole.read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(LabelError, match=r"Is the file whole|cannot be read"):
        read_labels(tmp_path / "cut.tif")


def test_open_labels_refuses_vector_options_for_rasters(tmp_path):
    path = write(tmp_path, CODES.astype(np.uint8))
    assert open_labels(path, grid_of(2, 4), field=None, width_m=None).scheme.codes == (0, 1, 2, 3)
    (tmp_path / "clicks.csv").write_text("x,y,class\n1.0,2.0,water\n")
    with pytest.raises(LabelError, match=r"clicks.csv is a table.*GeoPackage"):
        open_labels(tmp_path / "clicks.csv", grid_of(2, 4), field="class")
    with pytest.raises(LabelError, match=r"clicks.csv is a table.*GeoPackage"):
        read_labels(tmp_path / "clicks.csv")
    with pytest.raises(LabelError, match="field can only be given with vector labels"):
        open_labels(path, grid_of(2, 4), field="class")


def test_reading_windows_of_a_label_raster():
    raster = LabelRaster(np.arange(12, dtype=np.uint8).reshape(3, 4), Grid(3, 4))
    u = UNLABELLED
    assert raster.read(Window(2, 3, 2, 2)).tolist() == [[11, u], [u, u]]
    assert raster.read(Window(-5, -5, 2, 2)).tolist() == [[u, u], [u, u]]
    raster.read(Window(0, 0, 1, 1))[:] = 99
    assert raster.values[0, 0] == 0
    with pytest.raises(LabelError, match="index 5, but there are only 5"):
        raster.counts(5)
    with pytest.raises(LabelError, match="uint8"):
        LabelRaster(np.zeros((3, 4), np.int64), Grid(3, 4))


def test_resizing_by_nearest():
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    raster = LabelRaster(values, Grid(4, 6))
    assert np.array_equal(raster.resized(Grid(8, 12)).values, values.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(raster.resized(Grid(2, 2)).values, values[1::2, 1::3])


def test_labels_in_their_file_are_those_in_memory(tmp_path):
    codes = np.random.default_rng(1).integers(0, 4, (700, 90)).astype(np.uint8)
    path = write(tmp_path, codes, nodata=3)
    memory = read_labels(path)
    file = pickle.loads(pickle.dumps(LabelFile(MaskFile.open(path), memory.scheme)))  # noqa: S301
    for window in (Window(-3, 50, 40, 80), Window(500, 0, 200, 90), Window(900, 0, 5, 5)):
        assert np.array_equal(file.read(window), memory.raster.read(window))
    assert np.array_equal(file.values, memory.raster.values)
    assert file.counts(3).tolist() == memory.raster.counts(3).tolist()
    assert np.array_equal(file.resized(Grid(70, 9)).values, memory.raster.resized(Grid(70, 9)).values)


def test_labels_in_their_file_within_windows_and_sampled(tmp_path):
    codes = np.zeros((100, 100), np.uint8)
    path = write(tmp_path, codes)
    whole = LabelFile(MaskFile.open(path), ClassScheme.from_names(["a"]))
    part = replace(whole, windows=(Window(0, 0, 10, 10), Window(50, 50, 10, 10)))
    assert part.counts(1).tolist() == [200]
    assert (part.read(Window(5, 5, 50, 50)) == 0).sum() == 25 + 25
    sampled = LabelFile(whole.file, whole.scheme, fraction=0.3, seed=1, scene_id="x")
    assert np.array_equal(sampled.values[20:40, 30:70], sampled.read(Window(20, 30, 20, 40)))
    assert sampled.counts(1)[0] == pytest.approx(3000, rel=0.1)


def holed(folder: Path) -> Scene:
    """A scene of 600 x 1100 pixels: 2 x 3 blocks, of which the first and the third have a row and a pixel of nodata."""
    values = np.ones((600, 1100), np.uint8)
    values[3, :5] = values[0, 1099] = 0
    return open_scene(write(folder, values, name="scene.tif", nodata=0))


def test_labels_in_their_file_are_none_where_the_scene_has_no_data(tmp_path, monkeypatch):
    codes = np.random.default_rng(1).integers(0, 4, (600, 1100)).astype(np.uint8)
    path, scene = write(tmp_path, codes, nodata=3), holed(tmp_path)
    expected = read_labels(path, scene.grid, valid=valid_mask(scene)).raster
    file = LabelFile(MaskFile.open(path, scene.grid), expected.scheme, valid=ValidPixels(scene))
    for labels in (file, pickle.loads(pickle.dumps(file))):  # noqa: S301
        assert np.array_equal(labels.read(Window(-3, 1000, 40, 180)), expected.read(Window(-3, 1000, 40, 180)))
        assert labels.counts(3).tolist() == expected.counts(3).tolist()
        assert np.array_equal(labels.values, expected.values)
    read: list[Window] = []
    reads = Scene.read
    monkeypatch.setattr(Scene, "read", lambda scene, window: (read.append(window), reads(scene, window))[1])
    assert np.array_equal(file.values, expected.values)
    assert not read  # what was seen of the scene is known
    bare = open_scene(write(tmp_path, np.zeros((600, 1100), np.uint8), name="bare.tif"))
    assert replace(file, valid=ValidPixels(bare)).counts(3).sum() > expected.counts(3).sum()
    assert not read  # a file of whole numbers that marks no pixel has none without data
    sampled, whole = (replace(file, valid=valid, fraction=0.3) for valid in (file.valid, None))
    assert np.array_equal(sampled.values, np.where(expected.values == UNLABELLED, UNLABELLED, whole.values))


def test_a_damaged_scene_is_left_to_those_who_read_its_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(1, 255, (600, 600), np.uint8)
    scene = write(tmp_path, noise, name="scene.tif", nodata=0)
    labels = write(tmp_path, np.zeros((600, 600), np.uint8))
    opened = open_scene(scene)
    scene.write_bytes(scene.read_bytes()[:200_000])
    file = LabelFile(MaskFile.open(labels, opened.grid), SCHEME, valid=ValidPixels(opened))
    with pytest.raises(SceneError):
        opened.read()
    assert file.counts(2).tolist() == [360_000, 0]


def test_real_sen1floods(real_data):
    folder = real_data / "sen1floods11_s1"
    for image in sorted((folder / "S1").glob("*.tif")):
        with rasterio.open(image) as source:
            grid = Grid(source.height, source.width, source.crs.to_wkt(), source.transform)
        path = folder / "labels" / image.name.replace("S1Hand", "LabelHand")
        if image.name.startswith("Ghana_83483"):
            with pytest.raises(LabelError, match="no labelled pixel"):
                read_labels(path, grid)
            continue
        with rasterio.open(path) as source:
            codes = source.read(1)
        found = read_labels(path, grid, scheme=ClassScheme.from_codes({0: "dry", 1: "water"}))
        assert not found.notes or not any("nearest" in note for note in found.notes)
        assert np.array_equal(found.raster.values, np.where(codes == -1, UNLABELLED, codes))


def test_real_float_masks(real_data):
    path = next((real_data / "enmap_potsdam_hyperspectral" / "labels").glob("*.tif"))
    found = read_labels(path, unlabelled=[0])
    assert set(found.scheme.codes) <= {1, 2, 3, 4, 5, 6}


def test_real_mask_that_became_rgb(real_data):
    found = read_labels(real_data / "landcover_ai_masks_only" / "N-34-97-D-c-2-4.tif")
    assert [row["pixels"] for row in found.table] == [4680745, 11360, 10361189, 4493611, 215655]


@pytest.mark.parametrize("name", ["empty_0_bytes.tif", "lfs_pointer_not_a_tif.tif", "corrupt.tif"])
def test_real_broken_files(real_data, name):
    with pytest.raises(LabelError):
        read_labels(real_data / "geotiff_zoo" / name)


def test_coordinate_systems_without_a_way_between_them(tmp_path):
    moon = 'GEOGCS["Moon",DATUM["Moon",SPHEROID["Moon",1737400,0]],PRIMEM["0",0],UNIT["degree",0.0174532925199433]]'
    labels = write(tmp_path, CODES.astype(np.uint8), crs=moon, transform=Affine(0.1, 0, 10, 0, -0.1, 50))
    with pytest.raises(LabelError, match=r"labels\.tif cannot be transformed to the scene's.*gdal_edit -a_srs"):
        MaskFile.open(labels, grid_of(2, 4))


def test_several_bands_that_end_too_early(tmp_path):
    labels = write(tmp_path, np.random.default_rng(0).integers(0, 2, (3, 200, 200), np.uint8))
    labels.write_bytes(labels.read_bytes()[:20_000])
    with pytest.raises(LabelError, match=r"labels\.tif cannot be read.*Is the file whole"):
        MaskFile.open(labels)


def test_a_geopackage_with_a_damaged_geometry(tmp_path):
    path = tmp_path / "labels.gpkg"
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[box(500_000, 5_799_980, 500_020, 5_799_990)], crs=UTM).to_file(path)
    with sqlite3.connect(path) as file:
        for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{trigger}"')
        ((content,),) = file.execute("SELECT geom FROM labels")
        # Its ring claims to have three points, and does not close.
        damaged = content.replace((5).to_bytes(4, "little"), (3).to_bytes(4, "little"))
        assert damaged != content
        file.execute("UPDATE labels SET geom = ?", (damaged,))
    with pytest.raises(LabelError, match=r"labels\.gpkg cannot be read.*it is damaged") as caught:
        open_labels(path, grid_of(2, 4))
    assert isinstance(caught.value.__cause__, shapely.errors.ShapelyError)


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_next(tmp_path: Path) -> None:
    broken = write(tmp_path, np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8), name="a.tif")
    broken.write_bytes(broken.read_bytes()[:50_000])
    labels = MaskFile.open(write(tmp_path, [[0, 1], [1, 1]], name="b.tif"))
    with pytest.raises(SceneError, match=r"a\.tif"):
        open_scene(broken).read()
    np.testing.assert_array_equal(labels.codes(Window(0, 0, 2, 2))[0], [[0, 1], [1, 1]])
