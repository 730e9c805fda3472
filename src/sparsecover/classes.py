"""What is mapped: class names, the users' codes, colours. Inside, a class is its index 0..K-1; outside, its code."""

import colorsys
import csv
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from sparsecover.errors import ClassError, near_files

UNLABELLED = 255
"""The label of a pixel whose class nobody gave. It is not a class and not background."""

MAX_CLASSES = 255
NODATA_CODE = 255

Color = tuple[int, int, int]

# Colours that most readers expect, found by how a word of the class name begins (a "street" is no tree, "rice" no ice);
# the first row that fits counts. Others come from a palette of distinct hues.
_KNOWN_COLORS: tuple[tuple[str, Color], ...] = (
    (r"wet ?land|marsh|swamp", (92, 160, 150)),
    (r"\w*water|river|lake|seas?\b|flood", (46, 117, 182)),
    (r"\w*forest|\w*wood|tree", (34, 102, 51)),
    (r"snow|ice(field)?\b|cloud", (240, 244, 248)),
    (r"\w*grass|meadow|pasture|veget|shrub", (140, 190, 90)),
    (r"\w*field|crop|agri|farm|arable|rice\b|padd(y|ies)", (232, 203, 107)),
    (r"\w*road|street|(un)?pave|asphalt", (110, 110, 118)),
    (r"build|built|\w*house|roof|(sub)?urban", (196, 62, 58)),
    (r"soil|bare|barren|sand|ground|\w*land", (190, 160, 125)),
    (r"background|other", (205, 170, 215)),  # no grey, which stands for no data and for ground without a label
)


@dataclass(frozen=True, slots=True)
class LandClass:
    """One class: its index's meaning to the user."""

    code: int
    name: str
    color: Color

    @property
    def is_named(self) -> bool:
        """Whether the name says more than the code."""
        return self.name != str(self.code)


@dataclass(frozen=True)
class ClassScheme:
    """The classes in the order of their indices 0..K-1."""

    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        if len(self.classes) > MAX_CLASSES:
            raise ClassError(
                f"{len(self.classes)} classes given; at most {MAX_CLASSES} fit into a map of one byte. Merge classes."
            )
        for what, values in (("name", self.names), ("code", self.codes)):
            twice = sorted({str(v) for v in values if list(values).count(v) > 1})
            if twice:
                raise ClassError(f"Two classes share the {what} {', '.join(twice)}; each class needs its own.")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names by index."""
        return tuple(c.name for c in self.classes)

    @property
    def codes(self) -> tuple[int, ...]:
        """The users' codes by index; any integers."""
        return tuple(c.code for c in self.classes)

    @property
    def colors(self) -> tuple[Color, ...]:
        """Colours (red, green, blue; 0..255) by index."""
        return tuple(c.color for c in self.classes)

    @property
    def codes_fit_map(self) -> bool:
        """Whether all codes are in 0..254, so that the map holds them as they are."""
        return all(0 <= c < NODATA_CODE for c in self.codes)

    @property
    def map_codes(self) -> tuple[int, ...]:
        """Codes written into maps by index: the users' own where all are in 0..254, else 0..K-1."""
        return self.codes if self.codes_fit_map else tuple(range(len(self)))

    @property
    def map_names(self) -> tuple[str, ...]:
        """Category names for the map by index; they carry the users' code where the map cannot."""
        if self.codes_fit_map:
            return self.names
        return tuple(c.name if c.name == str(c.code) else f"{c.name} ({c.code})" for c in self.classes)

    def index(self, name: str) -> int:
        """Index of a class by its name."""
        if name not in self.names:
            raise ClassError(f"There is no class {name!r}; the classes are {', '.join(self.names)}.")
        return self.names.index(name)

    def find(self, land: LandClass) -> int:
        """Index of another scheme's class: by its name, or by its code where it has no name of its own."""
        by_code = not land.is_named and land.name not in self.names and land.code in self.codes
        return self.codes.index(land.code) if by_code else self.index(land.name)

    def encode(self, indices: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Indices (255 stays 255) to the codes of the map, uint8."""
        lookup = np.full(256, NODATA_CODE, np.uint8)
        lookup[: len(self)] = self.map_codes
        # Byte by byte; NumPy would first widen the indices to eight bytes each.
        codes = bytearray(np.ascontiguousarray(indices, np.uint8)).translate(lookup.tobytes())
        return np.frombuffer(codes, np.uint8).reshape(indices.shape)

    def as_dicts(self) -> list[dict[str, object]]:
        """A list of ``{index, code, name, color}`` for JSON."""
        return [
            {"index": i, "code": c.code, "name": c.name, "color": list(c.color)} for i, c in enumerate(self.classes)
        ]

    @classmethod
    def from_dicts(cls, rows: Sequence[Mapping[str, object]]) -> Self:
        """The inverse of ``as_dicts``; colours may be missing."""
        palette = default_colors([str(row["name"]) for row in rows])
        classes = []
        for row, fallback in zip(rows, palette, strict=True):
            color = row.get("color")
            classes.append(LandClass(int(str(row["code"])), str(row["name"]), _color(color) if color else fallback))
        return cls(tuple(classes))

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Self:
        """Codes 0..K-1 in the order given."""
        return cls.from_dicts([{"code": i, "name": name} for i, name in enumerate(names)])

    @classmethod
    def from_codes(cls, codes: Mapping[int, str] | Sequence[int]) -> Self:
        """Codes with names, or codes alone, whose names are then their digits; ordered by code."""
        named = codes if isinstance(codes, Mapping) else {code: str(code) for code in codes}
        return cls.from_dicts([{"code": code, "name": named[code]} for code in sorted(named)])

    @classmethod
    def from_config(cls, value: Sequence[str] | Mapping[int, str] | str | Path) -> Self:
        """From the configuration's ``classes``: a list of names, ``{code: name}``, or a .csv or .qml file."""
        if isinstance(value, (str, Path)):
            return cls.from_dicts(read_class_table(Path(value)))
        if isinstance(value, Mapping):
            return cls.from_codes({int(code): str(name) for code, name in value.items()})
        return cls.from_names([str(name) for name in value])

    @classmethod
    def union(cls, schemes: Sequence[Self]) -> Self:
        """All classes of several schemes: by code where codes and names agree everywhere, else by name with new codes.

        A name that is but the code means what another scheme calls that code.
        """
        every = [land for scheme in schemes for land in scheme.classes]
        by_code: dict[int, LandClass] = {}
        for land in every:
            if not by_code.setdefault(land.code, land).is_named:
                by_code[land.code] = land
        united = [by_code[code] for code in sorted(by_code)]
        same_code = all(land.name == by_code[land.code].name for land in every if land.is_named)
        same_name = len({land.name for land in united}) == len(united)
        return cls(tuple(united)) if same_code and same_name else cls.from_names(sorted({land.name for land in every}))


def in_words(name: str) -> str:
    """A class within a sentence: where its name is a number it is called a class.

    >>> in_words("water"), in_words("5")
    ('water', 'class 5')
    """
    return f"class {name}" if name.isdigit() else name


def default_colors(names: Sequence[str]) -> list[Color]:
    """A colour for each name, all different: the expected one where the name tells, else spread hues."""
    colors: list[Color] = []
    for position, name in enumerate(names):
        words = _words(name)
        known = next((color for pattern, color in _KNOWN_COLORS if re.search(rf"\b({pattern})", words)), None)
        color = known if known is not None and known not in colors else _spread_color(position)
        while color in colors:
            position += 1
            color = _spread_color(position + len(names))
        colors.append(color)
    return colors


def _words(name: str) -> str:
    """The words of a name, also of ``built-up``, ``forest_land`` and ``BareSoil``, in small letters."""
    return " ".join(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))).lower()


def _spread_color(position: int) -> Color:
    # The golden ratio spreads hues so that any first n are far apart.
    hue = (0.11 + position * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.3 * (position % 2), 0.92 - 0.22 * (position // 2 % 3))
    return round(red * 255), round(green * 255), round(blue * 255)


def _color(value: object) -> Color:
    if isinstance(value, str):
        digits = value.lstrip("#")
        if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
            raise ClassError(f"The colour {value!r} is not of the form #RRGGBB.")
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    parts = list(value) if isinstance(value, Sequence) else []
    if len(parts) == 3 and all(re.fullmatch(r"\d+", str(v)) and int(v) <= 255 for v in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    raise ClassError(f"The colour {value!r} is neither #RRGGBB nor three numbers from 0 to 255.")


def read_class_table(path: Path) -> list[dict[str, object]]:
    """Rows ``{code, name, color?}`` from a CSV (columns code, name, and color or r, g, b) or a QGIS .qml palette.

    Raises:
        ClassError: missing file, unknown kind, missing columns or codes that are not integers.
    """
    if not path.is_file():
        raise ClassError(f"The class table {path} does not exist. {near_files(path)}")
    try:
        rows = _read_qml(path) if path.suffix.lower() == ".qml" else _read_csv(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClassError(f"The class table {path} cannot be read: {error}. Save it as text in UTF-8.") from error
    if not rows:
        raise ClassError(f"{path} lists no classes. Expected a CSV with columns code,name[,color] or a paletted .qml.")
    return rows


def _read_csv(path: Path) -> list[dict[str, object]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        # Spreadsheets write semicolons where the comma is the decimal sign.
        reader = csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",", restval="")
        columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
        if not {"code", "name"} <= set(columns):
            raise ClassError(
                f"{path} has the columns {', '.join(columns) or 'none'}; expected code, name and optionally color."
            )
        rows: list[dict[str, object]] = []
        for line in reader:
            cells = {column: line[name].strip() for column, name in columns.items()}
            if not re.fullmatch(r"-?\d+", cells["code"]) or not cells["name"]:
                raise ClassError(
                    f"{path}, line {reader.line_num}: code {cells['code']!r}, name {cells['name']!r}; expected an "
                    "integer code and a name."
                )
            row: dict[str, object] = {"code": int(cells["code"]), "name": cells["name"]}
            if cells.get("color"):
                row["color"] = cells["color"]
            elif {"r", "g", "b"} <= set(columns):
                row["color"] = [cells[c] for c in "rgb"]
            rows.append(row)
    return rows


def _read_qml(path: Path) -> list[dict[str, object]]:
    text = path.read_text(encoding="utf-8")
    if "<!ENTITY" in text:  # entities are never needed in a style, and can be made to fill the memory
        raise ClassError(f"{path} defines XML entities; export the style from QGIS again.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ClassError(f"{path} is not a QGIS style: {error}.") from error
    rows: list[dict[str, object]] = []
    for entry in root.iter("paletteEntry"):
        value = entry.get("value", "")
        if not re.fullmatch(r"-?\d+(\.0+)?", value):
            raise ClassError(f"{path}: the palette value {value!r} is not an integer.")
        rows.append(
            {"code": int(float(value)), "name": entry.get("label") or value, "color": entry.get("color", "")[:7]}
        )
    return rows
