"""What is read from scenes and labels before a training: classes, band statistics, validation windows, a cache."""

from collections.abc import Iterator, Sequence

import numpy as np

from sparsecover.classes import ClassScheme, in_words
from sparsecover.config import Config
from sparsecover.datasets import check_sampler
from sparsecover.errors import ConfigError, DataError, SceneError
from sparsecover.losses import check_loss
from sparsecover.models import check_model
from sparsecover.normalize import Normalizer, fit_normalizer
from sparsecover.patches import Augmenter, Pair, PatchPlan, cache_pairs, plan_patches
from sparsecover.raster import Scene
from sparsecover.raster.source import Valid, Values
from sparsecover.training.regularisers import Regulariser, Suggester, create_regulariser

_PREVIEW_PX = 1024  # scenes are read this small for band statistics
_PREVIEWS = 200  # and at most this many of them


def check_parts(config: Config) -> None:
    """Refuse a sampler, augmentation, network, loss or regulariser that cannot be meant, before scenes are read.

    Raises:
        ModelError, LabelError, ConfigError: unknown names or options, with near matches, and values that cannot be
            meant.
        MissingPartError: the network needs an optional part that is not installed.
    """
    check_sampler(config.data.simulate)
    Augmenter.from_config(config.augment)
    check_model(config.model.name, config.model.options)
    check_loss(config.loss.name, config.loss.options)
    chosen_regularisers(config)


def chosen_regularisers(config: Config) -> dict[str, Regulariser]:
    """The regularisers of a configuration by name.

    Raises:
        ConfigError: two of them suggest labels, of which a pixel can have one.
    """
    parts = {part.name: create_regulariser(part.name, **part.options) for part in config.train.regularisers}
    suggesting = [name for name, part in parts.items() if isinstance(part, Suggester)]
    if len(suggesting) > 1:
        raise ConfigError(f"{' and '.join(suggesting)} both suggest labels for the same pixels; give one of them.")
    return parts


def asks_first_round(config: Config) -> bool:
    """Whether a regulariser learns from a network that was trained before, without it."""
    return any(_asks(part) for part in chosen_regularisers(config).values())


def without_first_round(config: Config) -> Config:
    """The configuration of that first training."""
    parts = chosen_regularisers(config)
    kept = [part for part in config.train.regularisers if not _asks(parts[part.name])]
    return config.with_changes({"train.regularisers": [part.model_dump() for part in kept]})


def _asks(part: Regulariser) -> bool:
    return isinstance(part, Suggester) and part.first_round and part.weight > 0


def configured_scheme(config: Config) -> ClassScheme:
    """The classes of a configuration.

    Raises:
        DataError: it has none.
    """
    if config.classes is None:
        raise DataError(
            "The labels carry no classes. Give fit(..., scheme=ClassScheme.from_names([...])), or classes: in the "
            "configuration."
        )
    return ClassScheme.from_config(config.classes)


def check_classes(scheme: ClassScheme) -> None:
    """Refuse a single class, which teaches nothing.

    Raises:
        DataError: with what to do.
    """
    if len(scheme) < 2:
        raise DataError(
            f"Only one class is labelled: {', '.join(map(in_words, scheme.names))}. Label a second one; or, where the "
            "rest is known to be something else, let `sparsecover labels burn --background NAME --labelled-area AREA` "
            "make a label raster that says so, and name it in data.labels."
        )


def held_plan(pairs: Sequence[Pair], plan: PatchPlan, num_classes: int) -> PatchPlan | None:
    """Windows over the validation labels; None where there are none."""
    labels = [raster for _, raster in pairs]
    if not any(raster.counts(num_classes).any() for raster in labels):
        return None
    return plan_patches(labels, num_classes=num_classes, size_px=plan.size_px, sampling="grid")


def scene_normalizer(scenes: Sequence[Scene], plan: PatchPlan, config: Config) -> Normalizer:
    """Statistics of the training windows in small versions of the scenes; of many scenes, some drawn by the seed.

    Raises:
        SceneError: one cannot be read, unless ``data.on_read_error`` is skip and another one can.
    """
    labelled = sorted({block.pair for block in plan.blocks})
    order = np.random.default_rng(config.seed).permutation(labelled)[:_PREVIEWS]
    samples = _samples(scenes, plan, sorted(order.tolist()), config.data.on_read_error == "skip")
    return fit_normalizer(config.normalize, samples, scenes[0].dtype, len(scenes[0].bands))


def _samples(
    scenes: Sequence[Scene], plan: PatchPlan, chosen: Sequence[int], tolerant: bool
) -> Iterator[tuple[Values, Valid]]:
    failures: list[SceneError] = []
    for number in chosen:
        try:
            values, valid = scenes[number].preview(_PREVIEW_PX)
        except SceneError as error:
            if not tolerant:
                raise
            failures.append(error)
        else:
            yield values, valid & plan.covered(number, *valid.shape)
    if failures and len(failures) == len(chosen):
        raise failures[0]


def in_memory(pairs: Sequence[Pair], config: Config) -> tuple[list[Pair], str]:
    """The pairs, in memory where ``patches.cache`` wants it and all can be read, and what was done, for the log."""
    try:
        return cache_pairs(pairs, config.patches.cache)
    except SceneError:
        if config.data.on_read_error != "skip":
            raise
        return list(pairs), "windows are read from the files: not all of them can be read whole"
