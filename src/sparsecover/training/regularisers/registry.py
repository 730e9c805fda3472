"""Regularisers by name."""

from collections.abc import Callable
from typing import Any

from sparsecover.registry import Part, Registry
from sparsecover.training.regularisers.base import Regulariser

_PACKAGE = "sparsecover.training.regularisers"

_REGULARISERS = Registry(
    "regulariser",
    {
        "consistency": Part(f"{_PACKAGE}.consistency:Consistency"),
        "gated_crf": Part(f"{_PACKAGE}.gated_crf:GatedCRF"),
        "superpixels": Part(f"{_PACKAGE}.superpixels:Superpixels"),
        "self_training": Part(f"{_PACKAGE}.self_training:SelfTraining"),
    },
    follows={},
)


def list_regularisers() -> list[str]:
    """Names that :func:`create_regulariser` knows, sorted.

    >>> "consistency" in list_regularisers()
    True
    """
    return _REGULARISERS.names()


def register_regulariser(name: str, factory: Callable[..., Regulariser], *, replace: bool = False) -> None:
    """Make a regulariser usable by name in ``train.regularisers``.

    Args:
        name: the new name.
        factory: called as ``factory(**options)``.
        replace: allow a name that exists.

    Raises:
        ModelError: the name exists, or the factory cannot be called.
    """
    _REGULARISERS.register(name, factory, replace=replace)


def create_regulariser(name: str, **options: Any) -> Regulariser:
    """Make a regulariser by name.

    Raises:
        ModelError: unknown name or option (the message lists near matches).
        ConfigError: a value that cannot be meant.

    >>> create_regulariser("gated_crf", radius=3).radius
    3
    """
    part: Regulariser = _REGULARISERS.create(name, options)
    return part
