"""``labels``: burn, simulate and count label files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsecover.checks import check_labels
from sparsecover.errors import LabelError
from sparsecover.grid import Grid
from sparsecover.labels import LabelSet, open_labels, read_labels, simulate_labels
from sparsecover.pipeline.checking import CheckResult
from sparsecover.pipeline.inputs import LabelOptions, label_arguments, whole_valid_mask
from sparsecover.raster import MapWriter, open_scene


def burn_to_file(
    scene: str | Path, labels: str | Path, out: Path, *, overwrite: bool = False, **label_options: Any
) -> CheckResult:
    """Burn vector labels into a scene's grid and write them as a label raster with nodata 255."""
    target = open_scene(scene)
    found = open_labels(
        labels, target.grid, valid=whole_valid_mask(target), **label_arguments(LabelOptions(**label_options))
    )
    _write(found, found.raster.values, out, overwrite)
    return _described(found)


def simulate_to_file(
    mask: str | Path,
    out: Path,
    *,
    sampler: str,
    fraction: float | None = None,
    n: int | None = None,
    seed: int = 0,
    unlabelled: Sequence[int] = (),
    overwrite: bool = False,
) -> CheckResult:
    """Make partial labels out of a dense mask and write them as a label raster with nodata 255."""
    dense = read_labels(mask, unlabelled=tuple(unlabelled))
    values = simulate_labels(dense.raster.values, sampler, fraction=fraction, n=n, seed=seed, scene_id=Path(mask).stem)
    partial = LabelSet(dense.raster.with_values(values), dense.scheme)
    _write(partial, values, out, overwrite)
    return _described(partial)


def describe_labels(labels: str | Path, scene: str | Path | None, **label_options: Any) -> CheckResult:
    """Count the labelled pixels of a file by class."""
    options = LabelOptions(**label_options)
    grid: Grid | None = None if scene is None else open_scene(scene).grid
    if grid is None:
        return _described(read_labels(labels, unlabelled=options.unlabelled))
    return _described(open_labels(labels, grid, **label_arguments(options)))


def _write(labels: LabelSet, values: Any, out: Path, overwrite: bool) -> None:
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise LabelError(f"Label rasters are written as GeoTIFF; {out} does not end in .tif.")
    with MapWriter(out, labels.raster.grid, scheme=labels.scheme, overwrite=overwrite) as writer:
        writer.write(labels.raster.grid.window, labels.scheme.encode(values))


def _described(labels: LabelSet) -> CheckResult:
    counts = labels.raster.counts(len(labels.scheme))
    table = [
        {"code": land.code, "name": land.name, "pixels": int(count)}
        for land, count in zip(labels.scheme.classes, counts, strict=True)
    ]
    findings = check_labels(counts, labels.scheme, labels.raster.grid.window.size)
    return CheckResult(tuple(findings), table, tuple(labels.notes))
