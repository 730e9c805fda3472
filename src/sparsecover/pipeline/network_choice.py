"""Which network the labels call for; docs/technical-report.md has the figures."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from sparsecover.config import Config

FITTED = "hypercolumns"
TRAINED = "unet"

CONTEXT_PX = 256
"""Side of the windows of a network that is not trained on windows, but looks far."""

_FITTED_ALONE = frozenset(
    f"model.{name}" for name in ("hidden", "smooth_px", "edge_variance", "estimate_shares")
)  # options that name it as well as its name does
_TRAINING = frozenset({"model", "loss", "optim", "schedule", "train"})
_RUNNING = frozenset(
    f"train.{name}"
    for name in (
        "precision", "deterministic", "workers", "minutes", "save_every_minutes", "save_every_epochs", "save_top_k",
        "samples_every",
    )
)  # fmt: skip

# Up to 9.9 million labelled pixels hypercolumns were better than a small U-Net. They learn from 40,000 of them at most,
# and a network that learns from all should overtake them somewhere; beyond that count nothing was compared.
MANY_PX = 10_000_000


def tells_training(keys: Iterable[str]) -> bool:
    """Whether settings, as dotted keys, say how to train a network: who gives one wants the loop."""
    return any(key.split(".")[0] in _TRAINING and key not in _RUNNING for key in keys)


def names_fitted(keys: Iterable[str]) -> bool:
    """Whether settings, as dotted keys, hold an option that only ``FITTED`` has, and no name of a network."""
    given = set(keys)
    return "model.name" not in given and not given.isdisjoint(_FITTED_ALONE)


def choose_network(counts: npt.NDArray[np.int64]) -> tuple[str, str]:
    """The network by name, and why.

    Args:
        counts: labelled pixels that train, by class, int64 [K].
    """
    total = int(counts.sum())
    if total < MANY_PX:
        return FITTED, f"the {total:,} labelled pixels are below {MANY_PX:,}, and a pretrained encoder knows more"
    return TRAINED, f"hypercolumns were only found better below {MANY_PX:,} labelled pixels, and these are {total:,}"


def named_by_options(config: Config) -> Config:
    """The configuration, with the network that alone has the options given where these come without a name."""
    if not names_fitted(f"model.{name}" for name in config.model.model_fields_set):
        return config
    return config.with_changes({"model.name": FITTED})


def settle_network(config: Config, count: Callable[[], npt.NDArray[np.int64]]) -> tuple[Config, str | None]:
    """The configuration with the network that the labels call for, and why; as it is where it says how to train.

    Args:
        config: of a training, as the user gave it.
        count: gives labelled pixels that train, by class, int64 [K]; it reads all labels, so it is only called at need.
    """
    sections = config.model_fields_set - {"train"}
    if tells_training([*sections, *(f"train.{name}" for name in config.train.model_fields_set)]):
        return config, None
    name, why = choose_network(count())
    changes: dict[str, object] = {"model.name": name}
    if name == FITTED and "size_px" not in config.patches.model_fields_set:
        changes["patches.size_px"] = CONTEXT_PX
    return config.with_changes(changes), f"Model: {name}, as {why}. A section model: in the configuration names another"
