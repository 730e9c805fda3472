"""What lies in a folder of patches: numbers, and a sheet of pictures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from sparsecover.classes import UNLABELLED, ClassScheme, read_class_table
from sparsecover.errors import DataError, OutputError
from sparsecover.figures import class_picture, encode, scene_picture
from sparsecover.labels import read_labels
from sparsecover.patches.extract import CLASSES, MANIFEST
from sparsecover.patches.extract_plan import SIDES
from sparsecover.raster import open_scene

_GAP_PX = 6
_SMALLEST_PX = 192  # patches of fewer pixels are enlarged by a whole factor


def describe_patches(out: Path) -> dict[str, Any]:
    """Plain values: ``patches`` by side, ``size_px``, ``sources``, and pixels by class and side.

    Raises:
        DataError: no manifest, so nothing was extracted there or the run was stopped.
    """
    rows = _manifest(out)
    classes = [name.removeprefix("pixels_") for name in rows[0] if name.startswith("pixels_")]
    sides = {side: [row for row in rows if row["split"] == side] for side in SIDES}
    return {
        "patches": {side: len(members) for side, members in sides.items()},
        "size_px": sorted({int(row["size_px"]) for row in rows}),
        "sources": len({row["source"] for row in rows}),
        "classes": {
            name: {side: sum(int(row[f"pixels_{name}"]) for row in members) for side, members in sides.items()}
            for name in classes
        },
    }


def patch_sheet(out: Path, path: Path, number: int = 8, seed: int = 0) -> None:
    """Write a PNG with a row for each of some patches: image, labels, and labels over the image; small ones enlarged.

    Raises:
        DataError: no manifest; OutputError: the file cannot be written.
    """
    rows = _manifest(out)
    folder = _folder(out)
    scheme = ClassScheme.from_dicts(read_class_table(folder / CLASSES))
    chosen = np.random.default_rng(seed).permutation(len(rows))[:number]
    strips = []
    for row in (rows[i] for i in sorted(chosen)):
        scene = open_scene(folder / row["split"] / "images" / f"{row['name']}.tif")
        values, valid = scene.read()
        picture = scene_picture(values, valid, [band.name for band in scene.bands])
        if any(int(n) for column, n in row.items() if column.startswith("pixels_")):
            labels = read_labels(folder / row["split"] / "labels" / f"{row['name']}.tif", scheme=scheme).raster.values
        else:
            labels = np.full(valid.shape, UNLABELLED, np.uint8)
        colors = class_picture(labels, scheme.colors)
        overlay = np.where((labels != UNLABELLED)[..., None], picture // 2 + colors // 2, picture)
        factor = max(1, _SMALLEST_PX // max(labels.shape))
        enlarged = [part.repeat(factor, axis=0).repeat(factor, axis=1) for part in (picture, colors, overlay)]
        strips.append(_joined(enlarged, axis=1))
    sheet = _joined(strips, axis=0)
    try:
        path.write_bytes(encode(sheet, "png"))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _joined(pictures: list[np.ndarray[Any, np.dtype[np.uint8]]], axis: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pictures side by side (1) or one below the other (0) with white gaps; smaller ones are filled up with white."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    parts = []
    for picture in pictures:
        missing = [(0, 0), (0, 0), (0, 0)]
        missing[1 - axis] = (0, across - picture.shape[1 - axis])
        missing[axis] = (0, _GAP_PX)
        parts.append(np.pad(picture, missing, constant_values=255))
    return np.concatenate(parts, axis=axis)


def _folder(out: Path) -> Path:
    return out if (out / MANIFEST).is_file() else out / "Patch"


def _manifest(out: Path) -> list[dict[str, str]]:
    path = _folder(out) / MANIFEST
    if not path.is_file():
        raise DataError(f"There is no {MANIFEST} in {out}: nothing was extracted there, or it was stopped on the way.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise DataError(f"{path} lists no patches.")
    return rows
