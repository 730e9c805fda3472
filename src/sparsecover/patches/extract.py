"""Patches on disk: georeferenced files in folders by side, with a manifest, continued where a run was stopped."""

import csv
import dataclasses
import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsecover.atomic import write_file
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.datasets import Dataset, Pair
from sparsecover.errors import DataError, LabelsElsewhere, OutputError, SceneError, summary
from sparsecover.patches.extract_plan import SIDES, ExtractOptions, PlannedPatch, assign_sides, plan_pair
from sparsecover.patches.extract_raster import write_image, write_labels

MANIFEST = "manifest.csv"
CLASSES = "classes.csv"

_JOURNAL = ".extract.jsonl"
_FORMAT = 2  # of the patches; those of another are not continued

Progress = Callable[[int, int], None]


@dataclass
class Extraction:
    """What was written, left out, and what failed."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def extract_patches(
    dataset: Dataset,
    out: Path,
    options: ExtractOptions,
    grids: Mapping[str, Path] | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Write patches as GeoTIFF into ``out/Patch/{train,validation,test}/{images,labels}`` with a manifest.

    Args:
        dataset: scenes with labels.
        grids: by name of a pair a vector file whose cells each give one patch around their centre; the others get a
            regular grid from the first pixel on.
        overwrite: replace earlier patches. Without it, patches of the same data and options are continued.

    Returns:
        Rows of the manifest, reasons for windows left out with their numbers, and files that failed.

    Raises:
        DataError: no patch is left, a side that should have some is empty, or two pairs have one name.
        OutputError: the folder holds patches of other options, or cannot be written.
    """
    _check_names(dataset.pairs)
    result = Extraction(out / "Patch", failures=list(dataset.left_out))
    result.notes += [note for note in dataset.notes if note not in dataset.left_out]
    planned: list[PlannedPatch] = []
    for number, pair in enumerate(dataset.pairs):
        cells = (grids or {}).get(pair.name)
        try:
            planned += plan_pair(number, pair, dataset.scheme, options, cells, result.skipped)
        except (SceneError, LabelsElsewhere) as error:
            result.failures.append(f"{pair.name}: {error}")
    if not planned:
        raise DataError(_why_none(result, options.size_px))
    sides = assign_sides(planned, options, result.skipped, result.notes)
    result.notes += _untrained(planned, sides, dataset.scheme)
    done = _begin(result.folder, dataset, options, planned, sides, overwrite)
    masked = {patch.pair for patch in planned if patch.nodata}  # so that all patches of a scene are alike
    for index, (patch, side) in enumerate(zip(planned, sides, strict=True)):
        pair = dataset.pairs[patch.pair]
        name = f"{_file_name(pair.name)}_{patch.window.row}_{patch.window.col}"
        if side >= 0:
            row = done.get(name) or _write(pair, patch, name, side, dataset.scheme, result.folder, patch.pair in masked)
            result.rows.append(row)
        if progress is not None:
            progress(index + 1, len(planned))
    _finish(result, dataset.scheme)
    return result


def _untrained(planned: Sequence[PlannedPatch], sides: Sequence[int], scheme: ClassScheme) -> list[str]:
    """What to say of classes that validation or test patches hold and training ones do not."""
    counts = np.array([patch.counts for patch in planned])
    side = np.array(sides)
    absent = (counts[side == 0].sum(axis=0) == 0) & (counts[side > 0].sum(axis=0) > 0)
    names = [name for name, missing in zip(scheme.names, absent, strict=True) if missing]
    return [f"No training patch holds {', '.join(names)}: it can never be learnt. Try another seed."] if names else []


def _check_names(pairs: Sequence[Pair]) -> None:
    """Patches are named after their pair, so no two may have the same name in a file."""
    counted = Counter(_file_name(pair.name) for pair in pairs)
    if twice := [name for name, number in counted.items() if number > 1]:
        raise DataError(f"Several scenes would give patches named {', '.join(twice[:5])}. Rename one of each.")


def _begin(
    folder: Path,
    dataset: Dataset,
    options: ExtractOptions,
    planned: Sequence[PlannedPatch],
    sides: Sequence[int],
    overwrite: bool,
) -> dict[str, dict[str, Any]]:
    """Make the folders and return the rows of patches that an interrupted run has written."""
    settings = {
        "format": _FORMAT,
        "options": dataclasses.asdict(options),
        "sources": [list(pair.scene.paths) for pair in dataset.pairs],
        "places": [pair.scene.grid.transform[:6] for pair in dataset.pairs],
        "classes": dataset.scheme.as_dicts(),
        "patches": hashlib.sha256(repr([*zip(planned, sides, strict=True)]).encode()).hexdigest(),
    }
    header = json.dumps(settings, sort_keys=True)
    journal = folder / _JOURNAL
    if folder.exists() and any(folder.iterdir()) and overwrite:
        shutil.rmtree(folder)
    rows: dict[str, dict[str, Any]] = {}
    if journal.is_file():
        first, *lines = journal.read_text(encoding="utf-8").splitlines() or [""]
        if first != header:
            raise OutputError(
                f"{folder} holds patches of other data or options. Name another folder, or overwrite them."
            )
        rows = {row["name"]: row for row in map(_parsed, lines) if row}
    elif folder.exists() and any(folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty and holds no patches to continue. Name another folder, or overwrite it."
        )
    try:
        for side in {side for side in sides if side >= 0}:
            for kind in ("images", "labels"):
                (folder / SIDES[side] / kind).mkdir(parents=True, exist_ok=True)
        if not rows:
            journal.write_text(header + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from error
    return rows


def _parsed(line: str) -> dict[str, Any] | None:
    """A row of the journal; None for a line that was cut off."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _write(
    pair: Pair, patch: PlannedPatch, name: str, side: int, scheme: ClassScheme, folder: Path, masked: bool
) -> dict[str, Any]:
    """Write image and labels of one patch, and its row into the journal."""
    grid = pair.scene.grid.crop(patch.window)
    values, valid = pair.scene.read(patch.window)
    labels = pair.labels.read(patch.window)
    labels[~valid] = UNLABELLED
    image_path = folder / SIDES[side] / "images" / f"{name}.tif"
    label_path = folder / SIDES[side] / "labels" / f"{name}.tif"
    write_image(image_path, grid, values, valid, [band.name for band in pair.scene.bands], masked)
    write_labels(label_path, grid, scheme.encode(labels))
    row = {
        "name": name,
        "split": SIDES[side],
        "source": ";".join(pair.scene.paths),
        "row": patch.window.row,
        "col": patch.window.col,
        "size_px": patch.window.height,
        "nodata_share": round(patch.nodata, 4),
        **{f"pixels_{c.name}": n for c, n in zip(scheme.classes, patch.counts, strict=True)},
        "image_sha256": _digest(image_path),
        "labels_sha256": _digest(label_path),
    }
    with (folder / _JOURNAL).open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(row) + "\n")
    return row


def _finish(result: Extraction, scheme: ClassScheme) -> None:
    """Manifest and class table, each whole or not there; the journal stays, so that the same call does nothing."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(result.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.rows)
    classes = io.StringIO()
    rows = csv.writer(classes, lineterminator="\n")
    rows.writerow(("code", "name", "color"))
    rows.writerows(
        (code, name, "#{:02X}{:02X}{:02X}".format(*color))
        for code, name, color in zip(scheme.map_codes, scheme.map_names, scheme.colors, strict=True)
    )
    write_file(result.folder / MANIFEST, table.getvalue())
    write_file(result.folder / CLASSES, classes.getvalue())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _why_none(result: Extraction, size_px: int) -> str:
    """What to say where no patch is left."""
    if result.failures:
        return "No patch is left:\n" + summary(result.failures)
    counted = [f"{number} {reason}" for reason, number in result.skipped.items()]
    why = "; ".join(counted) or f"the scenes are smaller than {size_px} x {size_px} pixels"
    return f"No patch is left: {why}. Change --size or the limits --max-nodata and --min-labelled."
