"""Which labels belong together and go to one side as a whole: a polygon, a cluster of clicks, a block of a raster."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from sparsecover.classes import UNLABELLED
from sparsecover.errors import LabelError
from sparsecover.grid import Window
from sparsecover.labels.arrays import Mask
from sparsecover.labels.label_raster import LabelRaster

Numbers = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]

Kind = Literal["auto", "feature", "block"]

_ACROSS = (6, 12, 24)  # blocks along the longer side of the labelled area, tried in turn
_STRIP_ROWS = 512
_MIN_BLOCK_PIXELS = 4  # fewer pixels of a class in a block say nothing about it


@dataclass(frozen=True, eq=False)
class LabelGroups:
    """The group of each pixel, int32[H, W] (0 where unlabelled), and the pixels of each group by class, int64[G, K]."""

    numbers: Numbers
    counts: Counts
    kind: str

    def where(self, chosen: Mask) -> Mask:
        """The pixels of the chosen groups: bool[G] to bool[H, W]."""
        return np.append(False, chosen)[self.numbers]

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """How much a group counts for a class, float64[G, K]: features all alike, blocks by their pixels."""
        return (self.counts > 0).astype(np.float64) if self.kind == "feature" else pixel_weights(self.counts)


def pixel_weights(counts: Counts) -> npt.NDArray[np.float64]:
    """Weights float64[G, K] of groups by their pixels of a class, relative to the mean where it occurs, up to 1."""
    present = np.maximum((counts > 0).sum(axis=0), 1)
    mean = np.maximum(counts.sum(axis=0) / present, 1)
    weights: npt.NDArray[np.float64] = np.minimum(1.0, counts / mean)
    return weights


def label_groups(
    labels: LabelRaster, num_classes: int, *, kind: Kind = "auto", link_px: int = 0, block_px: int | None = None
) -> LabelGroups:
    """Group labels into polygons, clusters of points of a class, or blocks.

    Args:
        kind: ``feature`` for polygons and clusters, ``block`` for blocks, or what fits the labels: labels that fill an
            area (a label raster; a background class around features) are grouped by block.
        link_px: points of a class at most this far apart belong together; halved where that would leave a class with
            more than three points in fewer than four clusters.
        block_px: side of square blocks; default: an even division of the labelled area, coarse enough to be far apart
            and fine enough that each class is in at least two blocks.

    A feature goes whole to the block in which its centre lies.

    Raises:
        LabelError: features are asked for, but labels do not come from vectors; no label.
    """
    labelled = labels.values != UNLABELLED
    if not labelled.any():
        raise LabelError(
            "There is no labelled pixel to group. Check that labels and scene overlap (sparsecover check) and that not "
            "all labels were left out."
        )
    filled = labels.groups is None or bool(((labels.groups == 0) & labelled).any())
    if kind == "block" or (filled and kind == "auto"):
        return _blocks(labels, num_classes, block_px)
    if filled:
        raise LabelError(
            "Only labels that all come from vectors can be grouped by feature; these fill areas: use blocks."
        )
    return _clusters(labels, num_classes, link_px)


def _clusters(labels: LabelRaster, num_classes: int, link_px: int) -> LabelGroups:
    """Features as groups, points joined to clusters."""
    assert labels.groups is not None
    number = int(labels.groups.max())
    counts, centres = _moments(labels.groups, labels.values, number, num_classes)
    new = np.arange(1, number + 1)
    points = np.zeros(number, bool) if labels.shapes is None else labels.shapes.points[:number]
    for k in range(num_classes):
        members = np.flatnonzero(points & (counts[:, k] > 0))
        if link_px > 0 and len(members) > 1:
            new[members] = members[_link(centres[members], link_px)] + 1
    used, compact = np.unique(np.where(counts.any(axis=1), new, 0), return_inverse=True)
    if used[0] != 0:
        compact = compact + 1
    lookup = np.append(0, compact).astype(np.int32)
    merged = np.zeros((int(compact.max()), num_classes), np.int64)
    np.add.at(merged, compact[compact > 0] - 1, counts[compact > 0])
    return LabelGroups(lookup[labels.groups], merged, "feature")


def _link(centres: npt.NDArray[np.float64], link_px: int) -> npt.NDArray[np.intp]:
    """For each point the first point of its cluster (single linkage)."""
    distance = float(link_px)
    tree = KDTree(centres)
    while True:
        pairs = tree.query_pairs(distance, output_type="ndarray")
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(centres), len(centres)))
        number, cluster = connected_components(graph, directed=False)
        if number >= min(4, len(centres)) or distance < 1:
            first: npt.NDArray[np.intp] = np.unique(cluster, return_index=True)[1][cluster]
            return first
        distance /= 2


def _blocks(labels: LabelRaster, num_classes: int, block_px: int | None) -> LabelGroups:
    """Square blocks as groups."""
    area = _labelled_area(labels)
    if block_px is not None:
        if block_px < 1:
            raise LabelError(f"Blocks must be at least 1 pixel wide; given {block_px}.")
        row = np.arange(labels.grid.height) // block_px
        col = np.arange(labels.grid.width) // block_px
        return _block_groups(labels, num_classes, row, col)
    best = None
    for across in _ACROSS:
        side = max(1, -(-max(area.height, area.width) // across))
        row = np.clip((np.arange(labels.grid.height) - area.row) // side, 0, (area.height - 1) // side)
        col = np.clip((np.arange(labels.grid.width) - area.col) // side, 0, (area.width - 1) // side)
        groups = _block_groups(labels, num_classes, row, col)
        spread = (groups.counts >= _MIN_BLOCK_PIXELS).sum(axis=0)
        if best is None or (spread >= 2).sum() > best[0]:
            best = int((spread >= 2).sum()), groups
        if (spread >= 2)[groups.counts.any(axis=0)].all():
            break
    assert best is not None
    return best[1]


def _block_groups(
    labels: LabelRaster, num_classes: int, row: npt.NDArray[np.intp], col: npt.NDArray[np.intp]
) -> LabelGroups:
    """Groups from the block row of each pixel row and the block column of each pixel column."""
    numbers = row.astype(np.int32)[:, None] * np.int32(col.max() + 1) + (col + 1).astype(np.int32)
    if labels.groups is not None:
        _, centres = _moments(labels.groups, labels.values, int(labels.groups.max()), num_classes)
        middle = np.rint(centres).astype(np.intp)
        blocks = np.append(0, numbers[middle[:, 0], middle[:, 1]]).astype(np.int32)
        np.copyto(numbers, blocks[labels.groups], where=labels.groups > 0)
    numbers[labels.values == UNLABELLED] = 0
    counts, _ = _moments(numbers, labels.values, int(numbers.max()), num_classes)
    used = counts.any(axis=1)
    lookup = np.append(0, np.where(used, np.cumsum(used), 0)).astype(np.int32)
    return LabelGroups(lookup[numbers], counts[used], "block")


def _labelled_area(labels: LabelRaster) -> Window:
    labelled = labels.values != UNLABELLED
    rows, cols = np.flatnonzero(labelled.any(axis=1)), np.flatnonzero(labelled.any(axis=0))
    return Window(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)


def _moments(
    numbers: npt.NDArray[np.integer], values: npt.NDArray[np.uint8], groups: int, num_classes: int
) -> tuple[Counts, npt.NDArray[np.float64]]:
    """Pixels of each group by class, int64[G, K], and each group's mean row and column, float64[G, 2]."""
    counts = np.zeros((groups + 1) * num_classes, np.int64)
    sums = np.zeros((groups + 1, 2))
    for start in range(0, len(values), _STRIP_ROWS):  # bincount widens to int64, so by strips
        strip = values[start : start + _STRIP_ROWS]
        row, col = np.nonzero(strip != UNLABELLED)
        number = numbers[start : start + _STRIP_ROWS][row, col].astype(np.int64)
        counts += np.bincount(number * num_classes + strip[row, col], minlength=counts.size)
        sums[:, 0] += np.bincount(number, row + start, minlength=groups + 1)
        sums[:, 1] += np.bincount(number, col, minlength=groups + 1)
    by_class = counts.reshape(groups + 1, num_classes)[1:]
    return by_class, sums[1:] / np.maximum(by_class.sum(axis=1, keepdims=True), 1)
