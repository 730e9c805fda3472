"""A table of named parts, imported on first use: names and near matches cost no heavy import."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_origin, get_type_hints

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
    """Parts of one kind (``"model"`` or ``"loss"``) by name.

    Args:
        kind: what messages call a part.
        parts: by name.
        follows: what every part of the kind takes, and what of a configuration it follows from.
    """

    def __init__(self, kind: str, parts: Mapping[str, Part], follows: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._parts, self._follows = dict(parts), dict(follows or {})

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

    def create(self, name: str, options: Mapping[str, Any], **arguments: Any) -> Any:
        """Call the named factory.

        Args:
            name: one of :meth:`names`.
            options: the part's own, as a user wrote them.
            **arguments: what every part of the kind takes.

        Raises:
            ModelError: unknown name or option (the message lists near matches), or a value of another type.
        """
        factory, made = self._prepared(name, options, arguments)
        return factory(**made)

    def check(self, name: str, options: Mapping[str, Any] | None, make: Callable[[], object]) -> None:
        """See whether a configuration names a part and options that it takes.

        Args:
            options: the part's own; None looks at the name alone and imports nothing.
            make: makes the part, which finds values that cannot be meant; called for the package's own parts only, as a
                registered one may do anything then.

        Raises:
            ModelError: it does not.
        """
        if options is None:
            return self._check_name(name)
        for option in options.keys() & self._follows.keys():
            raise ModelError(f"{option!r} is no option of a {self.kind}: it follows from {self._follows[option]}.")
        self._prepared(name, options, {})
        if isinstance(self._parts[name].factory, str):
            make()
        return None

    def _check_name(self, name: str) -> None:
        if name not in self._parts:
            raise ModelError(f"Unknown {self.kind} {name!r}. {nearest(name, self._parts)}")

    def _prepared(
        self, name: str, options: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> tuple[Factory, dict[str, Any]]:
        """The named factory, and all that it is to be called with."""
        self._check_name(name)
        part = self._parts[name]
        factory = part.load()
        what = f"{self.kind} {name!r}"
        check_options(what, factory, {**options, **arguments}, hidden=self._follows)
        return factory, {**part.preset, **converted(what, factory, options), **arguments}


def check_options(what: str, factory: Factory, options: Mapping[str, Any], hidden: Iterable[str] = ()) -> None:
    """Refuse options that ``factory`` does not take, naming the nearest ones but those ``hidden``.

    A factory with ``**options`` checks them itself.
    """
    parameters = inspect.signature(factory).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = [option for option in options if option not in parameters]
    if unknown:
        raise ModelError(
            f"Unknown option {unknown[0]!r} of the {what}. {nearest(unknown[0], set(parameters) - set(hidden))}"
        )


def converted(what: str, factory: Factory, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in the types that ``factory`` declares: YAML reads 1e-3 as text.

    Choices among words are left to the factory, which names the nearest.

    Raises:
        ModelError: a value that is not of its type.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    types, values = _types(factory), dict(options)
    for option in values.keys() & types.keys():
        try:
            adapter = TypeAdapter(types[option], config=ConfigDict(arbitrary_types_allowed=True))
            values[option] = adapter.validate_python(values[option])
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ModelError(f"The option {option!r} of the {what} is {values[option]!r}. {reason}.") from None
    return values


def _types(factory: Factory) -> dict[str, Any]:
    try:
        hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError):  # names that only a type checker sees, callables without a signature of their own
        return {}
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not Literal}
