"""One tree of errors. Each leaf also inherits the built-in that a caller would expect.

SparseCoverError
├── ConfigError      (ValueError)    a configuration that cannot be meant
├── SceneError       (OSError)       a raster that cannot be opened or read
├── GridError        (ValueError)    windows, sizes and coordinate systems that do not fit together
├── LabelError       (ValueError)    labels that cannot be used
│   ├── LabelsElsewhere              labels without one on the scene
│   └── UnknownCodes                 codes or colours of a label raster that are no class
├── ClassError       (ValueError)    classes, codes and colours
├── DataError        (ValueError)    sets of scenes and labels, splits, plans
├── ModelError       (ValueError)    unknown models, losses and options; wrong shapes
├── CheckpointError  (ValueError)    files that are not, or no longer, our checkpoints
├── TrainingError    (RuntimeError)  a training that cannot go on
├── OutputError      (OSError)       results that cannot be written
└── MissingPartError (ImportError)   an optional part that is not installed

A message says what was given, what was expected, and what to do next.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from types import MappingProxyType
from typing import Any

_LISTED = 20


class SparseCoverError(Exception):
    """Root of all errors that are a user's to mend; the command line ends with exit code 2."""


class ConfigError(SparseCoverError, ValueError):
    """A configuration that cannot be meant."""


class SceneError(SparseCoverError, OSError):
    """A raster that cannot be opened or read."""


class GridError(SparseCoverError, ValueError):
    """Windows, sizes and coordinate systems that do not fit together."""


class LabelError(SparseCoverError, ValueError):
    """Labels that cannot be used."""


class LabelsElsewhere(LabelError):
    """A good label file without a label on the scene; among many scenes that is no mistake."""


class UnknownCodes(LabelError):
    """Codes of a label raster, or colours (``#RRGGBB``), that are no class.

    Attributes:
        path: the label raster.
        pixels: how often each of them occurs.
        known: the classes in words.
    """

    def __init__(
        self, message: str, path: str = "", pixels: Mapping[Any, int] = MappingProxyType({}), known: str = ""
    ) -> None:
        super().__init__(message)
        self.path, self.pixels, self.known = path, dict(pixels), known


class ClassError(SparseCoverError, ValueError):
    """Classes, codes and colours that cannot be used."""


class DataError(SparseCoverError, ValueError):
    """Sets of scenes and labels, splits and plans that cannot be used."""


class ModelError(SparseCoverError, ValueError):
    """Unknown models, losses or options; tensors of a wrong shape."""


class CheckpointError(SparseCoverError, ValueError):
    """A file that is not, or no longer, one of our checkpoints."""


class TrainingError(SparseCoverError, RuntimeError):
    """A training that cannot go on."""


class OutputError(SparseCoverError, OSError):
    """Results that cannot be written."""


class MissingPartError(SparseCoverError, ImportError):
    """An optional part that is not installed."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint such as ``Did you mean 'unet'?`` followed by all choices, for error messages.

    >>> nearest("unett", ["unet", "unetpp"])
    "Did you mean 'unet' or 'unetpp'? Choices: unet, unetpp."
    """
    names = sorted(choices)
    hint = _did_you_mean(name.lower(), names)
    return f"{hint} Choices: {', '.join(names)}.".lstrip()


def near_files(path: Path) -> str:
    """What to do about a file that is not there: take one of a like name beside it, or check the path."""
    try:
        beside = [each.name for each in path.parent.iterdir()]
    except OSError:
        return f"The folder {path.parent} cannot be read either. Check the path."
    return _did_you_mean(path.name, beside) or f"Check the path; it is read from {Path.cwd()}."


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else ""


def summary(lines: Sequence[str]) -> str:
    """Lines of a message, cut where there are very many."""
    more = f"\n... and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return "\n".join(lines[:_LISTED]) + more


def listed(problems: Sequence[str], what: str, option: str, noun: str = "file") -> str:
    """A message on all that cannot be used, and the option that leaves it out.

    >>> print(listed(["a.tif has no labels"], "without a partner", "--skip-unpaired"))
    1 file without a partner (--skip-unpaired leaves out such files):
    a.tif has no labels
    """
    return f"{counted(problems, noun)} {what} ({option} leaves out such files):\n{summary(problems)}"


def counted(things: Sized, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{len(things)} {plural(len(things), noun)}"


def plural(number: int, noun: str) -> str:
    """``file`` for 1, ``files`` for any other number."""
    return noun if number == 1 else f"{noun}s"
