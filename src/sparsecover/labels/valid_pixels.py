"""Where a scene has data: a label on any other pixel is none."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sparsecover.classes import UNLABELLED
from sparsecover.errors import SceneError
from sparsecover.grid import Window, tiles
from sparsecover.labels.arrays import Indices, Mask
from sparsecover.raster import Scene

_STRIP_ROWS = 1024
_BLOCK_PX = 512


def valid_mask(scene: Scene) -> Mask:
    """Where all bands hold data, bool[H, W], read by strips.

    Raises:
        SceneError: the scene cannot be read.
    """
    mask = np.empty((scene.grid.height, scene.grid.width), bool)
    for strip in tiles(scene.grid.window, _STRIP_ROWS, scene.grid.width):
        mask[strip.slices] = scene.read(strip)[1]
    return mask


@dataclass(frozen=True, eq=False)
class ValidPixels:
    """The same by window, for sets whose masks together do not fit into memory; picklable.

    Labels are read again and again. What was seen of the scene is remembered by blocks, a bit a pixel, and nothing of
    those that are whole.
    """

    scene: Scene
    _seen: dict[Window, bytes | None] = field(default_factory=dict, init=False, repr=False)

    def blank(self, labels: Indices, window: Window) -> None:
        """Make labels uint8[h, w] of a window inside the scene unlabelled where it has no data, in place."""
        if not self.scene.source.may_lack_data:
            return
        for block in self._blocks(window):
            part = block.intersect(window)
            own = labels[part.relative_to(window).slices]
            if (own != UNLABELLED).any() and (lacking := self._lacking(block)) is not None:
                own[lacking[part.relative_to(block).slices]] = UNLABELLED

    def _blocks(self, window: Window) -> Iterator[Window]:
        """The blocks that a window touches; those at the scene's far edges are smaller."""
        top, left = window.row // _BLOCK_PX * _BLOCK_PX, window.col // _BLOCK_PX * _BLOCK_PX
        whole = self.scene.grid.window
        for corner in tiles(Window(top, left, window.row_stop - top, window.col_stop - left), _BLOCK_PX, _BLOCK_PX):
            yield Window(corner.row, corner.col, _BLOCK_PX, _BLOCK_PX).intersect(whole)

    def _lacking(self, block: Window) -> Mask | None:
        """Where a block holds no data, None for nowhere; also of a damaged one: who reads its values reports it."""
        if block not in self._seen:
            try:
                lacking = ~self.scene.read(block)[1]
            except SceneError:
                return None
            self._seen[block] = np.packbits(lacking).tobytes() if lacking.any() else None
        packed = self._seen[block]
        if packed is None:
            return None
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=block.size)
        return bits.view(bool).reshape(block.height, block.width)
