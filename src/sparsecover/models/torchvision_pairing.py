"""Importing torchvision beside any torch.

PyPI's torchvision is built against a CUDA torch. Beside a CPU-only torch, or another release, its compiled operators do
not load, which torchvision tolerates by itself; but while importing it also describes the operator ``nms`` to torch,
and that fails with "operator torchvision::nms does not exist". Networks need none of these operators, only
torchvision's Python code. So the two operators it describes are declared, without any implementation, and the import is
tried again: calling one then fails, importing does not.

Every import of torchvision, or of a library that imports it (timm, segmentation-models-pytorch), goes through here.
"""

import importlib
from types import ModuleType

import torch

from sparsecover.errors import MissingPartError

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# Declarations last as long as the object that made them.
_declared: list[torch.library.Library] = []


def import_beside_torchvision(module: str, extra: str) -> ModuleType:
    """Import torchvision, and then a module that may need it.

    Args:
        module: what to import, for example ``"timm"``.
        extra: the optional part of sparsecover that brings it.

    Raises:
        MissingPartError: it is not installed.
    """
    try:
        _import_torchvision()
        return importlib.import_module(module)
    except ImportError as error:
        name = error.name or module
        raise MissingPartError(
            f"The Python module {name} is missing: {error}. Install it with: pip install 'sparsecover[{extra}]'",
            name=name,
        ) from error


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in _OPERATORS:
            library.define(operator)  # type: ignore[no-untyped-call]
        _declared.append(library)
        importlib.import_module("torchvision")
