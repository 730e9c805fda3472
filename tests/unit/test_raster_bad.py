"""Files that cannot be meant: each gives one SceneError with what was given, what was expected and what to do."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from sparsecover.errors import SceneError
from sparsecover.grid import Window
from sparsecover.raster import Scene, gdal, open_scene


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"none\.tif: there is no such file.*GeoTIFF.*spelling"):
        open_scene(tmp_path / "none.tif")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"it is a directory\. Give the raster files"):
        open_scene(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty .0 bytes.*download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b"just some text", "not recognized.*truncated or corrupt"),
        (b"II*\0\x08\0\0\0", "truncated or corrupt"),
    ],
    ids=["empty", "lfs", "html", "text", "header only"],
)
def test_files_that_are_no_raster(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(SceneError, match=complaint):
        open_scene(tmp_path / "a.tif")


def test_virtual_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="Check the address"):
        open_scene(f"/vsizip/{tmp_path}/none.zip/a.tif")


def test_no_file_at_all() -> None:
    with pytest.raises(SceneError, match="No file was given"):
        open_scene([])


def test_complex_values(tmp_path: Path) -> None:
    with (
        gdal.georeference_optional(),
        rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", count=1, height=2, width=2, dtype="complex64"
        ) as dataset,
    ):
        dataset.write(np.ones((1, 2, 2), np.complex64))
    with pytest.raises(SceneError, match=r"complex64.*expected real ones.*amplitude"):
        open_scene(tmp_path / "a.tif")


@pytest.mark.parametrize("driver", ["GTiff", "JPEG", "PNG", "JP2OpenJPEG"])
def test_truncated_files_fail_on_reading_and_name_the_place(tmp_path: Path, driver: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 200, 200), dtype=np.uint8)
    path = tmp_path / "a.bin"
    with (
        gdal.georeference_optional(),
        rasterio.open(path, "w", driver=driver, count=3, height=200, width=200, dtype="uint8") as dataset,
    ):
        dataset.write(values)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(SceneError, match=r"rows 0 to 199, columns 0 to 199 of .*a\.bin.*truncated or corrupt"):
        open_scene(path).read()


def test_a_header_may_claim_any_size(tmp_path: Path) -> None:
    band = '<VRTRasterBand dataType="Float64" band="1"/>'
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="1000000000" rasterYSize="1000000000">{band}</VRTDataset>'
    )
    scene = open_scene(tmp_path / "a.vrt")
    assert scene.read(Window(999_999_990, 5, 20, 20))[1].sum() == 200
    for whole in (scene.read, scene.cached, lambda: scene.resized(10**6, 10**6).read()):
        with pytest.raises(SceneError, match=r"GiB; at most 8 GiB are read at once"):
            whole()


def test_bounds_hold_for_windows_outside_too() -> None:
    with pytest.raises(SceneError, match="Read by window"):
        Scene.from_array(np.zeros((1, 2, 2), np.uint8)).read(Window(-(10**6), 0, 10**6, 10**6))
