"""Networks against labels: predictions are streamed over the labelled ground only, and scored pixel by pixel."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sparsecover.checkpoint import Checkpoint
from sparsecover.classes import UNLABELLED
from sparsecover.evaluation import Accumulator, Assessment
from sparsecover.grid import Window, tiles
from sparsecover.inference import predict_strips
from sparsecover.pipeline.inputs import Labels, Pair, count_labels

_TILE_PX = 128


def gather_scores(
    gathered: Accumulator, checkpoint: Checkpoint, pairs: Sequence[Pair], *, device: str = "auto"
) -> None:
    """Predict the labelled ground of some scenes and add the scores to ``gathered``."""
    for number, (scene, labels) in enumerate(pairs):
        area = labelled_windows(labels)
        if not area:
            continue
        for strip in predict_strips(scene, checkpoint, area=area, device=device):
            truth = labels.read(strip.window)
            if (truth != UNLABELLED).any():
                numbers = getattr(labels, "groups", None)
                groups = None if numbers is None else numbers[strip.window.slices]
                gathered.add(truth, strip.probabilities, strip.valid, groups, scene=(scene.name, number))


def score_checkpoint(
    checkpoint: Checkpoint,
    pairs: Sequence[Pair],
    *,
    device: str = "auto",
    train: Sequence[Pair] = (),
    side: str = "held_out",
) -> Assessment:
    """Score a network on labelled pixels.

    Args:
        checkpoint: the network.
        pairs: scenes and the labels to score on.
        device: where to compute.
        train: what it was trained on, for the budget.
        side: name of the scored labels in the budget.
    """
    gathered = Accumulator(checkpoint.scheme)
    gather_scores(gathered, checkpoint, pairs, device=device)
    return gathered.assessment(budget(len(checkpoint.scheme), {"train": train, side: pairs}))


def budget(num_classes: int, sides: Mapping[str, Sequence[Pair]]) -> dict[str, npt.NDArray[np.int64]]:
    """Labelled pixels by class, int64 [K], for each side of a split that has any pair."""
    return {side: count_labels(pairs, num_classes) for side, pairs in sides.items() if pairs}


def labelled_windows(labels: Labels) -> tuple[Window, ...]:
    """Tiles with labelled pixels, each cut to them: with sparse labels, most of a scene need not be computed."""
    found = []
    for tile in tiles(labels.grid.window, _TILE_PX, _TILE_PX):
        labelled = labels.read(tile) != UNLABELLED
        if labelled.any():
            rows, cols = np.flatnonzero(labelled.any(1)), np.flatnonzero(labelled.any(0))
            corner = (tile.row + int(rows[0]), tile.col + int(cols[0]))
            found.append(Window(*corner, int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1))
    return tuple(found)
