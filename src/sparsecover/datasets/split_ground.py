"""Scenes that show the same ground: what one of them holds out, no other trains on."""

from collections.abc import Sequence

from sparsecover.datasets.pair import Pair
from sparsecover.labels import LabelFile, held_elsewhere, sharing_ground, without_ground


def apart_in_other_scenes(
    train: Sequence[Pair], held: Sequence[Pair], buffer_px: int, num_classes: int
) -> tuple[list[Pair], list[str]]:
    """Take from training labels what other scenes hold out on the same ground.

    Args:
        train, held: pairs of the sides of one split, whose own labels are apart already; so are those that a published
            split's windows cut out of one scene.
        buffer_px: training labels at most this many rows and columns from held-out ground are left out, too.

    Returns:
        The pairs with fewer labels, and notes. Labels that are read from files by window, as sets too large for memory
        have them, are left as they are, with a note.
    """
    grids = [pair.scene.grid for pair in train]
    shared = [
        [number for number in numbers if not _one_scene_apart(pair, held[number])]
        for pair, numbers in zip(train, sharing_ground(grids, [pair.scene.grid for pair in held]), strict=True)
    ]
    if not any(shared):
        return list(train), []
    rasters = [pair.labels for pair in train if not isinstance(pair.labels, LabelFile)]
    scored = [pair.labels for pair in held if not isinstance(pair.labels, LabelFile)]
    if len(rasters) < len(train) or len(scored) < len(held):
        first = next(number for number, numbers in enumerate(shared) if numbers)
        names = f"{train[first].name} and {held[shared[first][0]].name}"
        return list(train), [f"Scenes on different sides show the same ground ({names}): scores may be too good."]
    left, _, note = without_ground(rasters, held_elsewhere(grids, scored, shared), num_classes, buffer_px)
    pairs = [pair.with_labels(labels) for pair, labels in zip(train, left, strict=True)]
    return pairs, [note] if note else []


def _one_scene_apart(pair: Pair, other: Pair) -> bool:
    """Whether the labels of two pairs are parts of one set; a table may give a scene several, which are not."""
    return pair.key == other.key or (pair.windows is not None and pair.scene_key == other.scene_key)
