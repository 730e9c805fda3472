"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn

_LIMIT = 0.999


class WeightAverage:
    """Averages weights after each step: ``t' = a t' + (1 - a) t``, ``a = min(0.999, (step + 1) / (step + 10))``.

    The early ``a`` forgets the random start within a few steps. BatchNorm's running statistics are averaged alike;
    integer buffers are copied.

    Attributes:
        model: a network of its own that holds the averages.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights of ``model`` after step number ``step``, counted from 0."""
        decay = min(_LIMIT, (step + 1) / (step + 10))
        averages, weights = self.model.state_dict(), model.state_dict()
        floating = [name for name, value in weights.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[n] for n in floating], [weights[n] for n in floating], 1 - decay)
        for name in weights.keys() - set(floating):
            averages[name].copy_(weights[name])
