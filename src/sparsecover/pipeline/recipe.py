"""Which training `map` chooses by itself, and why."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsecover.config import Config, apply_setting, nested
from sparsecover.errors import ConfigError
from sparsecover.pipeline.network_choice import (
    CONTEXT_PX,
    FITTED,
    TRAINED,
    choose_network,
    names_fitted,
    tells_training,
)

QUICK_MODEL = "random-forest-features"

AT_ONCE = ("precision", "deterministic")
"""Of the section ``train``, what every model looks at."""
_LOOP_SECTIONS = ("loss", "optim", "schedule", "train")

# Steps of a `map` training where no time is given: about three minutes on two cores.
_STEPS_CPU, _STEPS_GPU, _EPOCHS = 800, 3000, 20


def choose_recipe(
    *,
    gpu: bool,
    counts: np.ndarray | None = None,
    model: str | None = None,
    quick: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
) -> Config:
    """The configuration of a `map` training.

    Args:
        gpu: whether a GPU computes.
        counts: labelled pixels that train, by class, int64 [K], which choose the network; None where they are not known
            yet.
        model: network by name; None lets the recipe choose.
        quick: a random forest on multi-scale features makes the map, and no network is trained.
        minutes: time for the training of a network that learns in epochs; its schedule is shortened to fit.
        seed: of everything random.
        settings: ``dotted.key=value``, the user's last word.

    Raises:
        ConfigError: another model beside ``quick``, and all that settings can be wrong in.
    """
    values = _by_device(gpu)
    model = network_in(settings) or model  # before options are added that are another network's
    if quick and model not in (None, QUICK_MODEL):
        raise ConfigError(
            f"--quick maps with {QUICK_MODEL}, but the model {model} is asked for; leave out one of them."
        )
    name = values["model"]["name"] = model or (QUICK_MODEL if quick else _network(counts, settings))
    if name == "unet":
        values["model"]["base_channels"] = 64 if gpu else 16
    if name == FITTED:
        values["patches"]["size_px"] = CONTEXT_PX
    values["train"]["minutes"] = minutes
    values["seed"] = seed
    for setting in settings:
        apply_setting(values, setting)
    if isinstance(values["model"], dict):  # which a setting may have replaced
        values["model"].setdefault("name", name)
    loss = values["loss"]
    if isinstance(loss, dict) and loss.get("name") != "ce":
        loss.pop("label_smoothing", None)
    return Config.from_dict(values)


def network_in(settings: Sequence[str]) -> str | None:
    """The network that settings of the form ``dotted.key=value`` name, if they do."""
    model = nested(settings).get("model")
    name = model.get("name") if isinstance(model, dict) else None
    return name if isinstance(name, str) else None


def named_by_option(settings: Sequence[str]) -> bool:
    """Whether settings of that form name no network, but hold an option that only one has."""
    return names_fitted(_dotted(nested(settings)))


def learns_in_epochs(config: Config) -> bool:
    """Whether the model is trained in a loop; forests and hypercolumns are fitted at once."""
    return not config.model.name.startswith("random-forest") and config.model.name != FITTED


def idle_sections(config: Config) -> tuple[str, ...]:
    """Of a configuration, what its model does not look at, but for `AT_ONCE`: all that only the loop needs.

    Hypercolumns take the colours of ``augment``, forests nothing of it.
    """
    if learns_in_epochs(config):
        return ()
    return _LOOP_SECTIONS if config.model.name == FITTED else ("augment", *_LOOP_SECTIONS)


def idle_comment(config: Config) -> str:
    """A comment for the top of a configuration file, where its model has no use for some of it; else nothing."""
    if not (idle := idle_sections(config)):
        return ""
    listed = f"{', '.join(idle)} (but for its {' and '.join(AT_ONCE)})"
    return f"# {config.model.name} is fitted at once: {listed} are for networks that learn in epochs.\n"


def explain_recipe(
    config: Config, counts: np.ndarray, *, gpu: bool, by_labels: bool = True, steps: int | None = None
) -> list[str]:
    """What `map` trains on how many labels, in words.

    Args:
        config: of `choose_recipe`.
        counts: labelled training pixels by class, int64 [K].
        gpu: whether a GPU computes.
        by_labels: whether they chose the network, and not the user.
        steps: that were trained; None: as many as the configuration says.
    """
    chosen, why = choose_network(counts)
    called_for = [f"{chosen}, as {why}"] if config.model.name == chosen and by_labels else []
    return [_about_labels(counts), *called_for, *_about_training(config, "GPU" if gpu else "CPU", steps)]


def _network(counts: np.ndarray | None, settings: Sequence[str]) -> str:
    """What the labels call for; the usual network where settings are given to train it."""
    if named_by_option(settings):
        return FITTED
    if counts is None or tells_training(_dotted(nested(settings))):
        return TRAINED
    return choose_network(counts)[0]


def _dotted(values: dict[str, Any]) -> list[str]:
    """The keys of nested values, as ``section.key``."""
    below = {section: inner if isinstance(inner, dict) else {} for section, inner in values.items()}
    return [key for section, inner in below.items() for key in ([f"{section}.{name}" for name in inner] or [section])]


def _by_device(gpu: bool) -> dict[str, Any]:
    size, batch, steps = (256, 16, _STEPS_GPU) if gpu else (96, 16, _STEPS_CPU)
    return {
        "patches": {"size_px": size, "per_epoch": batch * (steps // _EPOCHS)},
        "model": {},
        "augment": "light",  # the scenes that are mapped are those trained on, under the same light
        # Without smoothing a network learns few labels by heart and tells nothing of what lies between them.
        "loss": {"name": "ce", "class_weights": "tempered", "label_smoothing": 0.1},
        "optim": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "train": {"epochs": _EPOCHS, "batch_size": batch, "ema": True},
    }


def _about_labels(counts: np.ndarray) -> str:
    present = counts[counts > 0]
    each = f"{present.min():,}" + (f" to {present.max():,}" if present.min() < present.max() else "")
    return f"{int(counts.sum()):,} labelled pixels in {present.size} classes, {each} each"


def _about_training(config: Config, device: str, trained: int | None) -> list[str]:
    """Size and length of a training in words; what is fitted at once has neither."""
    name, train, patches = config.model.name, config.train, config.patches
    if name == FITTED:
        return ["a small network on what an encoder taught on ImageNet and filters at six scales see, fitted at once"]
    if not learns_in_epochs(config):
        return [f"{name}, which needs no training steps"]
    channels = getattr(config.model, "base_channels", None)
    size = f" of {channels} base channels" if channels else ""
    reasons = [f"{name}{size}, trained on a {device}"]
    if isinstance(patches.per_epoch, int):
        steps = train.epochs * (patches.per_epoch // train.batch_size)
        cut = trained is not None and trained < steps
        done = f"{trained} of {steps} steps, to end in {train.minutes or 0:g} minutes," if cut else f"{steps} steps"
        reasons.append(f"{done} of {train.batch_size} windows of {patches.size_px} px")
    if config.augment == "light":
        reasons.append("light augmentation (flips and turns): the mapped scenes are those trained on")
    return reasons
