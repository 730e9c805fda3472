"""One raster file as a source of pixels: what it declares, and which of its pixels are valid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp, Compression, MaskFlags, Resampling
from rasterio.windows import Window as GdalWindow

from sparsecover.errors import SceneError
from sparsecover.grid import Grid, Window
from sparsecover.raster import gdal
from sparsecover.raster.source import Band, Valid, Values, blank


@dataclass(frozen=True)
class Georeference:
    """Ground control points and RPC of a file: what places it on the ground where a transform cannot.

    ``gcps`` are (row, column, x, y, z) in ``gcp_crs`` (WKT); ``rpc`` holds GDAL's RPC tags.
    """

    gcps: tuple[tuple[float, float, float, float, float], ...] = ()
    gcp_crs: str | None = None
    rpc: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class FileSource:
    """Bands of one file, given by GDAL's numbers ``indexes``, from 1.

    ``scales`` has a (scale, offset) for each band, or is empty where stored values are meant as they are.
    A pixel is valid where it is not nodata, finite, where every band of ``alphas`` is at least ``alpha_floor``, and
    where the mask in the file or its .msk sidecar says so: one ``mask`` for all bands ("shared") or each its own.
    """

    path: str
    version: tuple[int, int]
    grid: Grid
    bands: tuple[Band, ...]
    indexes: tuple[int, ...]
    scales: tuple[tuple[float, float], ...] = ()
    alphas: tuple[int, ...] = ()
    alpha_floor: int = 1
    mask: Literal["none", "shared", "own"] = "none"
    codes: bool = False
    georeference: Georeference = Georeference()

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype that holds every band as stored."""
        return np.result_type(*(band.dtype for band in self.bands))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32) if self.scales else self.stored_dtype

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    @property
    def may_lack_data(self) -> bool:
        marked = bool(self.alphas) or self.mask != "none" or any(nodata_span(band) for band in self.bands)
        return marked or any(np.dtype(band.dtype).kind == "f" for band in self.bands)

    def read(self, window: Window) -> tuple[Values, Valid]:
        return self._pixels(window, window.height, window.width, Resampling.nearest)

    def decimate(self, height: int, width: int) -> tuple[Values, Valid]:
        whole = self.grid.window
        if self.codes:  # the codes of a palette have no mean
            return self._pixels(whole, height, width, Resampling.nearest)
        values, valid = self._pixels(whole, height, width, Resampling.average)
        if self.stored_dtype.kind != "f" or valid.all():
            return values, valid
        # GDAL's mean is NaN where a single pixel is, unless the file declares NaN as nodata.
        sampled, sampled_valid = self._pixels(whole, height, width, Resampling.nearest)
        return np.where(valid, values, sampled), valid | sampled_valid

    def select(self, bands: Sequence[int]) -> "FileSource":
        return replace(
            self,
            bands=tuple(self.bands[b] for b in bands),
            indexes=tuple(self.indexes[b] for b in bands),
            scales=_none_if_plain([self.scales[b] for b in bands] if self.scales else []),
        )

    def _pixels(self, window: Window, height: int, width: int, method: Resampling) -> tuple[Values, Valid]:
        def part(read: Any, indexes: Sequence[int], **options: Any) -> Values:
            place = GdalWindow(window.col, window.row, window.width, window.height)
            shape = (len(indexes), height, width)
            read_part: Values = read(list(indexes), window=place, out_shape=shape, resampling=method, **options)
            return read_part

        dataset = gdal.handle(self.path, self.version)
        try:
            with gdal.environment(gdal.cache_for(window, self.grid.width)):
                values = part(dataset.read, self.indexes, out_dtype=self.stored_dtype)
                valid = self._not_nodata(values)
                if self.alphas:
                    valid &= (part(dataset.read, self.alphas) >= self.alpha_floor).all(axis=0)
                if self.mask != "none":
                    masked = self.indexes[:1] if self.mask == "shared" else self.indexes
                    valid &= (part(dataset.read_masks, masked) > 0).all(axis=0)
        except (*gdal.GDAL_ERRORS, ValueError) as error:
            raise SceneError(
                f"Cannot read rows {window.row} to {window.row_stop - 1}, columns {window.col} to "
                f"{window.col_stop - 1} of {self.path}. GDAL says: {gdal.reason(error)}. The file is truncated or "
                "corrupt there: copy or download it again."
            ) from error
        return blank(self._scaled(values), valid)

    def _not_nodata(self, values: Values) -> Valid:
        valid = np.ones(values.shape[1:], bool)
        for band, stored in zip(self.bands, values, strict=True):
            span = nodata_span(band)
            if span is not None:
                low, high = span
                valid &= (stored != low) if low == high else (stored < low) | (stored > high)
        return valid

    def _scaled(self, values: Values) -> Values:
        if not self.scales:
            return values
        scale, offset = np.array(self.scales, np.float64).T[..., None, None]
        scaled: Values = (values * scale + offset).astype(np.float32)
        return scaled


def nodata_span(band: Band) -> tuple[Any, Any] | None:
    """The stored values from first to last that mean no data, in the band's dtype; None if there are none.

    Files give nodata as a decimal number, so for floats a few units in the last place are allowed for. A value that
    the dtype cannot hold (-9999 in a uint8 file) marks nothing. NaN needs no value: it is never valid.
    """
    if band.nodata is None or not np.isfinite(band.nodata):
        return None
    dtype = np.dtype(band.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        fits = float(band.nodata).is_integer() and limits.min <= band.nodata <= limits.max
        return (int(band.nodata), int(band.nodata)) if fits else None
    margin = abs(band.nodata) * (8 * float(np.finfo(dtype).eps))
    largest = float(np.finfo(dtype).max)
    low, high = (min(max(band.nodata + side, -largest), largest) for side in (-margin, margin))
    return dtype.type(low), dtype.type(high)


def open_file(path: str, indexes: Sequence[int] | None = None, first_number: int = 1) -> FileSource:
    """Open a file's data bands, or those of ``indexes`` (from 1), where an alpha band then counts as data.

    Bands without a name are called ``band_N``, counted from ``first_number`` for the file's first.

    Raises:
        SceneError: the file cannot be opened, has no bands, complex values, or lacks one of the bands.
    """
    version = gdal.stamp(path)
    with gdal.environment():
        return _described(path, version, gdal.handle(path, version), indexes, first_number)


def band_count(path: str) -> int:
    """Number of bands of a file, alpha bands included."""
    return int(gdal.handle(path, gdal.stamp(path)).count)


def _described(
    path: str, version: tuple[int, int], dataset: Any, indexes: Sequence[int] | None, first_number: int
) -> FileSource:
    numbers = _data_bands(path, dataset, indexes)
    _check_dtypes(path, dataset, numbers)
    alphas = tuple(i for i in _alphas(dataset) if i not in numbers)
    return FileSource(
        path,
        version,
        _grid(dataset),
        tuple(_band(dataset, i, first_number + i - 1) for i in numbers),
        numbers,
        scales=_scales(dataset, numbers),
        alphas=alphas,
        # JPEG blurs the alpha band as it does the others: about 0 and about 255 are all that is left of it.
        alpha_floor=128 if dataset.compression == Compression.jpeg else 1,
        mask=_mask_kind(dataset, numbers),
        codes=ColorInterp.palette in dataset.colorinterp,
        georeference=_georeference(dataset),
    )


def _data_bands(path: str, dataset: Any, indexes: Sequence[int] | None) -> tuple[int, ...]:
    if dataset.count == 0:
        parts = "; ".join(dataset.subdatasets[:5]) or "none"
        raise SceneError(f"{path} has no bands of its own. Give one of its parts: {parts}.")
    if indexes is not None:
        return tuple(indexes)
    alphas = _alphas(dataset)
    return tuple(i for i in range(1, dataset.count + 1) if i not in alphas) or alphas


def _alphas(dataset: Any) -> tuple[int, ...]:
    return tuple(i for i, role in enumerate(dataset.colorinterp, 1) if role == ColorInterp.alpha)


def _check_dtypes(path: str, dataset: Any, numbers: Sequence[int]) -> None:
    found = {str(dataset.dtypes[i - 1]) for i in numbers}
    complexes = sorted(dtype for dtype in found if dtype.startswith("complex"))
    if complexes:
        raise SceneError(
            f"{path} holds complex values ({', '.join(complexes)}); expected real ones. "
            "Write amplitude or intensity in dB to a new file first."
        )


def _grid(dataset: Any) -> Grid:
    crs = dataset.crs.to_wkt() if dataset.crs else None
    transform = Affine(*dataset.transform[:6])
    if transform.determinant == 0:  # a header that places all pixels on one line or point
        transform = Affine.identity()
    return Grid(dataset.height, dataset.width, crs, transform)


def _band(dataset: Any, index: int, number: int) -> Band:
    role = dataset.colorinterp[index - 1]
    color = role.name if role in (ColorInterp.red, ColorInterp.green, ColorInterp.blue) else ""
    name = dataset.descriptions[index - 1] or color or f"band_{number}"
    return Band(name, str(dataset.dtypes[index - 1]), dataset.nodatavals[index - 1])


def _scales(dataset: Any, numbers: Sequence[int]) -> tuple[tuple[float, float], ...]:
    return _none_if_plain([(float(dataset.scales[i - 1]), float(dataset.offsets[i - 1])) for i in numbers])


def _none_if_plain(scales: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple(scales) if any(scale != (1.0, 0.0) for scale in scales) else ()


def _mask_kind(dataset: Any, numbers: Sequence[int]) -> Literal["none", "shared", "own"]:
    """Nodata and alpha are looked at by ourselves; other masks are GDAL's to read."""
    flags = [set(dataset.mask_flag_enums[i - 1]) for i in numbers]
    others = [f for f in flags if MaskFlags.alpha not in f and f not in ({MaskFlags.nodata}, {MaskFlags.all_valid})]
    if not others:
        return "none"
    return "shared" if all(MaskFlags.per_dataset in f for f in others) else "own"


def _georeference(dataset: Any) -> Georeference:
    points, crs = dataset.gcps
    return Georeference(
        tuple((float(p.row), float(p.col), float(p.x), float(p.y), float(p.z or 0)) for p in points),
        crs.to_wkt() if crs else None,
        tuple(sorted(dataset.tags(ns="RPC").items())),
    )
