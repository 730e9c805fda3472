"""Any loader of images and labels, such as torch's DataLoader, as the loop takes it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from sparsecover.errors import DataError
from sparsecover.patches import Batch
from sparsecover.training.loader import Batches


class _PlainBatches:
    """Any loader of (images, labels) as ``Batches``; an epoch is one pass over it."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        try:
            return len(self._loader)  # type: ignore[arg-type]
        except TypeError:
            raise DataError("The loader has no length; give a DataLoader over a dataset that has one.") from None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if hasattr(getattr(self._loader, "sampler", None), "set_epoch"):
            self._loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for batch in islice(self._loader, start, None):
            yield batch if isinstance(batch, Batch) else _as_batch(batch)


def as_batches(loader: Batches | Iterable[Any]) -> Batches:
    """A loader that can start an epoch anywhere as it is; any other one wrapped."""
    return loader if hasattr(loader, "epoch") else _PlainBatches(loader)  # type: ignore[return-value]


def _as_batch(parts: Any) -> Batch:
    if not (isinstance(parts, (tuple, list)) and len(parts) == 2 and all(isinstance(p, Tensor) for p in parts)):
        raise DataError(
            f"A loader must yield (images [N, C, h, w], labels [N, h, w]) as tensors; it gave a {type(parts).__name__}"
            f"{f' of {len(parts)}' if isinstance(parts, (tuple, list)) else ''}."
        )
    images, labels = parts
    if images.ndim != 4 or labels.shape != (len(images), *images.shape[2:]) or labels.is_floating_point():
        raise DataError(
            f"A loader gave images {list(images.shape)} and labels {list(labels.shape)} of {labels.dtype}; expected "
            "float [N, C, h, w] and integers [N, h, w]."
        )
    return Batch(images.float(), labels, torch.ones(labels.shape, dtype=torch.bool, device=labels.device))
