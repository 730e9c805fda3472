"""A table that lists scenes and labels: CSV, or GeoJSON with the same columns as properties."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import SIDES, Entry, Listing
from sparsecover.errors import DataError, nearest

_COLUMNS = ("scene", "labels", "split", "field", "date", "name", "mask")


def list_table(config: DataConfig) -> Listing:
    """``data.root`` is the table; its columns are scene, labels and optionally split, field, date, name and mask.

    Files are relative to the table. Several files in a scene's cell, separated by ``;``, are one stack of bands. Where
    a date is given it becomes a part of the pair's name.
    """
    path = config.root
    if not path.is_file():
        raise DataError(f"The dataset 'table' expects data.root to be a CSV or GeoJSON file; {path} is none.")
    entries, problems = [], []
    for number, row in enumerate(_rows(path), start=1):
        entry = _entry(row, path, number)
        missing = [str(file) for file in (*entry.images, entry.labels, entry.mask) if file and not file.exists()]
        if missing:
            problems.append(f"{path.name}, row {number}: {', '.join(missing)} not found")
        else:
            entries.append(entry)
    return Listing(entries, problems)


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        if path.suffix.lower() in (".geojson", ".json"):
            features = json.loads(path.read_text(encoding="utf-8")).get("features", [])
            rows: list[Mapping[str, Any]] = [feature.get("properties") or {} for feature in features]
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, csv.Error) as error:
        raise DataError(f"{path} is not a table: {error}.") from None
    if not rows:
        raise DataError(f"The table {path} is empty; expected a row for each scene, with the columns scene and labels.")
    columns = {str(name).strip().lower() for row in rows for name in row}
    if not {"scene", "labels"} <= columns:
        raise DataError(
            f"The table {path} has the columns {', '.join(sorted(columns))}; expected {', '.join(_COLUMNS)}, of which "
            "scene and labels are required."
        )
    return rows


def _entry(row: Mapping[str, Any], path: Path, number: int) -> Entry:
    cells = {str(k).strip().lower(): str(v).strip() for k, v in row.items() if v not in (None, "") and k is not None}
    where = f"{path}, row {number}"
    if not {"scene", "labels"} <= cells.keys():
        raise DataError(f"{where} lacks a scene or labels.")
    side = cells.get("split")
    if side is not None and side not in SIDES:
        raise DataError(f"{where}: the split {side!r} is unknown. {nearest(side, SIDES)}")
    images = tuple(path.parent / part.strip() for part in cells["scene"].split(";"))
    name = cells.get("name") or images[0].stem
    if "date" in cells:
        name = f"{name}_{cells['date']}"
    mask = path.parent / cells["mask"] if "mask" in cells else None
    return Entry(name, images, path.parent / cells["labels"], side, cells.get("field"), mask=mask)
