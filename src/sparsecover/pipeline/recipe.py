"""Which training `map` chooses by itself, and why: a function of the labels at hand and the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsecover.config import Config, apply_setting

QUICK_MODEL = "random-forest-features"

# Steps of a `map` training where no time is given: about three minutes on two cores.
_STEPS_CPU, _STEPS_GPU = 800, 3000


def choose_recipe(
    counts: np.ndarray,
    *,
    gpu: bool,
    model: str | None = None,
    quick: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
) -> tuple[Config, list[str]]:
    """The configuration of a `map` training, and the reasons for its choices.

    Args:
        counts: labelled training pixels by class, int64 [K].
        gpu: whether a GPU computes.
        model: network by name; None lets the recipe choose.
        quick: a random forest on multi-scale features instead of a network.
        minutes: time for the training; the schedule is shortened to fit.
        seed: of everything random.
        settings: ``dotted.key=value``, the user's last word.
    """
    values, reasons = _by_device(gpu)
    name = model or (QUICK_MODEL if quick else "unet")
    if name == "unet":
        values["model"]["base_channels"] = 64 if gpu else 16
        reasons.append(f"unet of {values['model']['base_channels']} base channels on a {'GPU' if gpu else 'CPU'}")
    values["model"]["name"] = name
    values["train"]["minutes"] = minutes
    values["seed"] = seed
    for setting in settings:
        apply_setting(values, setting)
    return Config.from_dict(values), [*reasons, _about(counts)]


def _by_device(gpu: bool) -> tuple[dict[str, Any], list[str]]:
    size, batch, steps = (256, 16, _STEPS_GPU) if gpu else (96, 16, _STEPS_CPU)
    epochs = 20
    values: dict[str, Any] = {
        "patches": {"size_px": size, "per_epoch": batch * (steps // epochs)},
        "model": {},
        "augment": "light",
        "loss": {"name": "ce", "class_weights": "tempered"},
        "optim": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "train": {"epochs": epochs, "batch_size": batch, "ema": True},
    }
    return values, [
        f"{steps} steps of {batch} windows of {size} px",
        "light augmentation (flips and turns), since the scenes that are mapped are those trained on",
    ]


def _about(counts: np.ndarray) -> str:
    present = counts[counts > 0]
    return (
        f"{int(counts.sum()):,} labelled pixels in {present.size} classes, {present.min():,} to {present.max():,} each"
    )
