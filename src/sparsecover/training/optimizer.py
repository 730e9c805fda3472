"""Optimisers, with weight decay where it belongs."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sparsecover.errors import ConfigError, nearest
from sparsecover.models import encoder_parameters

OPTIMIZERS = ("adam", "adamw", "sgd")
_MOMENTUM = 0.9


def build_optimizer(
    model: nn.Module,
    name: str = "adamw",
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    *,
    encoder_lr_factor: float = 1.0,
) -> torch.optim.Optimizer:
    """An optimiser over a network's trainable parameters.

    Biases and the scales and shifts of norms (all parameters of fewer than two dimensions) are not decayed: pulling
    them to zero changes what a layer computes without making it simpler.

    Args:
        model: the network.
        name: ``adam``, ``adamw`` or ``sgd`` (Nesterov momentum 0.9).
        lr: the full learning rate.
        weight_decay: of the other parameters; decoupled with adamw.
        encoder_lr_factor: on the learning rate of the network's encoder, for pretrained ones.

    Raises:
        ConfigError: unknown name; a factor for a network that has no encoder.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"Unknown optimiser {name!r}. {nearest(name, OPTIMIZERS)}")
    encoder = {id(parameter) for parameter in encoder_parameters(model)} if encoder_lr_factor != 1 else set()
    if encoder_lr_factor != 1 and not encoder:
        raise ConfigError(
            f"encoder_lr_factor is {encoder_lr_factor:g}, but {type(model).__name__} has no encoder. Leave it out, or "
            "wrap the network in sparsecover.models.AnySize and name its encoder."
        )
    own = [parameter for parameter in model.parameters() if id(parameter) not in encoder]
    slow = [parameter for parameter in model.parameters() if id(parameter) in encoder]
    groups = [*_groups(own, lr, weight_decay), *_groups(slow, lr * encoder_lr_factor, weight_decay)]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=_MOMENTUM, nesterov=True)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    return kind(groups, lr=lr, fused=fused or None)


def _groups(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with and without decay; empty ones are left out."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
