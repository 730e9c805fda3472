"""Real files: odd and broken GeoTIFFs, and the scenes that trainings start from."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sparsecover.classes import ClassScheme
from sparsecover.errors import GridError, SceneError
from sparsecover.grid import Window, tiles
from sparsecover.raster import MapWriter, Scene, drop_empty_bands, gdal, open_scene

# Bands, dtype as read, share of valid pixels (as gdalinfo -stats and the sets' READMEs have them, or None) by file.
ZOO = {
    "RGB.byte": (3, "uint8", None),
    "RGB2.byte": (3, "uint8", None),
    "RGBA.uint16": (3, "uint16", None),
    "all-nodata": (4, "uint16", 0.0),
    "alpha": (3, "uint8", None),
    "clp": (1, "uint8", None),
    "cog_cmap": (1, "uint8", None),
    "cog_dateline": (1, "uint16", 1.0),
    "cog_gcps": (1, "uint16", 1.0),
    "cog_gradient": (1, "float32", 1.0),
    "cog_hirise_mars": (3, "uint8", 1.0),
    "cog_nodata_nan": (1, "float32", None),
    "cog_nonearth": (1, "float32", None),
    "cog_rgb_mask": (3, "uint8", None),
    "cog_rgba": (3, "uint8", None),
    "cog_scale": (2, "float32", None),
    "cog_tags": (1, "float32", None),
    "cog_uint8_rgb_nodata": (3, "uint8", 0.75),
    "cogeo": (3, "uint8", None),
    "float": (1, "float64", 1.0),
    "float_nan": (1, "float32", 5 / 6),
    "float_raster_with_nodata": (1, "float32", None),
    "goes": (3, "uint8", None),
    "green": (3, "uint8", 1.0),
    "pix4d_alpha_nodata": (3, "uint8", None),
    "red": (3, "uint8", None),
    "rgb1_fake_nir_epsg3857": (1, "uint8", None),
    "rotated": (1, "uint8", 1.0),
    "test_esri_wkt": (1, "uint16", 1.0),
    "world.byte": (1, "uint8", 1.0),
    "world.rgb": (3, "uint8", 1.0),
}
BROKEN = {
    "corrupt": r"Cannot read rows 0 to 1023.*TIFFReadEncodedTile.*download it again",
    "empty_0_bytes": "the file is empty",
    "lfs_pointer_not_a_tif": "git lfs pull",
    "truncated_half_RGB.byte": "truncated or corrupt: copy or download it again",
}


def test_every_file_of_the_zoo_is_known(real_data: Path) -> None:
    assert {p.name.removesuffix(".tif") for p in (real_data / "geotiff_zoo").glob("*.tif")} == {*ZOO, *BROKEN}


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_reads(real_data: Path, name: str) -> None:
    count, dtype, share = ZOO[name]
    path = real_data / "geotiff_zoo" / f"{name}.tif"
    scene = open_scene(path)
    values, valid = scene.read()
    assert values.shape == (count, scene.grid.height, scene.grid.width)
    assert scene.dtype == values.dtype == np.dtype(dtype)
    assert np.isfinite(values).all()
    assert not values[:, ~valid].any()
    if share is not None:
        assert valid.mean() == pytest.approx(share)
    # GDAL's own masks, all bands together; ours also leave out NaN, and what JPEG blurred in the alpha band.
    with gdal.georeference_optional(), rasterio.open(path) as dataset:
        theirs = (dataset.read_masks(list(range(1, count + 1))) > 0).all(axis=0)
    assert (valid <= theirs).all()
    if name not in {"alpha", "cog_nodata_nan"}:
        np.testing.assert_array_equal(valid, theirs)
    window = Window(scene.grid.height // 3, scene.grid.width // 4, 50, 60)
    part, part_valid = scene.read(window)
    rows, cols = window.intersect(scene.grid.window).slices
    np.testing.assert_array_equal(part[:, : rows.stop - rows.start, : cols.stop - cols.start], values[:, rows, cols])
    assert part_valid.sum() == valid[rows, cols].sum()
    assert max(scene.preview(64)[0].shape[1:]) <= 64
    assert scene.grid.pixel_area_ha is None or scene.grid.pixel_area_ha > 0
    assert pickle.loads(pickle.dumps(scene)).grid == scene.grid  # noqa: S301 (our own bytes)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_say_why(real_data: Path, name: str) -> None:
    with pytest.raises(SceneError, match=BROKEN[name]):
        open_scene(real_data / "geotiff_zoo" / f"{name}.tif").read()


@pytest.mark.parametrize("name", [n for n in ZOO if n != "cog_cmap"])
def test_a_map_of_every_scene_lies_where_the_scene_does(real_data: Path, tmp_path: Path, name: str) -> None:
    scene = open_scene(real_data / "geotiff_zoo" / f"{name}.tif")
    scheme = ClassScheme.from_names(["a", "b"])
    with MapWriter(tmp_path / "map.tif", scene.grid, scheme=scheme, like=scene) as writer:
        for window in tiles(scene.grid.window, 200, scene.grid.width):
            writer.write(window, np.where(scene.read(window)[1], 1, 255))
    written = open_scene(tmp_path / "map.tif")
    assert written.grid.matches(scene.grid, 1e-6)
    assert (written.grid.crs is None) == (scene.grid.crs is None)
    assert written.georeference == scene.georeference
    np.testing.assert_array_equal(written.read()[1], scene.read()[1])


def test_naip_years_are_no_stack(real_data: Path) -> None:
    folder = real_data / "naip_scenes"
    with pytest.raises(GridError, match="does not cover the ground"):
        open_scene([folder / f"m_4709963_se_14_1_{day}.tif" for day in ("20090818", "20200831")])
    pair = open_scene([folder / "landsat_1985.tif", folder / "landsat_2020.tif"])
    assert len(pair.bands) == 8
    assert len({band.name for band in pair.bands}) == 8


def test_radar_and_optical_chips_are_a_stack(real_data: Path) -> None:
    folder = real_data / "sen1floods11_s1" / "optical_triplet"
    paths = [p for p in sorted(folder.glob("*.tif")) if "label" not in p.name.lower()]
    scene = open_scene(paths)
    assert len(scene.bands) == 15
    assert scene.dtype == np.float32
    values, valid = scene.read()
    assert valid.any()
    assert {"VV", "VH", "B1"} <= {band.name for band in scene.bands}
    np.testing.assert_array_equal(values[:, valid][-1], open_scene(paths[-1]).read()[0][-1][valid])


def test_a_chip_of_nan_opens_and_is_all_invalid(real_data: Path) -> None:
    path = next((real_data / "sen1floods11_s1" / "S1").glob("Paraguay*.tif"))
    values, valid = open_scene(path).read()
    assert not valid.any()
    assert not values.any()


def test_hyperspectral_tiles_keep_empty_bands_that_can_be_left_out(real_data: Path) -> None:
    scene = open_scene(next((real_data / "enmap_potsdam_hyperspectral" / "images").glob("*.tif")))
    assert len(scene.bands) == 224
    assert not scene.read()[1].any()
    (kept,), notes = drop_empty_bands([scene])
    assert len(kept.bands) == 218
    assert "6 bands" in notes[0]
    values, valid = kept.read()
    assert valid.all()
    assert kept.bands[129].name == "band_136"
    np.testing.assert_array_equal(scene.select([200, 3, 101]).read()[0], values[[193, 2, 100]])
    half = kept.resized(16, 16)
    np.testing.assert_array_equal(half.read(Window(3, 5, 8, 9))[0], half.read()[0][:, 3:11, 5:14])


def test_colour_and_infrared_files_are_a_stack(real_data: Path) -> None:
    folder = real_data / "sentinel2_india_4class"
    color = sorted((folder / "images_rgb").iterdir())[0]
    infrared = sorted((folder / "images_ir").iterdir())[0]
    scene = open_scene([color, infrared])
    assert len(scene.bands) == 4
    assert scene.read()[0].shape[0] == 4


def test_half_a_dubai_tile(real_data: Path) -> None:
    scene: Scene = open_scene(sorted((real_data / "dubai_mbrsc" / "images").glob("*.jpg"))[0])
    height, width = scene.grid.height // 2, scene.grid.width // 2
    half = scene.resized(height, width)
    values, valid = half.cached().read()
    assert valid.all()
    window = Window(height // 2, width // 3, 100, 90)
    np.testing.assert_array_equal(half.read(window)[0], values[(slice(None), *window.slices)])
    assert values.mean() == pytest.approx(scene.read()[0].mean(), abs=0.5)


def test_custom_projection_and_declared_nodata(real_data: Path) -> None:
    scene = open_scene(next((real_data / "vector_labels" / "custom_proj").glob("*.tif")))
    values, valid = scene.read()
    assert values.dtype == np.int16
    assert not (values == -9999).any()
    assert scene.grid.is_georeferenced
    assert valid.any()
