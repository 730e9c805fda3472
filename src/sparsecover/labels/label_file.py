"""Labels that stay in their file: for sets whose masks together do not fit into memory."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.grid import Grid, Window
from sparsecover.labels.arrays import Indices, Mask, count_values
from sparsecover.labels.label_raster import LabelRaster
from sparsecover.labels.mask_file import MaskFile
from sparsecover.labels.simulate import simulate_labels
from sparsecover.labels.valid_pixels import ValidPixels


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A label raster read by window from its file, used like a ``LabelRaster``; picklable.

    Attributes:
        windows: only labels inside these windows count; None: all.
        valid: only labels where the scene has data count; None: all.
        fraction, seed, scene_id: with a fraction, only the labels that the sampler ``pixels`` keeps are seen; it alone
            can tell by window.
    """

    file: MaskFile
    scheme: ClassScheme
    unlabelled: frozenset[int] = frozenset()
    windows: tuple[Window, ...] | None = None
    valid: ValidPixels | None = None
    fraction: float | None = None
    seed: int = 0
    scene_id: str = ""

    groups = None
    shapes = None

    @property
    def grid(self) -> Grid:
        """The grid that windows count from."""
        return self.file.grid

    @property
    def values(self) -> Indices:
        """All class indices uint8[H, W], read anew each time."""
        return self.read()

    def read(self, window: Window | None = None) -> Indices:
        """Class indices uint8[h, w] of a window, which may reach outside: there is no label outside.

        Raises:
            LabelError: unreadable pixels, or codes that the scheme does not have.
        """
        window = window or self.grid.window
        inside = window.intersect(self.grid.window)
        out = np.full((window.height, window.width), UNLABELLED, np.uint8)
        for part in [inside] if self.windows is None else [inside.intersect(w) for w in self.windows]:
            if part.size:
                out[part.relative_to(window).slices] = self._labels(part)
        return out

    def counts(self, num_classes: int, window: Window | None = None) -> npt.NDArray[np.int64]:
        """Labelled pixels by class, int64[K], in the whole file or in a window of it."""
        if window is not None:
            return count_values(self.read(window), num_classes)
        total = np.zeros(num_classes, np.int64)
        for strip in self.file.strips():
            total += self.counts(num_classes, strip)
        return total

    def keep(self, mask: Mask) -> LabelRaster:
        """The labels where ``mask`` (bool[H, W]) is True, in memory."""
        return self.load().keep(mask)

    def resized(self, grid: Grid) -> LabelRaster:
        """The labels on another grid of the same ground by nearest, in memory."""
        return self.load().resized(grid)

    def with_values(self, values: Indices) -> LabelRaster:
        """Other labels on the same grid."""
        return LabelRaster(values, self.grid, scheme=self.scheme)

    def load(self) -> LabelRaster:
        """The labels in memory."""
        return LabelRaster(self.read(), self.grid, scheme=self.scheme)

    def _labels(self, window: Window) -> Indices:
        unknown: Counter[int] = Counter()
        values = self.file.indices(window, self.scheme, self.unlabelled, unknown)
        self.file.refuse(unknown, self.scheme)
        if self.valid is not None:
            self.valid.blank(values, window)
        if self.fraction is None:
            return values
        place = {"seed": self.seed, "scene_id": self.scene_id, "origin": (window.row, window.col)}
        return simulate_labels(values, "pixels", fraction=self.fraction, **place)  # type: ignore[arg-type]
