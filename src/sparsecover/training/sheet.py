"""A sheet of validation samples: image, labels, prediction and error side by side, to be looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sparsecover import figures
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.patches import Pair, Patch, PatchPlan, PatchReader
from sparsecover.patches.batch import Sample
from sparsecover.training.objective import as_classes

_ROWS = 4
_TITLES = ("image", "labels", "prediction", "right and wrong")
_RIGHT_WRONG = ((246, 246, 236), (199, 21, 110))  # bright and dark to any eye, and unlike the colours of classes
_SIDE_IN = 1.9


@dataclass(frozen=True)
class SampleSheet:
    """Draws some windows as a network predicts them.

    Attributes:
        patches: the windows.
        pairs: scenes and labels that they lie in.
        read: gives normalised samples.
        scheme: classes by index.
        device: of the networks to be drawn.
    """

    patches: Sequence[Patch]
    pairs: Sequence[Pair]
    read: Callable[[Patch], Sample]
    scheme: ClassScheme
    device: str

    @classmethod
    def choose(
        cls, plan: PatchPlan, pairs: Sequence[Pair], read: PatchReader, scheme: ClassScheme, device: str
    ) -> Self:
        """Windows spread over a plan: of each of its parts the one with most classes, then most labels."""
        order = np.array_split(np.arange(len(plan.blocks)), min(_ROWS, len(plan.blocks)))
        counts = plan.counts
        best = [max(part, key=lambda i: ((counts[i] > 0).sum(), counts[i].sum())) for part in order]
        windows = plan.tiling()
        return cls([windows[int(i)] for i in best], pairs, read, scheme, device)

    def __call__(self, network: nn.Module) -> bytes:
        """The sheet as a PNG; the network is left in the mode it was in."""
        rows = [
            (self.pairs[patch.pair][0].name, self._row(picture, self.read(patch), network))
            for patch, picture in zip(self.patches, self._pictures(), strict=True)
        ]
        legend = dict(zip(self.scheme.names, self.scheme.colors, strict=True))
        legend |= {"right": _RIGHT_WRONG[0], "wrong": _RIGHT_WRONG[1]}
        return figures.sheet(rows, _TITLES, legend, _SIDE_IN)

    def _pictures(self) -> list[figures.Picture]:
        """The windows as the eye sees them, stretched together so that they can be compared."""
        scenes = [self.pairs[patch.pair][0] for patch in self.patches]
        read = [scene.read(patch.window) for scene, patch in zip(scenes, self.patches, strict=True)]
        values, valid = (np.concatenate(parts, axis=-1) for parts in zip(*read, strict=True))
        picture = figures.scene_picture(values, valid, [band.name for band in scenes[0].bands])
        return np.split(picture, len(read), axis=1)

    def _row(self, picture: figures.Picture, sample: Sample, network: nn.Module) -> list[figures.Picture]:
        predicted = self._predict(network, sample)
        labelled = sample.labels != UNLABELLED
        wrong = np.where(labelled, predicted != sample.labels, UNLABELLED).astype(np.uint8)
        predicted[~sample.valid] = UNLABELLED
        colors = self.scheme.colors
        return [
            picture,
            figures.label_picture(picture, [sample.labels], colors),
            figures.class_picture(predicted, colors),
            figures.label_picture(picture, [wrong], _RIGHT_WRONG),
        ]

    @torch.no_grad()
    def _predict(self, network: nn.Module, sample: Sample) -> npt.NDArray[np.uint8]:
        """Class indices [h, w]."""
        training = network.training
        network.eval()
        logits = network(torch.from_numpy(sample.image)[None].to(self.device))
        network.train(training)
        classes: npt.NDArray[np.uint8] = as_classes(logits).argmax(1)[0].to(torch.uint8).cpu().numpy()
        return classes
