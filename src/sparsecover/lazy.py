"""Public names that are imported on first use (PEP 562), so that a package costs nothing until it is used."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """What a package's ``__init__`` needs: ``__all__, __getattr__, __dir__ = lazy_names(__name__, {...})``.

    Args:
        package: its full name.
        homes: module below the package by public name.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return sorted(homes), get, lambda: sorted(homes)
