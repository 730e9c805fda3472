"""Which network the labels and the device at hand call for; docs/technical-report.md has the figures."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from sparsecover.config import Config

FITTED = "hypercolumns"
TRAINED = "unet"

CONTEXT_PX = 256
"""Side of the windows of a network that is not trained on windows, but looks far."""

_TRAINING = frozenset({"model", "loss", "optim", "schedule", "augment", "train"})
_RUNNING = frozenset(
    f"train.{name}"
    for name in (
        "deterministic", "workers", "save_every_minutes", "save_every_epochs", "save_top_k", "samples_every",
    )
)  # fmt: skip

# On CPUs, up to 8.8 million labelled pixels, hypercolumns were better than a U-Net trained for as long. A GPU trains a
# larger U-Net on far more windows; where the two meet there has not been measured.
MANY_PX = 10_000_000
MANY_PX_GPU = 20_000


def tells_training(keys: Iterable[str]) -> bool:
    """Whether settings, as dotted keys, say how to train a network: who gives one wants the loop."""
    return any(key.split(".")[0] in _TRAINING and key not in _RUNNING for key in keys)


def choose_network(counts: npt.NDArray[np.int64], *, gpu: bool) -> tuple[str, str]:
    """The network by name, and why.

    Args:
        counts: labelled pixels that train, by class, int64 [K].
        gpu: whether a GPU computes.
    """
    total, many = int(counts.sum()), MANY_PX_GPU if gpu else MANY_PX
    if total < many:
        return FITTED, f"the {total:,} labelled pixels are below {many:,}, and a pretrained encoder knows more"
    return TRAINED, f"the {total:,} labelled pixels are {many:,} or more, enough to learn all layers from"


def settle_network(
    config: Config, count: Callable[[], npt.NDArray[np.int64]], *, gpu: bool
) -> tuple[Config, str | None]:
    """The configuration with the network that the labels call for, and why; as it is where it says how to train.

    Args:
        config: of a training, as the user gave it.
        count: gives labelled pixels that train, by class, int64 [K]; it reads all labels, so it is only called at need.
        gpu: whether a GPU computes.
    """
    sections = config.model_fields_set - {"train"}
    if tells_training([*sections, *(f"train.{name}" for name in config.train.model_fields_set)]):
        return config, None
    name, why = choose_network(count(), gpu=gpu)
    changes: dict[str, object] = {"model.name": name}
    if name == FITTED and "size_px" not in config.patches.model_fields_set:
        changes["patches.size_px"] = CONTEXT_PX
    return config.with_changes(changes), f"Model: {name}, as {why}. A section model: in the configuration names another"
