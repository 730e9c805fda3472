"""An even part of the labelled pixels, where a model that is fitted to single pixels cannot take them all."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sparsecover.classes import UNLABELLED


def draw_pixels(
    windows: Iterable[tuple[Tensor, Tensor]], total: int, most: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The windows with some of their labels only, where all windows together have more than ``most``.

    Args:
        windows: images [N, C, h, w] and labels int [N, h, w], 255 where unlabelled.
        total: labelled pixels of all windows.
        most: about how many stay labelled.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    for images, labels in windows:
        if total > most:
            drawn = torch.rand(labels.shape, generator=generator) < most / total
            labels = torch.where(drawn, labels, UNLABELLED)
        yield images, labels
