"""The labels that trained for a map and those held out, as a plan that `train` reads: the very same division again."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED
from sparsecover.config import Config
from sparsecover.datasets import Pair, SplitPlan
from sparsecover.datasets.layouts.folder import list_folder
from sparsecover.datasets.split_parts import Parts, take_sides, with_sides
from sparsecover.labels import LabelRaster, label_groups
from sparsecover.pipeline.given_data import absolute
from sparsecover.pipeline.holding_out import BUFFER_PX, Split
from sparsecover.pipeline.inputs import BurntPair, Inputs

Sides = npt.NDArray[np.intp]


def plan_of(inputs: Inputs, split: Split, config: Config) -> SplitPlan | None:
    """The split of a map as a plan.

    Args:
        config: its data section finds the scenes and gives them the names that the plan is for.

    Returns:
        None where no plan can say it: folds, labels of several kinds, scenes that hold out ground of each other.
    """
    names = _names(inputs.pairs, config)
    if len(split.folds) > 1 or names is None:
        return None
    classes = len(inputs.scheme)
    parts = [
        Parts(Pair(scene, labels, name), labels, label_groups(labels, classes, link_px=BUFFER_PX))
        for (scene, labels), name in zip(inputs.pairs, names, strict=True)
    ]
    kinds = {part.groups.kind for part in parts}
    by = "polygon" if kinds == {"feature"} else "block"
    plan = SplitPlan(by=by, link_px=BUFFER_PX, buffer_px=BUFFER_PX, scenes=())
    sides = [_sides(part, held) for part, (_, held) in zip(parts, split.held, strict=True)]
    if len(kinds) > 1 or not _says(plan, parts, sides, split):
        return None
    return with_sides(plan, parts, sides)


def _names(pairs: Sequence[BurntPair], config: Config) -> list[str] | None:
    """What a dataset calls the scenes; None where it does not find them all, or calls two the same."""
    entries = {entry.images: entry.name for entry in list_folder(config.data).entries}
    found = {entries.get(tuple(map(absolute, scene.paths))): None for scene, _ in pairs}
    names = [name for name in found if name is not None]
    return names if len(names) == len(pairs) else None


def _sides(part: Parts, held: LabelRaster) -> Sides:
    """The side of each group: 1 where its pixels are held out."""
    numbers = part.groups.numbers[held.values != UNLABELLED]
    return (np.bincount(numbers, minlength=len(part.groups.counts) + 1)[1:] > 0).astype(np.intp)


def _says(plan: SplitPlan, parts: Sequence[Parts], sides: Sequence[Sides], split: Split) -> bool:
    """Whether these sides of the groups give the split, pixel by pixel."""
    (train, held, _), _ = take_sides(parts, sides, plan, parts[0].groups.counts.shape[1])
    for taken, wanted in ((train, split.train), (held, split.held)):
        values = {pair.name: pair.labels.values for pair in taken}
        for part, (_, labels) in zip(parts, wanted, strict=True):
            found = values.get(part.pair.name)
            same = (labels.values == UNLABELLED).all() if found is None else np.array_equal(found, labels.values)
            if not same:
                return False
    return True
