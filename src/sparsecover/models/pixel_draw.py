"""What models are given that are fitted to single pixels: a part of the labels, where they cannot take them all."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparsecover.classes import UNLABELLED

Relight = Callable[[Tensor], Tensor]
"""Normalised images [N, C, h, w] under another light, drawn anew with each call."""

LEAST_OF_CLASS = 1000  # pixels of each class that are kept, as an even part of very many leaves none of a rare class


def pixel_draw(counts: Sequence[int], most: int, seed: int) -> Callable[[Tensor], Tensor]:
    """What leaves some of the labels of each window, where all windows together have more than ``most``.

    Args:
        counts: labelled pixels of all windows by class.
        most: about how many stay labelled: an even part, and of rare classes up to ``LEAST_OF_CLASS`` pixels.
        seed: of the choice.

    Returns:
        A function of labels int [N, h, w], 255 where unlabelled, that draws anew with each call.
    """
    generator = torch.Generator().manual_seed(seed)
    even = most / max(1, sum(counts))
    shares = torch.ones(UNLABELLED + 1)
    shares[: len(counts)] = torch.tensor([max(even, LEAST_OF_CLASS / max(1, count)) for count in counts])

    def draw(labels: Tensor) -> Tensor:
        if even >= 1:
            return labels
        drawn = torch.rand(labels.shape, generator=generator) < shares[labels.long()]
        return torch.where(drawn, labels, UNLABELLED)

    return draw
