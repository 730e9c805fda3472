"""Which labels train and which score a map: whole groups of labels, never single pixels of one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsecover.classes import UNLABELLED
from sparsecover.labels import apart_on_ground, hold_out, k_folds
from sparsecover.labels.holdout import Fold, TooFewGroups
from sparsecover.pipeline.inputs import BurntPair, Inputs, count_labels

SHARE = 0.25
BUFFER_PX = (
    16  # training labels this close to a held-out one are left out; wider buffers cost more labels than a click has
)


@dataclass(frozen=True)
class Split:
    """Label groups for training and for scoring.

    Attributes:
        folds: pairs (train, held out); one, or one a fold.
        notes: what had to be done, in plain words.
        optimistic: whether held-out labels lie so close to training labels that scores are too good.
    """

    folds: tuple[tuple[tuple[BurntPair, ...], tuple[BurntPair, ...]], ...]
    notes: tuple[str, ...]
    optimistic: bool

    @property
    def train(self) -> tuple[BurntPair, ...]:
        """Training labels of the first fold."""
        return self.folds[0][0]

    @property
    def held(self) -> tuple[BurntPair, ...]:
        """Held-out labels of the first fold."""
        return self.folds[0][1]


def split_labels(inputs: Inputs, folds: int | None, seed: int) -> Split:
    """Hold out a quarter of the label groups of each scene, or cut them into folds.

    Raises:
        TooFewGroups: no scene has a group of labels for each fold.
    """
    classes = len(inputs.scheme)
    by_scene = (
        _folds_by_scene(inputs.pairs, classes, folds, seed)
        if folds
        else [[hold_out(labels, classes, SHARE, seed, BUFFER_PX)] for _, labels in inputs.pairs]
    )
    scenes = [scene for scene, _ in inputs.pairs]
    cut, parts = [], []
    for fold in (apart_on_ground(fold, classes, BUFFER_PX) for fold in zip(*by_scene, strict=True)):
        parts += fold
        train = tuple((scene, part.train) for scene, part in zip(scenes, fold, strict=True))
        held = tuple((scene, part.held_out) for scene, part in zip(scenes, fold, strict=True))
        cut.append((train, held))
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    if not folds:
        notes = {_told(inputs, cut[0]): None} | notes
    return Split(tuple(cut), tuple(notes), any(part.optimistic for part in parts))


def _told(inputs: Inputs, sides: tuple[Sequence[BurntPair], Sequence[BurntPair]]) -> str:
    """How many pixels each side has: groups differ in size, and the buffer takes some."""
    classes = len(inputs.scheme)
    train, held = (int(count_labels(pairs, classes).sum()) for pairs in sides)
    between = int(inputs.counts.sum()) - train - held
    lost = f"; {between:,} too close to these do neither" if between > 0 else ""
    return f"{train:,} labelled pixels train and {held:,} score{lost}."


def _folds_by_scene(pairs: Sequence[BurntPair], classes: int, folds: int, seed: int) -> list[list[Fold]]:
    """The folds of each scene; scenes with too few groups of labels train in all and are scored in none."""
    found, failures = [], []
    for scene, labels in pairs:
        try:
            found.append(k_folds(labels, classes, folds, seed, BUFFER_PX))
        except TooFewGroups as error:
            failures.append(error)
            note = f"{scene.name} only trains and is not scored: {error}"
            nothing = labels.with_values(np.full_like(labels.values, UNLABELLED))
            found.append([Fold(labels, nothing, [note], optimistic=False)] * folds)
    if len(failures) == len(found):
        raise failures[0]
    return found
