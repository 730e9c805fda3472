"""What is wrong with a configuration, in words: where, what was expected, what was given. Torch-free."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from sparsecover.errors import nearest, plural

# The places of pydantic's errors name which of several types was tried, too.
_TYPE_TRIED = re.compile(
    r"int|float|str|bool|none|constrained-[a-z]+|\[key\]|[A-Z]\w*Config|(tuple|dict|literal|function|lax|json)\b.*\[.*"
)
_A_LIST = "a list such as [a, b]"
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a text",
    "path": "a path",
    "tuple": _A_LIST,
    "list": _A_LIST,
    "dict": "keys with values",
}
_LIMITS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}


def explain(root: type[BaseModel], errors: Iterable[Mapping[str, Any]]) -> str:
    """A line for each place with mistakes: all that was expected there, and what was given.

    Args:
        root: the model that refused the values.
        errors: pydantic's, as ``ValidationError.errors()`` lists them.
    """
    lines: list[str] = []
    expected: dict[str, tuple[list[str], Any]] = {}
    for error in errors:
        where = [str(part) for part in error["loc"] if not _TYPE_TRIED.fullmatch(str(part))]
        place = ".".join(where) or "configuration"
        if error["type"] == "extra_forbidden":
            section = _section(root, where[:-1])
            lines.append(f"Unknown key {place}. {nearest(where[-1], section.model_fields)}")
        elif error["type"] == "missing":
            lines.append(f"{place}: a value is missing{_meant(root, where)}.")
        elif error["type"] == "value_error":
            lines.append(f"{place}: {error['ctx']['error']}")
        else:
            expected.setdefault(place, ([], error["input"]))[0].append(_expected(root, where, error))
    inner = {place.rpartition(".")[0] for place in expected}  # what is wrong inside a list is told, not that it is one
    expected = {place: found for place, found in expected.items() if place not in inner}
    lines += [f"{place}: expected {' or '.join(words)}; given {given!r}" for place, (words, given) in expected.items()]
    return "\n".join(lines)


def _expected(root: type[BaseModel], where: list[str], error: Mapping[str, Any]) -> str:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind in _LIMITS:
        (limit,) = context.values()
        return f"a number {_LIMITS[kind]} {limit:g}"
    if kind.startswith("model"):
        first = next(iter(_section(root, where).model_fields))
        return f"keys below it, such as {'.'.join([*where, first])}"
    if kind in ("too_long", "too_short"):
        limit = context.get("max_length", context.get("min_length"))
        return f"{'at most' if kind == 'too_long' else 'at least'} {limit} {plural(limit, 'value')}"
    return _TYPES.get(kind.split("_")[0], str(error["msg"]))


def _meant(root: type[BaseModel], where: list[str]) -> str:
    """What the list is for that a value misses in."""
    if not where[-1].isdigit() or len(where) < 2:
        return ""
    field = _section(root, where[:-2]).model_fields.get(where[-2])
    return f" ({field.description})" if field and field.description else ""


def _section(root: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for part in path:
        if part not in root.model_fields:  # a key of a mapping, or a place in a list
            continue
        annotation = root.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        root = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return root
