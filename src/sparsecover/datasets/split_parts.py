"""The labels of each scene divided by blocks or polygons."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from sparsecover.classes import UNLABELLED
from sparsecover.datasets.layouts.base import SIDES
from sparsecover.datasets.pair import Pair
from sparsecover.datasets.split_plan import GroupSide, SceneSide, SplitPlan
from sparsecover.errors import DataError
from sparsecover.labels import (
    LabelFile,
    LabelGroups,
    LabelRaster,
    apart,
    assign_groups,
    buffer_note,
    label_groups,
    near,
    pixel_weights,
)


@dataclass(frozen=True, eq=False)
class Parts:
    """A pair with its labels in memory, and their groups."""

    pair: Pair
    labels: LabelRaster
    groups: LabelGroups

    @property
    def digest(self) -> str:
        """Of which pixel is in which group."""
        return hashlib.blake2b(np.ascontiguousarray(self.groups.numbers).data, digest_size=16).hexdigest()


def group_pairs(pairs: Sequence[Pair], plan: SplitPlan, num_classes: int) -> list[Parts]:
    """The labelled pairs, each with its blocks or polygons.

    Raises:
        DataError: no labelled pixel; LabelError: polygons are asked for, but labels do not come from vectors.
    """
    kind: Literal["block", "feature"] = "block" if plan.by == "block" else "feature"
    parts = []
    for pair in pairs:
        labels = pair.labels.load() if isinstance(pair.labels, LabelFile) else pair.labels
        if (labels.values != UNLABELLED).any():
            groups = label_groups(labels, num_classes, kind=kind, link_px=plan.link_px, block_px=plan.block_px)
            parts.append(Parts(pair, labels, groups))
    if not parts:
        raise DataError("There is no labelled pixel to divide.")
    return parts


def deal_groups(
    parts: Sequence[Parts], plan: SplitPlan, shares: Sequence[float], seed: int
) -> list[npt.NDArray[np.intp]]:
    """The side (or fold) of each group of each pair, dealt out class by class over all pairs."""
    counts = np.concatenate([part.groups.counts for part in parts])
    weights = pixel_weights(counts) if plan.by == "block" else (counts > 0).astype(np.float64)
    dealt = assign_groups(weights, shares, seed)
    return np.split(dealt, np.cumsum([len(part.groups.counts) for part in parts])[:-1])


def with_sides(plan: SplitPlan, parts: Sequence[Parts], sides: Sequence[npt.NDArray[np.intp]]) -> SplitPlan:
    """The plan with the scenes' groups and their sides."""
    scenes = [_scene(part, side) for part, side in zip(parts, sides, strict=True)]
    return plan.model_copy(update={"scenes": tuple(scenes)})


def sides_in(plan: SplitPlan, parts: Sequence[Parts]) -> list[npt.NDArray[np.intp]]:
    """The side of each group of each pair, as a plan says.

    Raises:
        DataError: the plan was made for other labels.
    """
    planned = {scene.name: scene for scene in plan.scenes}
    changed = [part.pair.key for part in parts if planned[part.pair.key].labels != part.digest]
    if changed:
        raise DataError(
            f"The split plan was made for other labels of {', '.join(changed[:5])}. Make a new plan, or restore them."
        )
    return [
        np.array([SIDES.index(group.side) for group in planned[part.pair.key].groups or ()], np.intp) for part in parts
    ]


def take_sides(
    parts: Sequence[Parts], sides: Sequence[npt.NDArray[np.intp]], plan: SplitPlan, num_classes: int
) -> tuple[list[list[Pair]], list[str]]:
    """Pairs by side, each where it has labels, with the others' labels (and a buffer around them) taken away; notes."""
    members: list[list[Pair]] = [[] for _ in SIDES]
    narrowest = plan.buffer_px
    for part, side in zip(parts, sides, strict=True):
        held = part.groups.where(side > 0)
        train, kept_px = _buffered(part.labels, held, plan, num_classes)
        narrowest = min(narrowest, kept_px) if (side > 0).any() else narrowest
        rasters = [train, *(part.labels.keep(part.groups.where(side == number)) for number in (1, 2))]
        for pairs, labels in zip(members, rasters, strict=True):
            if (labels.values != UNLABELLED).any():
                pairs.append(part.pair.with_labels(labels))
    return members, buffer_note(plan.buffer_px, narrowest)


def _buffered(
    labels: LabelRaster, held: npt.NDArray[np.bool_], plan: SplitPlan, num_classes: int
) -> tuple[LabelRaster, int]:
    if plan.buffer_may_shrink:
        return apart(labels, held, num_classes, plan.buffer_px)
    return labels.keep(~near(held, plan.buffer_px)), plan.buffer_px


def _scene(part: Parts, sides: npt.NDArray[np.intp]) -> SceneSide:
    pixels = part.groups.counts.sum(axis=1)
    groups = []
    for (rows, cols), count, side in zip(find_objects(part.groups.numbers), pixels, sides, strict=True):
        window = (rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        groups.append(GroupSide(window=window, pixels=int(count), side=SIDES[side]))
    return SceneSide(name=part.pair.key, groups=tuple(groups), labels=part.digest)
