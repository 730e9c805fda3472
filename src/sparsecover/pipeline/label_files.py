"""``labels``: burn, simulate and count label files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.checks import check_field, check_labels
from sparsecover.classes import ClassScheme
from sparsecover.errors import LabelError
from sparsecover.grid import Window
from sparsecover.labels import (
    CodeTable,
    LabelFile,
    LabelRaster,
    LabelSet,
    MaskFile,
    check_request,
    check_vector_file,
    count_features,
    fewer_than_asked,
    is_vector,
    open_labels,
    read_labels,
    simulate_file,
    valid_mask,
    write_label_vectors,
)
from sparsecover.pipeline.checking import CheckResult
from sparsecover.pipeline.inputs import LabelOptions, label_arguments
from sparsecover.raster import MapWriter, open_scene

_DRAWN = ("scribbles", "polygons")  # samplers whose labels are shapes rather than single pixels


def burn_to_file(
    scene: str | Path, labels: str | Path, out: Path, *, overwrite: bool = False, **label_options: Any
) -> CheckResult:
    """Burn vector labels into a scene's grid and write them as a label raster with nodata 255."""
    found = _on_scene(scene, labels, LabelOptions(**label_options))
    _write(found, found.raster.values, out, overwrite)
    return _described(found)


@dataclass(frozen=True)
class Spent:
    """The exact budget of simulated labels: labelled pixels of the dense mask and kept ones, by class, int64 [K].

    ``notes`` name classes that have fewer than were asked for.
    """

    scheme: ClassScheme
    available: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()


def simulate_to_file(
    mask: str | Path,
    out: Path,
    *,
    sampler: str,
    fraction: float | None = None,
    n: int | None = None,
    seed: int = 0,
    unlabelled: Sequence[int] = (),
    classes: Path | None = None,
    options: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> Spent:
    """Make partial labels out of a dense mask of any size; ``labels simulate``.

    Args:
        out: a label raster with nodata 255 (.tif), or points or outlines (.gpkg).
        sampler, fraction, n, seed, options: as in ``simulate_labels``.
        classes: table of codes, names and colours; needed for colour masks.

    Raises:
        LabelError: a mask that cannot be used, or a request that cannot be meant; OutputError: see ``out``.
    """
    own: Mapping[str, Any] = options or {}
    check_request(sampler, fraction=fraction, n=n, options=own)
    as_vectors = out.suffix.lower() == ".gpkg"
    if not as_vectors:
        _check_raster_name(out)
    file = MaskFile.open(mask)
    if as_vectors:
        check_vector_file(out, file.grid, overwrite=overwrite)
    table = file.scan(tuple(unlabelled)) if classes is None else CodeTable()
    scheme = table.scheme() if classes is None else ClassScheme.from_config(classes)
    if not len(scheme):
        raise LabelError(f"{mask} holds no labelled pixel: all are nodata, -1, 255 or listed as unlabelled.")
    dense = LabelFile(file, scheme, frozenset(unlabelled))
    kept = np.zeros(len(scheme), np.int64)
    windows = simulate_file(dense, sampler, fraction=fraction, n=n, seed=seed, scene_id=Path(mask).stem, **own)

    def parts() -> Iterator[tuple[Window, LabelRaster]]:
        for window, values in windows:
            part = LabelRaster(values, file.grid.crop(window), scheme=scheme)
            np.add(kept, part.counts(len(scheme)), out=kept)
            yield window, part

    if as_vectors:
        outlines = sampler in _DRAWN
        write_label_vectors((part for _, part in parts()), scheme, out, outlines=outlines, overwrite=overwrite)
    else:
        with MapWriter(out, file.grid, scheme=scheme, overwrite=overwrite, overviews=False) as writer:
            for window, part in parts():
                writer.write(window, scheme.encode(part.values))
    counts = [table.pixels[code] for code in scheme.codes] if classes is None else dense.counts(len(scheme))
    available = np.asarray(counts)
    short = fewer_than_asked([available], scheme.names, sampler, n)
    return Spent(scheme, available, kept, (short,) if short else ())


def describe_labels(labels: str | Path, scene: str | Path | None, **label_options: Any) -> CheckResult:
    """Count the labelled pixels of a file by class; on a scene, those where it has data.

    Without a scene the features of a vector file are counted: only a scene has pixels for them.
    """
    options = LabelOptions(**label_options)
    if scene is None and Path(labels).exists() and is_vector(labels):
        named = {"field": options.field, "background": options.background, "unlabelled": options.unlabelled}
        table = count_features(labels, scheme=_given_scheme(options), **named)  # type: ignore[arg-type]
        return CheckResult(tuple(check_field(table)), table, ("Give --scene SCENE to count their pixels.",))
    if scene is None:
        return _described(read_labels(labels, unlabelled=options.unlabelled, scheme=_given_scheme(options)))
    return _described(_on_scene(scene, labels, options))


def _on_scene(scene: str | Path, labels: str | Path, options: LabelOptions) -> LabelSet:
    """The labels on a scene's grid, where it has data."""
    target = open_scene(scene)
    scheme, valid = _given_scheme(options), valid_mask(target)
    return open_labels(labels, target.grid, scheme=scheme, valid=valid, **label_arguments(options))


def _given_scheme(options: LabelOptions) -> ClassScheme | None:
    return ClassScheme.from_config(options.classes) if options.classes else None


def _check_raster_name(out: Path) -> None:
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise LabelError(f"Label rasters are written as GeoTIFF; {out} does not end in .tif.")


def _write(labels: LabelSet, values: Any, out: Path, overwrite: bool) -> None:
    _check_raster_name(out)
    with MapWriter(out, labels.raster.grid, scheme=labels.scheme, overwrite=overwrite, overviews=False) as writer:
        writer.write(labels.raster.grid.window, labels.scheme.encode(values))


def _described(labels: LabelSet) -> CheckResult:
    counts = labels.raster.counts(len(labels.scheme))
    findings = check_labels(counts, labels.scheme, labels.raster.grid.window.size)
    return CheckResult((*findings, *check_field(labels.table)), labels.table, tuple(labels.notes))
