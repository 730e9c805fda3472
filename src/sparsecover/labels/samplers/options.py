"""Options of samplers. Their names and least values stand in the signatures of the samplers, and are checked here."""

from collections.abc import Callable, Mapping
from inspect import signature
from numbers import Integral
from typing import Annotated, Any

from sparsecover.errors import LabelError

Size = Annotated[int, 1]
"""An option in pixels, at least 1."""

Distance = Annotated[int, 0]
"""An option in pixels, at least 0."""


def check_options(name: str, sampler: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a sampler does not have, and values that cannot be meant.

    Raises:
        LabelError: an unknown option, or one that is no whole number or too small.
    """
    parameters = signature(sampler).parameters.values()
    least = {p.name: p.annotation.__metadata__[0] for p in parameters if p.kind is p.KEYWORD_ONLY}
    unknown = sorted(options.keys() - least.keys())
    if unknown:
        known = f"it has {', '.join(sorted(least))}" if least else "it has none"
        raise LabelError(f"The sampler {name!r} has no option {', '.join(unknown)}; {known}.")
    for option, value in options.items():
        if not isinstance(value, Integral) or int(value) < least[option]:
            raise LabelError(
                f"The option {option} of the sampler {name!r} must be a whole number of pixels, at least "
                f"{least[option]}; given {value!r}."
            )
