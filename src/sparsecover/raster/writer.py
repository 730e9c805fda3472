"""MapWriter: row strips in, a tiled Cloud Optimized GeoTIFF out, whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.windows import Window as GdalWindow

from sparsecover.classes import ClassScheme
from sparsecover.errors import GridError, OutputError
from sparsecover.grid import Grid, Window
from sparsecover.raster import gdal
from sparsecover.raster.file import Georeference
from sparsecover.raster.scene import Scene
from sparsecover.raster.style import color_table, write_categories, write_qml

BLOCK_PX = 512

# Blocks of the temporary file are low: a row of them is what strips are gathered in before they reach the disk.
_STRIP_PX = 64

# Turning strips into a map goes block by block; more cache would only make memory grow with the map.
_CONVERSION_CACHE_BYTES = 32 * 2**20

# Of compression: the usual 6 takes 1.6 times as long for files 4% smaller.
_LEVEL = 5

# Maps compress to a tenth and less, so less room than this share of the pixels is unlikely to be enough.
_LEAST_SHARE = 0.1
_PIXELS = "pixels.tif"  # the temporary file
_SIDECARS = (".aux.xml", ".msk", ".ovr")


@dataclass(frozen=True)
class _Layout:
    """How pixels lie in the file that they are written to; from one for ``overviews`` a COG is made in the end."""

    block: tuple[int, int]  # height, width
    level: int
    overviews: bool

    @classmethod
    def plan(cls, grid: Grid, overviews: bool) -> Self:
        if overviews:
            return cls((_STRIP_PX, BLOCK_PX), 1, True)
        side = min(BLOCK_PX, -(-max(grid.height, grid.width) // 16) * 16)  # tiles are multiples of 16 pixels
        return cls((side, side), _LEVEL, False)

    @property
    def options(self) -> dict[str, Any]:
        """GDAL's."""
        height, width = self.block
        return {
            "tiled": True, "blockxsize": width, "blockysize": height, "compress": "deflate", "zlevel": self.level,
            "alpha": "no",  # else GDAL takes the fourth of four bands of bytes for transparency, and infrared is none
        }  # fmt: skip


class MapWriter:
    """Write a map of any size in bounded memory; use it as a context manager.

    Pixels go into a temporary file in a hidden folder beside the target. On leaving the ``with`` block it is made a
    tiled COG with overviews (by mode for class maps, else by average) and renamed. After an error nothing is left, and
    an older file of that name is as it was. Pixels never written are ``nodata``. The bytes of the result depend on
    the pixels alone, not on how they were cut into strips.

    Args:
        path: the target, ending in .tif or .tiff.
        grid: its size, coordinate system and transform.
        dtype: NumPy dtype of the pixels.
        count: number of bands.
        nodata: the value of pixels without data, or None.
        scheme: the classes of a class map, whose pixels are the scheme's ``map_codes`` (``scheme.encode`` makes them
            from indices). Adds colour table, category names and a .qml beside the map. One band of uint8 only.
        band_names: a name for each band.
        overwrite: replace an existing file.
        tags: text items for the file's metadata.
        like: the scene that was mapped; its ground control points and RPC are kept.
        overviews: False writes a plain tiled GeoTIFF once, five times as fast: for what is read rather than looked at.
            Its bytes may depend on the strips.

    Raises:
        OutputError: on construction for a target that cannot be written (folder missing, not writable or without
            room, file there already); later where writing fails.

    Example:
        >>> with MapWriter("map.tif", scene.grid, scheme=scheme, like=scene) as writer:  # doctest: +SKIP
        ...     for window in tiles(scene.grid.window, 256, scene.grid.width):
        ...         writer.write(window, scheme.encode(indices(window)))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        *,
        dtype: str = "uint8",
        count: int = 1,
        nodata: float | None = 255,
        scheme: ClassScheme | None = None,
        band_names: Sequence[str] | None = None,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        like: Scene | None = None,
        overviews: bool = True,
    ) -> None:
        self.path = Path(path)
        self.grid = grid
        self._layout = _Layout.plan(grid, overviews)
        self._dtype = np.dtype(dtype)
        self._scheme = scheme
        self._check_arguments(count, band_names, like)
        _check_target(self.path, overwrite, grid.window.size * count * self._dtype.itemsize)
        self._folder = _hidden_folder(self.path)
        with self._nothing_left_after_errors():
            self._dataset = self._create(count, nodata, like.georeference if like else Georeference())
            self._dataset.update_tags(**(tags or {}))
            for index, band_name in enumerate(band_names or (), 1):
                self._dataset.set_band_description(index, band_name)
            if scheme is not None:
                self._dataset.write_colormap(1, color_table(scheme))

    def write(self, window: Window, values: npt.NDArray[Any]) -> None:
        """Write values [C, h, w], or [h, w] of a single band, as they are.

        Raises:
            GridError: a window outside the grid, or values of another shape or that the dtype cannot hold.
            OutputError: the disk is full or gone; the writer is then closed and nothing is left.
        """
        values = values[None] if values.ndim == 2 else values
        expected = (self._dataset.count, window.height, window.width)
        if window.intersect(self.grid.window) != window or values.shape != expected:
            raise GridError(
                f"Values {list(values.shape)} for {window} were given to a map of {self._dataset.count} bands and "
                f"{self.grid.height} x {self.grid.width} pixels; expected {list(expected)} and a window inside the map."
            )
        place = GdalWindow(window.col, window.row, window.width, window.height)
        stored = self._stored(values)
        with self._nothing_left_after_errors(), gdal.environment():
            self._dataset.write(stored, window=place)

    def close(self) -> None:
        """Finish the map under its own name. Leaving the ``with`` block does it."""
        with self._nothing_left_after_errors():
            result = self._finish()
            if self._scheme is not None:
                write_qml(result.with_suffix(".qml"), self._scheme)
                result.with_suffix(".qml").replace(self.path.with_suffix(".qml"))
            for ending in _SIDECARS:  # those of an older file would be taken for the new one's
                _move_or_remove(_beside(result, ending), _beside(self.path, ending))
            result.replace(self.path)
        shutil.rmtree(self._folder, ignore_errors=True)

    def discard(self) -> None:
        """Give up: leave nothing of the new map."""
        with suppress(*gdal.GDAL_ERRORS, AttributeError), gdal.environment():  # not there yet, or not to be flushed
            self._dataset.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _check_arguments(self, count: int, band_names: Sequence[str] | None, like: Scene | None) -> None:
        if self._scheme is not None and (count != 1 or self._dtype != np.uint8):
            raise GridError(f"A class map is one band of uint8; asked for {count} of {self._dtype}.")
        if band_names is not None and len(band_names) != count:
            raise GridError(f"{len(band_names)} band names were given for {count} bands.")
        if like is not None and (like.grid.height, like.grid.width) != (self.grid.height, self.grid.width):
            raise GridError(
                f"The map's grid is not that of the scene {like.name}, whose georeferencing it should keep."
            )

    def _stored(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if values.dtype == self._dtype:
            return values
        with np.errstate(invalid="ignore"):
            stored = values.astype(self._dtype)
        if self._dtype.kind in "iu" and not np.array_equal(stored, values):
            raise GridError(f"Values of dtype {values.dtype} do not fit a map of {self._dtype}; round and limit them.")
        return stored

    def _create(self, count: int, nodata: float | None, georeference: Georeference) -> Any:
        grid, placed = self.grid, self.grid.transform != Affine.identity()
        crs = grid.crs or georeference.gcp_crs
        options: dict[str, Any] = {"transform": grid.transform} if placed else {}
        if georeference.gcps and not placed:
            options["gcps"] = [GroundControlPoint(*point) for point in georeference.gcps]
        with gdal.environment(), gdal.georeference_optional():
            dataset = rasterio.open(
                self._folder / _PIXELS, "w", driver="GTiff", height=grid.height, width=grid.width, count=count,
                dtype=self._dtype.name, nodata=nodata, crs=crs, interleave="band", sparse_ok=True, BIGTIFF="IF_SAFER",
                **self._layout.options, **options,
            )  # fmt: skip
            dataset.update_tags(ns="RPC", **dict(georeference.rpc))
        return dataset

    def _finish(self) -> Path:
        with gdal.environment():
            self._dataset.close()
        written = self._folder / _PIXELS
        if self._scheme is not None:
            write_categories(_beside(written, ".aux.xml"), self._scheme)
        with gdal.environment(_CONVERSION_CACHE_BYTES):
            if self._layout.overviews:
                written = self._convert(written)
            # Not every write that failed is reported: a full disk shows for certain when the map is read back.
            with gdal.open_raster(str(written)) as result:
                result.checksum(1)
        return written

    def _convert(self, written: Path) -> Path:
        """A COG made of the written file: the driver keeps custom systems, control points, RPC, rotated transforms."""
        result = self._folder / "map.tif"
        rasterio.shutil.copy(
            written, result, driver="COG", COMPRESS="DEFLATE", LEVEL=_LEVEL, BLOCKSIZE=BLOCK_PX, BIGTIFF="IF_SAFER",
            OVERVIEW_RESAMPLING="AVERAGE" if self._scheme is None else "MODE", STATISTICS="NO", NUM_THREADS=2,
        )  # fmt: skip
        return result

    @contextmanager
    def _nothing_left_after_errors(self) -> Iterator[None]:
        try:
            yield
        except (*gdal.GDAL_ERRORS, OSError) as error:
            self.discard()
            raise OutputError(
                f"Cannot write {self.path}: {gdal.reason(error)}. Nothing was left of it. "
                f"There are {_free_bytes(self.path.parent) / 2**20:.0f} MiB free; make room or name another folder."
            ) from error
        except BaseException:
            self.discard()
            raise


def _check_target(path: Path, overwrite: bool, size_bytes: int) -> None:
    """Raise an OutputError now for what would fail after the work is done."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(f"Maps are GeoTIFF files; {path} does not end in .tif. Name it {path.with_suffix('.tif')}.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} for {path.name} does not exist. Create it first.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; expected the name of a file to write.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already. Ask for it to be overwritten (--overwrite), or name another file.")
    check_room(path, size_bytes)


def check_room(path: Path, size_bytes: int, scratch_bytes: int = 0) -> None:
    """Refuse what is unlikely to fit beside a target: rasters of so many bytes before compression, and scratch files.

    Raises:
        OutputError: with what is needed and what is free.
    """
    if _free_bytes(path.parent) < size_bytes * _LEAST_SHARE + scratch_bytes:
        scratch = f" and {scratch_bytes / 2**20:.0f} MiB for scratch files" if scratch_bytes else ""
        raise OutputError(
            f"{path} needs about {size_bytes / 2**20:.0f} MiB before compression{scratch}, and only "
            f"{_free_bytes(path.parent) / 2**20:.0f} MiB are free there. Make room or name another folder."
        )


def _hidden_folder(path: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OutputError(
            f"Cannot write into {path.parent}: {error.strerror}. Check the access rights, or name another folder."
        ) from error


def remove_leftovers(path: Path) -> None:
    """Delete the hidden folders of writers of this target that were killed."""
    for folder in path.parent.glob(f".{escape(path.name)}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _move_or_remove(new: Path, old: Path) -> None:
    if new.exists():
        new.replace(old)
    else:
        old.unlink(missing_ok=True)
