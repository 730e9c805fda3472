"""The users' class values, numbers or text, to the indices of a class scheme."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparsecover.classes import MAX_CLASSES, ClassScheme
from sparsecover.errors import LabelError, UnknownCodes, nearest
from sparsecover.labels.arrays import Indices

Values = list[int] | list[str]

_CODES_TOLD = 12


def class_column(frame: pd.DataFrame, field: str | None, path: str | Path) -> "pd.Series[object]":
    """The column that holds the classes; without a name, the only column there is.

    Raises:
        LabelError: no such field (those that exist are listed), or features without a class.
    """
    fields = [str(name) for name in frame.columns if name != frame.geometry.name]
    if field is None:
        if len(fields) != 1:
            listed = f"it has {', '.join(fields)}" if fields else "it has no fields"
            raise LabelError(
                f"Say which field of {path} holds the class (--field NAME): {listed}. Where all features are of one "
                "class, give that of the ground around them instead (--background NAME --labelled-area AREA)."
            )
        field = fields[0]
    if field not in fields:
        raise LabelError(f"{path} has no field {field!r}. {nearest(field, fields)}")
    column = frame[field]
    empty = column.isna() | column.astype(str).str.strip().eq("")
    if empty.any():
        rows = ", ".join(str(i + 1) for i in np.flatnonzero(empty.to_numpy())[:5])
        raise LabelError(
            f"{int(empty.sum())} of {len(column)} features of {path} have no class in the field {field!r} "
            f"(the first: feature {rows}). Fill them in, or delete these features."
        )
    return column


def code_values(column: "pd.Series[object]", path: str | Path) -> Values:
    """Class values as integer codes where all are integers (also written as text or as 3.0), else as text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        raise LabelError(f"The field {column.name!r} of {path} holds dates; expected class codes or class names.")
    if pd.api.types.is_numeric_dtype(column):
        numbers = integral(column.to_numpy(dtype=np.float64), f"The field {column.name!r} of {path}")
        return [int(number) for number in numbers]
    texts = [str(value).strip() for value in column]
    return [int(t) for t in texts] if all(re.fullmatch(r"[+-]?\d+", t) for t in texts) else texts


def integral(values: npt.NDArray[np.floating], what: str) -> npt.NDArray[np.int64]:
    """Floats that stand for integers to integers; NaN must have been taken out.

    Raises:
        LabelError: values with a fraction, which are measurements rather than class codes.
    """
    whole = np.rint(values)
    if not np.array_equal(whole, values):
        examples = ", ".join(f"{v:g}" for v in np.unique(values[whole != values])[:5])
        raise LabelError(f"{what} holds fractions ({examples}); class codes must be whole numbers.")
    if values.size and np.abs(whole).max() > 2**31 - 1:
        raise LabelError(f"{what} holds {whole[np.abs(whole).argmax()]:g}; class codes must be 32 bit integers.")
    codes: npt.NDArray[np.int64] = whole.astype(np.int64)
    return codes


def scheme_of(values: Iterable[int | str], background: str | None, what: str) -> ClassScheme:
    """A scheme of the classes found: codes in their order, names in the order of the alphabet, background first.

    Raises:
        LabelError: more classes than a map of one byte holds.
    """
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    if len(distinct) + (background is not None) > MAX_CLASSES:
        raise LabelError(
            f"{what} holds {len(distinct)} different classes; at most {MAX_CLASSES} are possible. "
            "Is it an identifier rather than a class?"
        )
    named = {code: str(code) for code in distinct if isinstance(code, int)}
    if named:
        if background is not None and background not in named.values():
            named[0 if 0 not in named else max(named) + 1] = background
        return ClassScheme.from_codes(named)
    names = [str(name) for name in distinct]
    if background is not None and background not in names:
        names.insert(0, background)
    return ClassScheme.from_names(names)


def encode(values: Collection[int | str], scheme: ClassScheme, what: str) -> Indices:
    """Codes or names to indices uint8.

    Raises:
        LabelError: values that the scheme does not have, listed with their counts.
    """
    keys: dict[object, int] = {name: i for i, name in enumerate(scheme.names)}
    keys |= {code: i for i, code in enumerate(scheme.codes)}
    # Digits may be meant as names, too: classes: ["10", "20"] beside a column of numbers.
    found = {value: keys.get(value, keys.get(str(value))) for value in set(values)}
    refuse_unknown(Counter(v for v in values if found[v] is None), scheme, what)
    return np.array([found[value] for value in values], np.uint8)


def refuse_unknown(counts: Mapping[Any, int], scheme: ClassScheme, what: str) -> None:
    """Raise LabelError if any value is not in the scheme; the message lists values, counts and known classes."""
    if counts:
        raise LabelError(_unknown(counts, scheme, what))


def refuse_unknown_codes(counts: Mapping[Any, int], scheme: ClassScheme, what: str, path: str) -> None:
    """As ``refuse_unknown``, for codes or colours of a label raster; what it raises is UnknownCodes."""
    if counts:
        raise UnknownCodes(_unknown(counts, scheme, f"{what} {path}"), path, counts, _in_words(scheme))


def unknown_in_files(errors: Sequence[UnknownCodes], files: int) -> str:
    """One message on the codes (or colours) without a class in some of a set's label files.

    Args:
        files: label files of the set, those without such codes included.
    """
    found: dict[Any, Counter[str]] = {}
    for error in errors:
        for code, pixels in error.pixels.items():
            found.setdefault(code, Counter())[error.path] += pixels
    codes = sorted(found, key=lambda code: (isinstance(code, str), code))
    told = ", ".join(_occurrence(code, found[code], files) for code in codes[:_CODES_TOLD])
    more = f" and {len(codes) - _CODES_TOLD} more" if len(codes) > _CODES_TOLD else ""
    them = "it" if len(codes) == 1 else "them"
    return (
        f"{told[0].upper()}{told[1:]}{more}; the classes are {errors[0].known}. "
        f"Add {them} to the classes, or list {them} as unlabelled (--unlabelled, data.unlabelled)."
    )


def _occurrence(code: int | str, pixels: Counter[str], files: int) -> str:
    what = f"colour {code}" if isinstance(code, str) else f"code {code}"
    first = f"{'first in ' if len(pixels) > 1 else ''}{next(iter(pixels))}"
    of = f"{files} label file{'' if files == 1 else 's'}"
    return f"{what} occurs in {len(pixels)} of {of} ({pixels.total():,} pixels, {first})"


def _unknown(counts: Mapping[Any, int], scheme: ClassScheme, what: str) -> str:
    listed = ", ".join(f"{value} ({count} times)" for value, count in sorted(counts.items(), key=str)[:_CODES_TOLD])
    return (
        f"{what} holds classes that are not among those given: {listed}. Known: {_in_words(scheme)}. "
        "Add them to the classes, or list them as unlabelled (--unlabelled, data.unlabelled)."
    )


def _in_words(scheme: ClassScheme) -> str:
    return ", ".join(f"{c.code} {c.name}" if str(c.code) != c.name else c.name for c in scheme.classes)
