"""Random forests (Breiman 2001) as networks: trees in buffers, so that they are saved, loaded and run like any model.

All trees lie in one table of nodes. A node sends a pixel to its child or, where the pixel's feature exceeds the
threshold, to the node after that child. A leaf is its own child behind an infinite threshold: pixels that arrive early
wait there for the next roll call, so that all walk in step.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparsecover.classes import UNLABELLED
from sparsecover.errors import ModelError
from sparsecover.models.features import MultiScaleFeatures, PixelFeatures
from sparsecover.models.pixel_draw import Relight, pixel_draw

# Of 810,000 dense labels, 200,000 gave the forest on features 0.505 mIoU, and these 0.502 in a third of the time.
MAX_SAMPLES = 50_000

_CHUNK = 4096  # pixels that walk together; their features stay in a core's cache
_TOGETHER = 20  # trees through which they walk at once, as steps with fewer pixels would be all overhead
_ROLL_CALL = 5  # levels after which pixels that have arrived are dismissed
_STRIP = 524_288  # pixels whose features are held at once: 350 MB for four bands at six scales
_LEAST = 1e-6  # the probability of a class without votes, so that its logit is finite

Floats = npt.NDArray[np.floating[Any]]


class DecisionTrees(nn.Module):
    """Trees that vote: features [n, F] to the mean [n, K] of their class probabilities.

    Args:
        num_classes: classes K.
        trees: how many; until they are grown or loaded each is one leaf to which all classes are equally likely.
        nodes: of all trees together; at least one each.
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor
    votes: Tensor
    root: Tensor
    depth: Tensor

    def __init__(self, num_classes: int, trees: int = 1, nodes: int = 0) -> None:
        super().__init__()
        nodes = max(nodes, trees)
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.full((nodes,), torch.inf))
        self.register_buffer("child", torch.arange(nodes, dtype=torch.int32))
        self.register_buffer("votes", torch.full((nodes, num_classes), 1 / num_classes))
        self.register_buffer("root", torch.arange(trees, dtype=torch.int32))
        self.register_buffer("depth", torch.zeros(trees, dtype=torch.int32))

    def forward(self, features: Tensor) -> Tensor:
        """Class probabilities float32 [n, K] of features float [n, F]."""
        chunks = torch.split(features.float(), _CHUNK)
        first = {count: self.feature * count for count in {len(chunk) for chunk in chunks}}
        return torch.cat([self._walk(chunk, first[len(chunk)]) for chunk in chunks])

    def _walk(self, features: Tensor, first: Tensor) -> Tensor:
        """Probabilities of a chunk; ``first`` says where among its columns that of each node's feature begins."""
        columns, count = features.T.reshape(-1), len(features)
        total = torch.zeros(count, self.votes.shape[1], device=features.device)
        for roots, depths in zip(*(torch.split(each, _TOGETHER) for each in (self.root, self.depth)), strict=True):
            leaves = self._leaves(columns, first, count, roots, int(depths.max()))
            for votes in torch.split(self.votes.index_select(0, leaves), count):  # one order of sums, however cut
                total += votes
        return total / len(self.root)

    def _leaves(self, columns: Tensor, first: Tensor, count: int, roots: Tensor, depth: int) -> Tensor:
        """The leaf int32 [trees * n] in which each pixel arrives in some trees, tree by tree.

        ``columns`` are features [F * n], pixels fastest. Indexing flat tables by int32 is several times faster on CPUs
        than take, gather or int64.
        """
        pixel = torch.arange(count, dtype=torch.int32, device=columns.device).repeat(len(roots))
        node = roots.repeat_interleave(count)
        leaf, walker = node.clone(), torch.arange(len(node), dtype=torch.int32, device=node.device)
        for level in range(depth):
            value = columns.index_select(0, first.index_select(0, node).add_(pixel))
            below = self.child.index_select(0, node)
            below += value > self.threshold.index_select(0, node)
            if level % _ROLL_CALL == _ROLL_CALL - 1:  # pixels that have arrived need not walk on
                leaf.index_copy_(0, walker.long(), below)
                walking = (below != node).nonzero().squeeze(1).int()
                walker, pixel, below = (each.index_select(0, walking) for each in (walker, pixel, below))
            node = below
        return leaf.index_copy_(0, walker.long(), node)


class RandomForest(nn.Module):
    """A random forest on features of each pixel: normalised [N, C, H, W] to log probabilities [N, K, H, W].

    ``forest.features`` and :meth:`grow` train it: compute the features of the images, pick the labelled pixels, grow.

    Args:
        features: the module that makes the features, with ``out_channels`` and ``halo_px``.
        num_classes: classes K.
        trees: how many trees.
        nodes: of all trees together, known once they are grown; part of :attr:`size`.
        min_leaf: least training pixels in a leaf.
        balanced: weigh training pixels so that all classes count alike in each tree.
    """

    def __init__(
        self,
        features: PixelFeatures | MultiScaleFeatures,
        num_classes: int,
        trees: int = 200,
        nodes: int = 0,
        min_leaf: int = 1,
        balanced: bool = False,
    ) -> None:
        super().__init__()
        for what, value in (("trees", trees), ("min_leaf", min_leaf)):
            if value < 1:
                raise ModelError(f"A random forest with {what}={value} cannot be grown; give at least 1.")
        self.features = features
        self.num_classes = num_classes
        self.min_leaf = min_leaf
        self.balanced = balanced
        self.trees = DecisionTrees(num_classes, trees, nodes)

    @property
    def size(self) -> dict[str, int]:
        """The options with which a forest is made that takes this one's state."""
        return {"trees": len(self.trees.root), "nodes": len(self.trees.child)}

    @property
    def halo_px(self) -> int:
        """How far a pixel's features look."""
        return self.features.halo_px

    @property
    def context_px(self) -> int:
        """Pixels around a label that its features are computed with."""
        return self.halo_px

    def grow(self, features: Floats, labels: npt.NDArray[np.integer[Any]], seed: int = 0) -> Self:
        """Grow the trees on features float [n, F] of labelled pixels and their classes [n]; see :func:`fit_forest`."""
        if features.ndim != 2 or features.shape[1] != self.features.out_channels:
            raise ModelError(
                f"Features {list(features.shape)} given; expected [n, {self.features.out_channels}], as this forest's "
                "`features` module makes them, one row a labelled pixel."
            )
        device = self.trees.root.device
        self.trees = fit_forest(
            features, labels, self.num_classes, self.size["trees"], seed, min_leaf=self.min_leaf, balanced=self.balanced
        ).to(device)
        return self

    def fit_pixels(
        self,
        windows: Iterable[tuple[Tensor, Tensor]],
        counts: Sequence[int],
        seed: int = 0,
        relight: Relight | None = None,
        ground: Iterable[tuple[Tensor, Tensor]] = (),
    ) -> dict[str, int]:
        """Grow the trees on the labelled pixels of some windows.

        Args:
            windows: normalised images [N, C, h, w] and labels int [N, h, w], 255 where unlabelled; a window that shows
                ``halo_px`` beyond its labels gives them the features that prediction does.
            counts: labelled pixels of all windows by class; where these are very many, a part of them is used.
            seed: of the trees and of that part.
            relight: not called, as other light taught forests nothing (docs/technical-report.md).
            ground: not looked at: a forest stays the plain one that others are compared with.

        Returns:
            The options with which a forest is made that takes this one's state.
        """
        features, classes = [], []
        draw = pixel_draw(counts, MAX_SAMPLES, seed)
        for images, labels in windows:
            for image, target in zip(images.float(), draw(labels), strict=True):
                chosen = target != UNLABELLED
                rows = [made.permute(1, 2, 0)[chosen[strip]] for strip, made in self._strips(image)]
                features.append(torch.cat(rows).numpy())
                classes.append(target[chosen].numpy())
        self.grow(np.concatenate(features), np.concatenate(classes), seed)
        return self.size

    def forward(self, images: Tensor) -> Tensor:
        """Log probabilities float32 [N, K, H, W] of normalised images [N, C, H, W]."""
        logits = images.new_empty((len(images), self.num_classes, *images.shape[-2:]), dtype=torch.float32)
        for image, out in zip(images.float(), logits, strict=True):
            for rows, features in self._strips(image):
                votes = self.trees(features.flatten(1).T)
                out[:, rows] = votes.clamp_min(_LEAST).log().T.view(self.num_classes, -1, image.shape[-1])
        return logits

    def _strips(self, image: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Rows of an image [C, H, W] and their features [F, h, W], a bounded number of pixels at a time."""
        height, width = image.shape[-2:]
        step = max(1, _STRIP // max(1, width))
        for top, bottom in pairwise([*range(0, height, step), height]):
            above = max(0, top - self.features.halo_px)
            features = self.features(image[None, :, above : bottom + self.features.halo_px])[0]
            yield slice(top, bottom), features[:, top - above : bottom - above]


def create_forest(
    in_channels: int,
    num_classes: int,
    trees: int = 200,
    nodes: int = 0,
    min_leaf: int = 1,
    balanced: bool = False,
) -> RandomForest:
    """A forest on the bands of single pixels; options as for :class:`RandomForest`.

    >>> create_forest(4, 3, trees=2)(torch.zeros(1, 4, 5, 6)).exp().sum(1).unique()
    tensor([1.])
    """
    return RandomForest(PixelFeatures(in_channels), num_classes, trees, nodes, min_leaf, balanced)


def create_feature_forest(
    in_channels: int,
    num_classes: int,
    trees: int = 200,
    nodes: int = 0,
    min_leaf: int = 1,
    balanced: bool = False,
) -> RandomForest:
    """A forest on multi-scale features; options as for :class:`RandomForest`."""
    return RandomForest(MultiScaleFeatures(in_channels), num_classes, trees, nodes, min_leaf, balanced)


def fit_forest(
    features: Floats,
    labels: npt.NDArray[np.integer[Any]],
    num_classes: int,
    trees: int = 200,
    seed: int = 0,
    *,
    min_leaf: int = 1,
    balanced: bool = False,
) -> DecisionTrees:
    """Grow a random forest with scikit-learn and lay its trees into tables.

    Args:
        features: float [n, F], finite, one row a labelled pixel; at most ``MAX_SAMPLES`` rows, drawn by ``seed``, are
            used.
        labels: class indices [n] in 0..K-1.
        num_classes: classes K.
        trees: number of trees.
        seed: the same seed gives the same trees.
        min_leaf: least training pixels in a leaf.
        balanced: weigh training pixels so that all classes count alike in each tree.

    Returns:
        Trees whose probabilities are scikit-learn's within 1e-6; classes without labels get 0.

    Raises:
        ModelError: no labelled pixel, shapes that differ, values that are not finite, or an index outside 0..K-1.
    """
    from sklearn.ensemble import RandomForestClassifier  # slow to import, and only needed to grow

    _check_samples(features, labels, num_classes)
    if len(labels) > MAX_SAMPLES:
        drawn = np.sort(np.random.default_rng(seed).choice(len(labels), MAX_SAMPLES, replace=False))
        features, labels = features[drawn], labels[drawn]
    forest = RandomForestClassifier(
        trees,
        min_samples_leaf=min_leaf,
        class_weight="balanced_subsample" if balanced else None,
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    ).fit(features, labels)
    tables = [_Table.of_tree(estimator.tree_, forest.classes_, num_classes) for estimator in forest.estimators_]
    return _joined(tables, num_classes)


def _check_samples(features: Floats, labels: npt.NDArray[np.integer[Any]], num_classes: int) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ModelError(
            f"A forest needs features [n, F] and labels [n] with n from 1; given {list(features.shape)} and "
            f"{list(labels.shape)}."
        )
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise ModelError(f"Labels from {labels.min()} to {labels.max()} given; expected 0 to {num_classes - 1}.")
    if not np.isfinite(features).all():
        raise ModelError("Some features are NaN or infinite. Normalise the bands and leave out invalid pixels.")


@dataclass(frozen=True)
class _Table:
    """One tree: float32 or int32 [nodes], votes float32 [nodes, K]; the children of a node are neighbours."""

    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float32]
    child: npt.NDArray[np.int32]
    votes: npt.NDArray[np.float32]
    depth: int

    @classmethod
    def of_tree(cls, tree: Any, classes: npt.NDArray[Any], num_classes: int) -> Self:
        """From scikit-learn's arrays, whose nodes are in depth-first order, to level order."""
        left, right = tree.children_left, tree.children_right
        levels = [np.zeros(1, np.int64)]
        while (inner := levels[-1][left[levels[-1]] >= 0]).size:
            levels.append(np.stack([left[inner], right[inner]], axis=1).ravel())
        order = np.concatenate(levels)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        leaf = left[order] < 0
        votes = np.zeros((len(order), num_classes), np.float32)
        votes[:, classes] = tree.value[order, 0]
        return cls(
            np.where(leaf, 0, tree.feature[order]).astype(np.int32),
            np.where(leaf, np.float32(np.inf), _floor_float32(tree.threshold[order])),
            np.where(leaf, place[order], place[left[order]]).astype(np.int32),
            votes,
            len(levels) - 1,
        )


def _floor_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest float32 not above each value: a float32 x is <= value exactly where it is <= that."""
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _joined(tables: list[_Table], num_classes: int) -> DecisionTrees:
    """All trees in one table, their nodes renumbered."""
    starts = np.cumsum([0, *(len(table.child) for table in tables)])
    trees = DecisionTrees(num_classes, len(tables), int(starts[-1]))
    columns: dict[str, list[npt.NDArray[Any]]] = {
        "feature": [table.feature for table in tables],
        "threshold": [table.threshold for table in tables],
        "child": [table.child + start for table, start in zip(tables, starts.tolist(), strict=False)],
        "votes": [table.votes for table in tables],
        "root": [starts[:-1].astype(np.int32)],
        "depth": [np.array([table.depth for table in tables], np.int32)],
    }
    trees.load_state_dict({name: torch.from_numpy(np.concatenate(parts)) for name, parts in columns.items()})
    return trees
