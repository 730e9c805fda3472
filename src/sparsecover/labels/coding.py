"""The users' class values, numbers or text, to the indices of a class scheme."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparsecover.classes import MAX_CLASSES, ClassScheme
from sparsecover.errors import LabelError, nearest
from sparsecover.labels.arrays import Indices

Values = list[int] | list[str]


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
    if not counts:
        return
    listed = ", ".join(f"{value} ({count} times)" for value, count in sorted(counts.items(), key=str)[:12])
    known = ", ".join(f"{c.code} {c.name}" if str(c.code) != c.name else c.name for c in scheme.classes)
    raise LabelError(
        f"{what} holds classes that are not among those given: {listed}. Known: {known}. "
        "Add them to the classes, or list them as unlabelled (--unlabelled, data.unlabelled)."
    )
