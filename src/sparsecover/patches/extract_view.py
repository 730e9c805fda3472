"""What lies in a folder of patches: numbers, and a sheet of pictures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from sparsecover.classes import UNLABELLED, ClassScheme, read_class_table
from sparsecover.errors import DataError, OutputError
from sparsecover.figures import SHEET_DPI, Picture, class_picture, scene_picture, sheet
from sparsecover.labels import read_labels
from sparsecover.patches.extract import CLASSES, MANIFEST
from sparsecover.patches.extract_plan import SIDES
from sparsecover.raster import open_scene

_MOST_PATCHES = 100  # a PNG of more would be longer than the 65,535 dots that can be drawn
_SIDE_IN = (1.9, 4.0)  # of a picture: a pixel of a patch is one of the sheet, where it is not too small or too large


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
    """Write a PNG with a row for each of some patches: image, labels, and labels over the image; and a legend.

    Patches with labels come before others.

    Raises:
        DataError: no manifest, or more patches than a sheet holds; OutputError: the file cannot be written.
    """
    rows = _manifest(out)
    if min(number, len(rows)) > _MOST_PATCHES:
        raise DataError(f"A sheet holds at most {_MOST_PATCHES} patches; {number} were asked for. Give a smaller -n.")
    folder = _folder(out)
    scheme = ClassScheme.from_dicts(read_class_table(folder / CLASSES))
    order = np.random.default_rng(seed).permutation(len(rows))
    chosen = sorted(order, key=lambda i: not _labelled(rows[i]))[:number]
    pictures = [_row(folder, row, scheme) for row in (rows[i] for i in sorted(chosen))]
    legend = dict(zip(scheme.names, scheme.colors, strict=True))
    side_in = float(np.clip(int(rows[0]["size_px"]) / SHEET_DPI, *_SIDE_IN))
    try:
        path.write_bytes(sheet(pictures, ("image", "labels", "labels over the image"), legend, side_in))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _labelled(row: dict[str, str]) -> bool:
    return any(int(n) for column, n in row.items() if column.startswith("pixels_"))


def _row(folder: Path, row: dict[str, str], scheme: ClassScheme) -> tuple[str, list[Picture]]:
    """Side, scene and place of a patch, and how it looks."""
    scene = open_scene(folder / row["split"] / "images" / f"{row['name']}.tif")
    values, valid = scene.read()
    picture = scene_picture(values, valid, [band.name for band in scene.bands])
    if _labelled(row):
        labels = read_labels(folder / row["split"] / "labels" / f"{row['name']}.tif", scheme=scheme).raster.values
    else:
        labels = np.full(valid.shape, UNLABELLED, np.uint8)
    colors = class_picture(labels, scheme.colors)
    overlay = np.where((labels != UNLABELLED)[..., None], picture // 2 + colors // 2, picture)
    source = row["name"].removesuffix(f"_{row['row']}_{row['col']}")
    return f"{row['split']}\n{source}\nrow {row['row']}, column {row['col']}", [picture, colors, overlay]


def _folder(out: Path) -> Path:
    return out if (out / MANIFEST).is_file() else out / "Patch"


def _manifest(out: Path) -> list[dict[str, str]]:
    path = _folder(out) / MANIFEST
    if not path.is_file():
        raise DataError(
            f"There is no {MANIFEST} in {out}: nothing was extracted there, or it was stopped on the way; then the "
            "same call again goes on."
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise DataError(f"{path} lists no patches.")
    return rows
