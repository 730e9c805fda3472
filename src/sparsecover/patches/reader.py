"""Windows to arrays: reading, normalising, and keeping scenes in memory as they are stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from sparsecover.classes import UNLABELLED
from sparsecover.errors import DataError, GridError, SceneError
from sparsecover.grid import Window
from sparsecover.labels import LabelRaster
from sparsecover.normalize import Normalizer
from sparsecover.patches.batch import Batch, Sample, collate
from sparsecover.patches.plan import Labels, Patch
from sparsecover.raster import Scene

Pair = tuple[Scene, Labels]

_CACHE_SHARE = 0.25  # of the memory that is free when training starts


@dataclass(frozen=True)
class PatchReader:
    """Reads windows of pairs as normalised samples; used by several threads at once."""

    pairs: Sequence[Pair]
    normalizer: Normalizer
    unreadable: set[str] | None = None
    """Where given, a window that cannot be read counts as nodata, and why is noted here."""
    hints: Sequence[LabelRaster] | None = None
    """Where given, what regularisers know of each pair beside its labels; see ``Batch``."""

    def __call__(self, patch: Patch) -> Sample:
        """Read one window; a label on an invalid pixel is no label.

        Raises:
            SceneError: the scene cannot be read there.
        """
        scene, raster = self.pairs[patch.pair]
        window = patch.window
        values, valid = self._read(scene, window)
        labels = raster.read(window)
        labels[~valid] = UNLABELLED
        if patch.own is not None:
            own = np.zeros(labels.shape, bool)
            own[patch.own.relative_to(window).slices] = True
            labels[~own] = UNLABELLED
        hints = None if self.hints is None else self.hints[patch.pair].read(window)
        return Sample(self.normalizer(values, valid), labels, valid, window_name(scene.name, window), hints)

    def batch(self, patches: Sequence[Patch]) -> Batch:
        """Windows of one size side by side."""
        return collate([self(patch) for patch in patches])

    def _read(self, scene: Scene, window: Window) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        try:
            return scene.read(window)
        except SceneError as error:
            if self.unreadable is None:
                raise
            self.unreadable.add(str(error))
            empty = np.zeros((len(scene.bands), window.height, window.width), scene.dtype)
            return empty, np.zeros((window.height, window.width), bool)


def window_name(scene: str, window: Window) -> str:
    """A window in messages."""
    return f"{scene}, rows from {window.row}, columns from {window.col}, {window.height} x {window.width} px"


def check_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs as a list, all with the same bands, each with labels on its scene's pixels.

    Raises:
        DataError: no pair, or scenes with different numbers of bands.
        GridError: labels of another size than their scene.
    """
    pairs = list(pairs)
    if not pairs:
        raise DataError("No pair of scene and labels was given; training needs at least one.")
    check_bands([scene for scene, _ in pairs])
    for scene, labels in pairs:
        given, expected = (labels.grid.height, labels.grid.width), (scene.grid.height, scene.grid.width)
        if given != expected:
            raise GridError(
                f"The labels of {scene.name} have {given[0]} x {given[1]} pixels, the scene {expected[0]} x "
                f"{expected[1]}. Burn or read the labels on scene.grid."
            )
    return pairs


def check_bands(scenes: Sequence[Scene]) -> None:
    """Refuse scenes with different numbers of bands."""
    bands = len(scenes[0].bands)
    for scene in scenes:
        if len(scene.bands) != bands:
            raise DataError(
                f"{scene.name} has {len(scene.bands)} bands, {scenes[0].name} has {bands}; one network needs the "
                "same bands everywhere. Choose common ones with data.bands."
            )


def cache_pairs(pairs: Sequence[Pair], cache: str = "auto") -> tuple[list[Pair], str]:
    """Hold the scenes in memory, in the type they are stored in, where they fit into a quarter of the free memory.

    Args:
        pairs: what is trained on.
        cache: ``auto``, ``memory`` (always), ``device`` (also always: it goes there from memory) or ``none`` (windows
            are read from the files each time).

    Returns:
        The pairs, and what was done and why, for the log.
    """
    size = sum(stored_bytes(scene) for scene, _ in pairs)
    limit = psutil.virtual_memory().available * _CACHE_SHARE
    megabytes = f"{size / 1e6:,.0f} MB"
    if cache == "none" or (cache == "auto" and size > limit):
        why = "as configured" if cache == "none" else f"{megabytes} are over a quarter of the free memory"
        return list(pairs), f"windows are read from the files: {why}"
    return [(scene.cached(), labels) for scene, labels in pairs], f"scenes are held in memory: {megabytes}"


def stored_bytes(scene: Scene) -> int:
    """What a scene takes in memory: values as stored, and the valid mask."""
    return scene.grid.window.size * (len(scene.bands) * scene.dtype.itemsize + 1)
