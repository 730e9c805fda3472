"""Images and labels that belong together by their names."""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sparsecover.errors import DataError, summary


class Pairing(NamedTuple):
    """(name, image, labels) in natural order, and one line for each file without a partner."""

    pairs: list[tuple[str, Path, Path]]
    problems: list[str]
    notes: list[str]


def pair_files(images: Sequence[Path], labels: Sequence[Path], pair_by: str | None = None) -> Pairing:
    """Pair two lists of files.

    By the first group of the regular expression ``pair_by``, searched in the file name; else by the stem; else, where
    no stem is on both sides, by what is left of the stems without the start and end that all files of a side share
    (``India_1_S1Hand`` and ``India_1_LabelHand``); else, where nothing matches and there are equally many, in natural
    order.

    Raises:
        DataError: two files of one side with the same name; an expression without a group.
    """
    if pair_by is not None:
        key = _by_expression(pair_by)
        return _join(_keyed(images, key), _keyed(labels, key), [])
    by_stem = _keyed(images, _stem), _keyed(labels, _stem)
    if by_stem[0].keys() & by_stem[1].keys() or not images or not labels:
        return _join(*by_stem, [])
    by_core = _keyed(images, _core(images)), _keyed(labels, _core(labels))
    if by_core[0].keys() & by_core[1].keys():
        return _join(*by_core, [])
    if len(images) != len(labels):
        return _join(*by_stem, [])
    note = "No image has the name of a label file; they were paired in natural order: check a few of them."
    ordered = zip(sorted(images, key=natural), sorted(labels, key=natural), strict=True)
    return Pairing([(image.stem, image, label) for image, label in ordered], [], [note])


def natural(path: Path | str) -> list[tuple[int, str]]:
    """A key that sorts ``part 2`` before ``part 10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", str(path))]


def _stem(path: Path) -> str:
    return path.stem


def _by_expression(pair_by: str) -> Callable[[Path], str | None]:
    try:
        expression = re.compile(pair_by)
    except re.error as error:
        raise DataError(f"data.pair_by {pair_by!r} is not a regular expression: {error}.") from None
    if expression.groups < 1:
        raise DataError(f"data.pair_by {pair_by!r} has no group; put what image and labels share in parentheses.")

    def key(path: Path) -> str | None:
        match = expression.search(path.name)
        return match.group(1) if match else None

    return key


def _core(paths: Sequence[Path]) -> Callable[[Path], str]:
    """A key without the start and the end that all stems share."""
    stems = [path.stem for path in paths]
    start = _shared(stems)
    end = _shared([stem[start:][::-1] for stem in stems])

    def key(path: Path) -> str:
        return path.stem[start : len(path.stem) - end]

    return key


def _shared(texts: Sequence[str]) -> int:
    """How many characters all texts start with."""
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False)))


def _keyed(paths: Sequence[Path], key: Callable[[Path], str | None]) -> dict[str | None, list[Path]]:
    keyed: defaultdict[str | None, list[Path]] = defaultdict(list)
    for path in paths:
        keyed[key(path)].append(path)
    twice = [f"{name}: {', '.join(map(str, group))}" for name, group in keyed.items() if name and len(group) > 1]
    if twice:
        raise DataError(
            f"Several files have the same name:\n{summary(twice)}\nNarrow data.images and data.labels, or set "
            "data.pair_by to an expression whose group tells them apart."
        )
    return keyed


def _join(images: dict[str | None, list[Path]], labels: dict[str | None, list[Path]], notes: list[str]) -> Pairing:
    both = {name for name in images.keys() & labels.keys() if name is not None}
    pairs = [(name, images[name][0], labels[name][0]) for name in sorted(both, key=natural)]
    problems = [
        f"{path} has no {other}"
        for side, other in ((images, "labels"), (labels, "image"))
        for name, group in side.items()
        if name not in both
        for path in group
    ]
    return Pairing(pairs, problems, notes)
