"""Which labels train, which steer, which test: whole pairs by name or scene, or parts of each by block or polygon."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsecover.config import SplitConfig
from sparsecover.datasets.layouts.base import SIDES
from sparsecover.datasets.layouts.pairing import natural
from sparsecover.datasets.pair import Pair
from sparsecover.datasets.split_ground import apart_in_other_scenes
from sparsecover.datasets.split_parts import Parts, deal_groups, group_pairs, sides_in, take_sides, with_sides
from sparsecover.datasets.split_plan import SceneSide, SplitPlan
from sparsecover.errors import DataError, counted, summary
from sparsecover.labels import LabelFile, assign_groups, class_counts, pixel_weights

AUTO_BUFFER_PX = 64
_BETWEEN_SCENES_PX = 16  # at most, where the width is automatic: scenes that overlap by little should keep labels

TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True, eq=False)
class Split:
    """Pairs by side. With blocks and polygons a scene is on several sides, each time with other labels.

    ``plan`` says the same for a file.
    """

    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]
    plan: SplitPlan
    notes: list[str] = field(default_factory=list)

    @property
    def sides(self) -> dict[str, list[Pair]]:
        """Pairs by the name of their side."""
        return dict(zip(SIDES, (self.train, self.validation, self.test), strict=True))


def split_pairs(
    pairs: Sequence[Pair], config: SplitConfig, seed: int, num_classes: int, *, patch_px: int | None = None
) -> Split:
    """Divide pairs, or the labels of each, into training, validation and test.

    Args:
        config: ``pattern`` compares the first group of an expression, found in the names of pairs, with the values
            listed for each side (wildcards are possible; an empty ``train`` means all not listed elsewhere). ``files``
            takes lists of names, or text files of names, or else the sides that the dataset itself gives. ``scene``
            deals out whole scenes by ``fractions``; ``block`` and ``polygon`` the labels of each scene. A ``plan`` is
            taken as it stands, whatever else is said.
        patch_px: side of training windows, which is the automatic width of the buffer: training labels nearer than this
            to labels of another side are left out (less where that would take most of a class; a width that was asked
            for is kept).

    Raises:
        DataError: values or names that do not occur, a side without labels, labels that do not suit the kind of split.
    """
    if config.plan is not None:
        return apply_plan(pairs, SplitPlan.read(config.plan), num_classes)
    empty = _empty_plan(config, patch_px)
    if config.by in ("block", "polygon"):
        parts = group_pairs(pairs, empty, num_classes)
        split = _taken(parts, deal_groups(parts, empty, config.fractions, seed), empty, num_classes)
    else:
        split = _whole(pairs, _sides(pairs, config, seed, num_classes), empty)
    dealt = config.fractions if config.by in ("block", "polygon", "scene") else ()
    wanted = {side for side, part in zip(SIDES, dealt, strict=False) if part > 0}
    return _checked(split, wanted | {"train"}, num_classes)


def split_folds(
    pairs: Sequence[Pair], config: SplitConfig, seed: int, num_classes: int, *, patch_px: int | None = None
) -> list[Split]:
    """``config.folds`` splits whose validation sides are disjoint and together hold all labels but those of ``test``.

    Units are values of the pattern, scenes, blocks or polygons, as ``config.by`` says. Arguments and errors are those
    of ``split_pairs``; besides, fewer units than folds raise DataError.
    """
    folds = config.folds or 0
    if folds < 2:
        raise DataError("Cross-validation needs split.folds of at least 2.")
    if config.plan is not None:
        raise DataError("split.plan holds one division; leave out either split.plan or split.folds.")
    held_out = _fold_parts if config.by in ("block", "polygon") else _fold_pairs
    splits = held_out(pairs, config, seed, num_classes, folds, patch_px)
    return [_checked(split, {"train", "validation"}, num_classes) for split in splits]


def apply_plan(pairs: Sequence[Pair], plan: SplitPlan, num_classes: int) -> Split:
    """Divide pairs as a plan says, which was made for them before.

    Raises:
        DataError: the plan names scenes that are not there, or was made for other labels.
    """
    planned = {scene.name: scene for scene in plan.scenes}
    missing = planned.keys() - {pair.key for pair in pairs}
    if missing:
        raise DataError(f"The split plan names scenes that are not there:\n{summary(sorted(missing, key=natural))}")
    known = [pair for pair in pairs if pair.key in planned]
    if plan.by in ("block", "polygon"):
        parts = group_pairs(known, plan, num_classes)
        split = _taken(parts, sides_in(plan, parts), plan, num_classes)
    else:
        named = [planned[pair.key].side for pair in known]
        split = _whole(known, [None if side is None else SIDES.index(side) for side in named], plan)
    if others := [pair for pair in pairs if pair.key not in planned]:
        split.notes.append(f"Left out, since not in the split plan: {counted(others, 'pair')}.")
    return _checked(split, {"train"}, num_classes)


def _empty_plan(config: SplitConfig, patch_px: int | None) -> SplitPlan:
    """How labels are grouped and kept apart, before sides are dealt."""
    buffer_px = (patch_px or AUTO_BUFFER_PX) if config.buffer_px == "auto" else config.buffer_px
    return SplitPlan(
        by=config.by,
        block_px=None if config.block_px == "auto" else config.block_px,
        link_px=buffer_px,
        buffer_px=buffer_px,
        buffer_may_shrink=config.buffer_px == "auto",
        scenes=(),
    )


def _taken(parts: Sequence[Parts], sides: Sequence[npt.NDArray[np.intp]], plan: SplitPlan, num_classes: int) -> Split:
    (train, validation, test), notes = take_sides(parts, sides, plan, num_classes)
    return Split(train, validation, test, with_sides(plan, parts, sides), notes)


def _fold_parts(
    pairs: Sequence[Pair], config: SplitConfig, seed: int, num_classes: int, folds: int, patch_px: int | None
) -> list[Split]:
    """Each fold's blocks or polygons held out in turn."""
    empty = _empty_plan(config, patch_px)
    parts = group_pairs(pairs, empty, num_classes)
    dealt = deal_groups(parts, empty, [1 / folds] * folds, seed)
    held = [[np.where(side == fold, VALIDATION, TRAIN) for side in dealt] for fold in range(folds)]
    return [_taken(parts, sides, empty, num_classes) for sides in held]


def _fold_pairs(
    pairs: Sequence[Pair], config: SplitConfig, seed: int, num_classes: int, folds: int, patch_px: int | None
) -> list[Split]:
    """Each fold's scenes (or values of the pattern) held out in turn."""
    side = _sides(pairs, config, seed, num_classes) if config.test or config.by == "files" else [TRAIN] * len(pairs)
    rest = [pair for pair, s in zip(pairs, side, strict=True) if s != TEST]
    unit = _pattern_values(rest, config) if config.by == "pattern" else [pair.scene_key for pair in rest]
    if len(_distinct(unit)) < folds:
        whole = _pattern_values(pairs, config) if config.by == "pattern" else [pair.scene_key for pair in pairs]
        raise DataError(_too_many_folds(config, folds, len(_distinct(unit)), len(_distinct(whole))))
    dealt = iter(_deal(rest, unit, [1 / folds] * folds, seed, num_classes))
    number = [TEST if s == TEST else next(dealt) for s in side]
    tested = [s == TEST for s in side]
    empty = _empty_plan(config, patch_px)
    return [
        _whole(pairs, [_fold_side(n, fold, test) for n, test in zip(number, tested, strict=True)], empty)
        for fold in range(folds)
    ]


def _distinct(units: Sequence[str | None]) -> set[str]:
    return {unit for unit in units if unit is not None}


def _too_many_folds(config: SplitConfig, folds: int, left: int, whole: int) -> str:
    """Why so many folds cannot be made of the units ``left`` of the ``whole``, and what to do."""
    units = "values of the pattern" if config.by == "pattern" else "scenes"
    taker = "split.test" if config.test else "the test side of the dataset"
    taken = f", as {taker} takes {whole - left} of {whole}" if left < whole else ""
    ways = [f"give {left} folds"] if left > 1 else []
    ways += ["leave out split.test"] if config.test and left < folds <= whole else []
    ways += ["divide within scenes (split.by: block)"]
    return (
        f"{folds} folds need at least {folds} {units}; there {'is' if left == 1 else 'are'} {left}{taken}. "
        f"{', or '.join(ways).capitalize()}."
    )


def _fold_side(number: int | None, fold: int, test: bool) -> int | None:
    if test or number is None:
        return TEST if test else None
    return VALIDATION if number == fold else TRAIN


def _sides(pairs: Sequence[Pair], config: SplitConfig, seed: int, num_classes: int) -> list[int | None]:
    """The side of each whole pair; None for those left out."""
    if config.by == "scene":
        return _deal(pairs, [pair.scene_key for pair in pairs], config.fractions, seed, num_classes)
    if config.by == "pattern":
        return _listed(_pattern_values(pairs, config), config, "values of the pattern")
    if config.train or config.validation or config.test:
        return _listed([pair.name for pair in pairs], config, "pairs")
    if not any(pair.split for pair in pairs):
        raise DataError(
            "split.by is files, but the dataset gives no split, and split.train and split.test list no names. "
            "List names (or text files of names), or choose by: scene, pattern, block or polygon."
        )
    return [SIDES.index(pair.split) if pair.split else None for pair in pairs]


def _pattern_values(pairs: Sequence[Pair], config: SplitConfig) -> list[str | None]:
    """The first group of the pattern in each pair's name."""
    try:
        expression = re.compile(config.pattern or "")
    except re.error as error:
        raise DataError(f"split.pattern {config.pattern!r} is not a regular expression: {error}.") from None
    if expression.groups < 1:
        raise DataError(f"split.pattern {config.pattern!r} has no group; put the part to compare in parentheses.")
    matches = [expression.search(pair.name) for pair in pairs]
    if not any(matches):
        names = summary([pair.name for pair in pairs][:5])
        raise DataError(f"split.pattern {config.pattern!r} is found in no name. The first names are:\n{names}")
    return [match.group(1) if match else None for match in matches]


def _listed(values: Sequence[str | None], config: SplitConfig, what: str) -> list[int | None]:
    """The side on whose list each value is."""
    lists = [_expanded(names) for names in (config.train, config.validation, config.test)]
    present = sorted({value for value in values if value is not None}, key=natural)
    for side, names in zip(SIDES, lists, strict=True):
        for name in names:
            if not any(fnmatch.fnmatchcase(value, name) for value in present):
                raise DataError(
                    f"split.{side} lists {name!r}, which does not occur. There are these {what}:\n{summary(present)}"
                )
    sides: dict[str | None, int | None] = {None: None}
    for value in present:
        found = [i for i, names in enumerate(lists) if any(fnmatch.fnmatchcase(value, name) for name in names)]
        if len(found) > 1:
            raise DataError(f"{value!r} is on two sides: {SIDES[found[0]]} and {SIDES[found[1]]}.")
        sides[value] = found[0] if found else None if lists[TRAIN] else TRAIN
    return [sides[value] for value in values]


def _expanded(names: Sequence[str]) -> list[str]:
    """Names, with text files replaced by the names in them."""
    out: list[str] = []
    for name in names:
        path = Path(name)
        out += path.read_text(encoding="utf-8").split() if path.suffix == ".txt" and path.is_file() else [name]
    return out


def _deal(
    pairs: Sequence[Pair], units: Sequence[str | None], shares: Sequence[float], seed: int, num_classes: int
) -> list[int | None]:
    """Deal units of pairs out to sides, class by class."""
    names = sorted({unit for unit in units if unit is not None}, key=natural)
    counts = np.zeros((len(names), num_classes), np.int64)
    for pair, unit in zip(pairs, units, strict=True):
        if unit is not None:
            counts[names.index(unit)] += pair.labels.counts(num_classes)
    dealt = assign_groups(pixel_weights(counts), shares, seed)
    # A unit without labels belongs to no class, and trains, if anything.
    return [None if unit is None else max(int(dealt[names.index(unit)]), TRAIN) for unit in units]


def _whole(pairs: Sequence[Pair], sides: Sequence[int | None], plan: SplitPlan) -> Split:
    train, validation, test = ([p for p, s in zip(pairs, sides, strict=True) if s == side] for side in range(3))
    left = [pair.name for pair, side in zip(pairs, sides, strict=True) if side is None]
    notes = [f"Left out, since on no side: {len(left)} ({', '.join(left[:5])})"] if left else []
    named = [None if side is None else SIDES[side] for side in sides]
    scenes = [SceneSide(name=pair.key, side=side) for pair, side in zip(pairs, named, strict=True)]
    return Split(train, validation, test, plan.model_copy(update={"scenes": tuple(scenes)}), notes)


def _checked(split: Split, wanted: set[str], num_classes: int) -> Split:
    """The split, its training labels apart from what other scenes hold out; notes on classes that are never trained on.

    Raises:
        DataError: a side without pairs.
    """
    for name, members in split.sides.items():
        if name in wanted and not members:
            raise DataError(
                f"The split leaves nothing for {name}. Give other fractions or lists, or divide by block, not by scene."
            )
    width = min(split.plan.buffer_px, _BETWEEN_SCENES_PX) if split.plan.buffer_may_shrink else split.plan.buffer_px
    train, notes = apart_in_other_scenes(split.train, [*split.validation, *split.test], width, num_classes)
    split = replace(split, train=train, notes=[*split.notes, *notes])
    if any(isinstance(pair.labels, LabelFile) for members in split.sides.values() for pair in members):
        return split  # counting would read every file of a set that is too large for memory
    counts = {
        name: class_counts([pair.labels for pair in members], num_classes) for name, members in split.sides.items()
    }
    for k in np.flatnonzero(counts["train"] == 0) if split.sides["train"] else ():
        labels = next(pair.labels for members in split.sides.values() for pair in members)
        name = labels.scheme.names[k] if labels.scheme else str(k)
        split.notes.append(f"The class {name} has no training label; it can never be predicted.")
    return split
