"""A table of named parts, imported on first use: names and near matches cost no heavy import."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsecover.errors import ModelError, nearest

Factory = Callable[..., Any]


@dataclass(frozen=True)
class Part:
    """A factory, or where to import it from (``"package.module:name"``), with the options that make this variant."""

    factory: Factory | str
    preset: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Factory:
        """Import the factory."""
        if not isinstance(self.factory, str):
            return self.factory
        module, _, name = self.factory.partition(":")
        loaded: Factory = getattr(importlib.import_module(module), name)
        return loaded


class Registry:
    """Parts of one kind (``"model"`` or ``"loss"``) by name."""

    def __init__(self, kind: str, parts: Mapping[str, Part]) -> None:
        self.kind = kind
        self._parts = dict(parts)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._parts)

    def register(self, name: str, factory: Factory, *, replace: bool = False) -> None:
        """Make ``factory`` usable by name.

        Raises:
            ModelError: the name is taken and ``replace`` is False, or the factory cannot be called.
        """
        if not callable(factory):
            raise ModelError(f"The factory of the {self.kind} {name!r} is a {type(factory).__name__}; give a callable.")
        if name in self._parts and not replace:
            raise ModelError(f"The {self.kind} {name!r} exists already. Choose another name or pass replace=True.")
        self._parts[name] = Part(factory)

    def create(self, name: str, **arguments: Any) -> Any:
        """Call the named factory.

        Raises:
            ModelError: unknown name or option; the message lists near matches.
        """
        if name not in self._parts:
            raise ModelError(f"Unknown {self.kind} {name!r}. {nearest(name, self._parts)}")
        part = self._parts[name]
        factory = part.load()
        merged = {**part.preset, **arguments}
        check_options(f"{self.kind} {name!r}", factory, merged)
        return factory(**merged)


def check_options(what: str, factory: Factory, options: Mapping[str, Any]) -> None:
    """Refuse options that ``factory`` does not take, naming the nearest ones.

    A factory with ``**options`` checks them itself.
    """
    parameters = inspect.signature(factory).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = [option for option in options if option not in parameters]
    if unknown:
        raise ModelError(f"Unknown option {unknown[0]!r} of the {what}. {nearest(unknown[0], parameters)}")
