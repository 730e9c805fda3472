"""The stream from scene to blended probabilities: windows are read ahead, computed in batches and summed by rows.

Memory holds some windows and, over the region's width, the rows that two rows of windows share; never the scene. At
every pixel the windows are added in the order of the layout, whatever region, batch or thread they come from: its value
depends on the layout alone.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from sparsecover.grid import Window
from sparsecover.inference.lanes import Lanes
from sparsecover.inference.layout import Layout
from sparsecover.inference.planes import Planes, from_network, like, to_host, zeros
from sparsecover.inference.predictor import Predictor
from sparsecover.inference.reading import Read, read_mirrored
from sparsecover.inference.threads import alongside
from sparsecover.raster import Scene

Valid = npt.NDArray[np.bool_]
Reader = Callable[[Scene, Window], Read]
_AHEAD_BYTES = 64 * 1024**2
_OPEN_PX = 1024  # columns summed before they are passed on, where windows are smaller


class Blended(NamedTuple):
    """Finished pixels of a region."""

    window: Window
    probabilities: Planes  # [K, h, w]; undefined where not valid
    valid: Valid  # [h, w]


def in_strips(blocks: Iterator[Blended]) -> Iterator[Blended]:
    """Join the blocks of each row of blocks, as NumPy arrays."""
    for _, row in groupby(blocks, key=lambda block: block.window.row):
        yield _joined(list(row))


def _joined(blocks: Sequence[Blended]) -> Blended:
    first, last = blocks[0].window, blocks[-1].window
    window = Window(first.row, first.col, first.height, last.col_stop - first.col)
    probabilities = np.concatenate([to_host(block.probabilities) for block in blocks], axis=-1)
    return Blended(window, probabilities, np.concatenate([block.valid for block in blocks], axis=-1))


class _Piece(NamedTuple):
    """One window on its way: prepared input, then probabilities; both None where nothing is asked for."""

    row: int
    col: int
    valid: Valid | None
    data: Planes


def blend_region(
    scene: Scene,
    predictor: Predictor,
    layout: Layout,
    region: Window,
    *,
    batch_size: int,
    wanted: Callable[[Window], bool] | None = None,
    read: Reader = read_mirrored,
    thread: ThreadPoolExecutor | None = None,
    lanes: Lanes | None = None,
) -> Iterator[Blended]:
    """Predict a region of a scene and yield it in blocks, by rows of blocks from top to bottom.

    Args:
        scene: what to read.
        predictor: windows to probabilities.
        layout: the windows over the whole scene.
        region: the part to predict; its pixels get the values that they have in the whole.
        batch_size: windows per batch; the last batch is filled up, so all have the same shape.
        wanted: whether anything of a window is asked for; other windows are neither read nor computed.
        read: how a window is read.
        thread: which thread reads; default: one of its own.
        lanes: what computes the batches; default: the calling thread.
    """
    lanes = lanes or Lanes(1)
    prepare = partial(_prepare, scene, predictor, layout, region, wanted, read)
    window_bytes = 8 * layout.window_px * max(1, len(scene.bands))
    depth = max(1, min(4 * batch_size * lanes.count, _AHEAD_BYTES // window_bytes))
    batches = _in_batches(alongside(prepare, layout.touching(region), depth, thread), batch_size)
    compute = partial(_compute, predictor=predictor, batch_size=batch_size)
    pieces = chain.from_iterable(lanes.map(compute, batches))
    starts, last = layout.rows.starts, layout.rows.touching(region.row, region.row_stop)[-1]
    # Held in one place: a row of windows has taken the columns that it opens before it leaves those that it closes.
    place = _Sums.zeros(Window(region.row, region.col, layout.rows.most_shared, region.width), predictor)
    above = place.moved(region.row, 0)
    for row, in_row in groupby(pieces, key=attrgetter("row")):
        band = Window(starts[row], region.col, layout.rows.size, region.width).intersect(region)
        finished = region.row_stop if row == last else max(band.row, min(starts[row + 1], region.row_stop))
        below = place.moved(finished, band.row_stop - finished)
        yield from _blend_row(in_row, predictor, layout, band, above, below)
        above = below


def _prepare(
    scene: Scene,
    predictor: Predictor,
    layout: Layout,
    region: Window,
    wanted: Callable[[Window], bool] | None,
    read: Reader,
    at: tuple[int, int],
) -> _Piece:
    window = layout.window(*at)
    if wanted and not wanted(window):
        return _Piece(*at, None, None)
    values, valid = read(scene, window)
    if not valid[window.intersect(region).relative_to(window).slices].any():
        return _Piece(*at, None, None)
    return _Piece(*at, valid, predictor.prepare(values, valid))


def _in_batches(pieces: Iterator[_Piece], batch_size: int) -> Iterator[list[_Piece]]:
    """Pieces in order, so many together that their inputs fill a batch."""
    waiting: list[_Piece] = []
    filled = 0
    for piece in pieces:
        waiting.append(piece)
        filled += piece.data is not None
        if filled in (0, batch_size):
            yield waiting
            waiting, filled = [], 0
    yield waiting


def _compute(pieces: list[_Piece], predictor: Predictor, batch_size: int) -> list[_Piece]:
    """Replace inputs by probabilities."""
    inputs = [piece.data for piece in pieces if piece.data is not None]
    if not inputs:
        return pieces
    # A batch of another shape may be computed by other kernels, whose last digits differ.
    inputs += inputs[:1] * (batch_size - len(inputs))
    batch = inputs[0][None] if len(inputs) == 1 else np.stack(inputs)
    results = iter(from_network(predictor(torch.from_numpy(batch))))
    return [piece if piece.data is None else piece._replace(data=next(results)) for piece in pieces]


@dataclass(frozen=True)
class _Sums:
    """Weighted sums of probabilities [K, h, w], and what is valid [h, w], over some pixels of the scene."""

    area: Window
    sums: Planes
    valid: Valid

    @classmethod
    def zeros(cls, area: Window, predictor: Predictor) -> Self:
        shape = (area.height, area.width)
        return cls(area, zeros((predictor.num_classes, *shape), predictor.device), np.zeros(shape, np.bool_))

    def moved(self, row: int, height: int) -> "_Sums":
        """The first ``height`` rows of the same memory, to be used for other rows of the scene."""
        return _Sums(Window(row, self.area.col, height, self.area.width), self.sums[:, :height], self.valid[:height])

    def part(self, area: Window) -> "_Sums":
        rows, cols = area.relative_to(self.area).slices
        return _Sums(area, self.sums[:, rows, cols], self.valid[rows, cols])

    def copy_from(self, other: "_Sums") -> None:
        """Take over the pixels that both have."""
        common = self.area.intersect(other.area)
        if common.size:
            mine, theirs = self.part(common), other.part(common)
            mine.sums[:] = theirs.sums
            mine.valid[:] = theirs.valid

    def add(self, piece: _Piece, layout: Layout) -> None:
        if piece.valid is None:
            return
        window = layout.window(piece.row, piece.col)
        rows, cols = self.area.relative_to(window).slices
        weights = np.outer(layout.rows.weights[piece.row][rows], layout.cols.weights[piece.col][cols])
        # Product and sum are rounded one by one: a fused kernel may round differently at the end of a row.
        self.sums[:] += piece.data[:, rows, cols] * like(weights, self.sums)
        self.valid[:] |= piece.valid[rows, cols]


def _blend_row(
    pieces: Iterator[_Piece], predictor: Predictor, layout: Layout, band: Window, above: _Sums, below: _Sums
) -> Iterator[Blended]:
    """Add a row of windows from left to right, and yield what no further window reaches.

    Args:
        pieces: the windows of one row.
        predictor: where and how many sums to keep.
        layout: the windows.
        band: the pixels of the region that these windows cover.
        above: what earlier rows of windows have added to the band.
        below: filled with the sums of the pixels that the next row of windows also covers.
    """
    opened = _Sums.zeros(Window(band.row, band.col, band.height, 0), predictor)

    def close_before(col: int) -> Iterator[Blended]:
        left = opened.area.col
        closed = opened.part(Window(band.row, left, band.height, col - left))
        below.copy_from(closed)
        done = closed.part(Window(band.row, left, below.area.row - band.row, col - left))
        if done.area.size:
            yield Blended(done.area, done.sums, done.valid)

    for piece in pieces:
        part = layout.window(piece.row, piece.col).intersect(band)
        if part.col_stop > opened.area.col_stop:
            yield from close_before(part.col)
            width = min(max(layout.cols.size, _OPEN_PX), band.col_stop - part.col)
            further = _Sums.zeros(Window(band.row, part.col, band.height, width), predictor)
            further.copy_from(above)
            further.copy_from(opened)  # after ``above``, which these columns already hold
            opened = further
        opened.part(part).add(piece, layout)
    yield from close_before(band.col_stop)
