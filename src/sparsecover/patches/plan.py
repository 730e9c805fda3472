"""Which windows are trained on: a pure function of (seed, sample number), whatever reads them and in whatever order."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import ConfigError, DataError, nearest
from sparsecover.grid import Grid, Window, tiles

SAMPLINGS = ("auto", "labels", "balanced", "random", "grid")

_LARGEST_AUTO_SIZE = 256  # about the receptive field of a five-level U-Net
_SMALLEST_AUTO_SIZE = 32
_EPOCH_RANGE = (
    128,
    1000,
)  # windows in an epoch by default: short enough to see progress, long enough to mean something
_SCARCE = 0.5  # below this share of tiles with labels, random windows are mostly drawn in vain
_UNEVEN = 4.0  # labelled pixels of the commonest class over those of the rarest
_RARE = 0.02  # a class in fewer tiles than this is met too seldom by random windows
_ATTEMPTS = 8  # random windows are drawn again while they hold no label

Array = npt.NDArray[Any]


class Labels(Protocol):
    """What training asks of labels, in memory or in a file: uint8 class indices on a grid, 255 unlabelled."""

    @property
    def grid(self) -> Grid: ...

    @property
    def scheme(self) -> ClassScheme | None: ...

    def read(self, window: Window, /) -> npt.NDArray[np.uint8]:
        """Indices [h, w] of a window; 255 outside."""

    def counts(self, num_classes: int, /) -> npt.NDArray[np.int64]:
        """Labelled pixels by class, [K]."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One window of one pair; labels outside ``own`` belong to another window of the plan (None: all are its own)."""

    pair: int
    window: Window
    own: Window | None = None


@dataclass(frozen=True)
class PatchPlan:
    """The windows of a training. ``plan[i]`` is sample i, for any i from 0; epoch e is i from e * len to (e+1) * len.

    Attributes:
        grids: of the pairs.
        labels: of the pairs.
        size_px: side of the windows.
        per_epoch: windows in an epoch.
        sampling: ``labels`` (around a labelled pixel drawn evenly), ``balanced`` (around a pixel of a class drawn
            evenly), ``random`` (anywhere with a label in it) or ``grid`` (all tiles with labels, in random order).
        seed: fixes all windows.
        reason: why size and sampling are what they are, for the log.
        blocks: tiles of the pairs with at least one label; they partition the labelled pixels.
        counts: int64 [blocks, K] labelled pixels by class.
    """

    grids: tuple[Grid, ...]
    labels: tuple[Labels, ...]
    size_px: int
    per_epoch: int
    sampling: Literal["labels", "balanced", "random", "grid"]
    seed: int
    reason: str
    blocks: tuple[Patch, ...]
    counts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return self.per_epoch

    def __getitem__(self, sample: int) -> Patch:
        if sample < 0:
            raise IndexError(sample)
        if self.sampling == "grid":
            return self._from_grid(sample)
        rng = np.random.default_rng((self.seed, sample))
        return self._anywhere(rng) if self.sampling == "random" else self._around_label(rng)

    @property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """Labelled pixels by class, int64 [K]."""
        total: npt.NDArray[np.int64] = self.counts.sum(0)
        return total

    def tiling(self) -> list[Patch]:
        """Windows that hold each labelled pixel once as their own: for validation and for pixel-wise models.

        They lie inside the scene where it is large enough, so that edge pixels see as much of it as others do.
        """
        return [Patch(b.pair, self._inside(b.pair, b.window.row, b.window.col), b.window) for b in self.blocks]

    def covered(self, pair: int, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Where the tiles with training labels lie in a pair shrunk to ``height`` x ``width`` pixels, bool [h, w]."""
        grid = self.grids[pair]
        down, across = height / grid.height, width / grid.width
        mask = np.zeros((height, width), bool)
        for window in (block.window for block in self.blocks if block.pair == pair):
            rows = slice(int(window.row * down), math.ceil(window.row_stop * down))
            mask[rows, int(window.col * across) : math.ceil(window.col_stop * across)] = True
        return mask

    def digest(self) -> str:
        """SHA-256 of everything that decides which labelled pixels are seen when."""
        about = f"{self.size_px}|{self.per_epoch}|{self.sampling}|{self.seed}"
        digest = hashlib.sha256(about.encode())
        for block in self.blocks:
            digest.update(f"{block.pair}|{block.window}".encode())
            digest.update(np.ascontiguousarray(self.labels[block.pair].read(block.window)).data)
        return digest.hexdigest()

    def _from_grid(self, sample: int) -> Patch:
        epoch, position = divmod(sample, len(self.blocks))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.blocks))
        return self._tiles[int(order[position])]

    def _anywhere(self, rng: np.random.Generator) -> Patch:
        for _ in range(_ATTEMPTS):
            pair = int(np.searchsorted(self._areas, rng.random() * self._areas[-1], side="right"))
            grid, size = self.grids[pair], self.size_px
            row = int(rng.integers(max(grid.height - size, 0) + 1))
            col = int(rng.integers(max(grid.width - size, 0) + 1))
            window = Window(row, col, size, size)
            if (self.labels[pair].read(window) != UNLABELLED).any():
                return Patch(pair, window)
        return self._around_label(rng)

    def _around_label(self, rng: np.random.Generator) -> Patch:
        """A window with a drawn labelled pixel somewhere in its middle half, where it sees context on all sides."""
        totals = self._cumulated[-1]
        weights = (totals > 0) if self.sampling == "balanced" else totals
        label = int(rng.choice(len(totals), p=weights / weights.sum()))
        number = int(rng.integers(totals[label]))
        index = int(np.searchsorted(self._cumulated[:, label], number, side="right"))
        block = self.blocks[index]
        before = int(self._cumulated[index - 1, label]) if index else 0
        values = self.labels[block.pair].read(block.window)
        pixel = int(np.flatnonzero(values == label)[number - before])
        row, col = divmod(pixel, block.window.width)
        quarter = self.size_px // 4
        above, left = (int(shift) for shift in rng.integers(quarter, max(quarter + 1, 3 * quarter), size=2))
        window = self._inside(block.pair, block.window.row + row - above, block.window.col + col - left)
        return Patch(block.pair, window)

    def _inside(self, pair: int, row: int, col: int) -> Window:
        """The window moved into its scene; a scene smaller than the window is padded at the far edges."""
        grid, size = self.grids[pair], self.size_px
        return Window(
            min(max(row, 0), max(grid.height - size, 0)), min(max(col, 0), max(grid.width - size, 0)), size, size
        )

    @cached_property
    def _cumulated(self) -> npt.NDArray[np.int64]:
        return self.counts.cumsum(0)

    @cached_property
    def _tiles(self) -> list[Patch]:
        return self.tiling()

    @cached_property
    def _areas(self) -> npt.NDArray[np.float64]:
        """Pixels of the pairs that have labels, cumulated over the pairs."""
        labelled = {block.pair for block in self.blocks}
        sizes = [grid.window.size if pair in labelled else 0 for pair, grid in enumerate(self.grids)]
        return np.cumsum(np.asarray(sizes, np.float64))


def plan_patches(
    labels: Sequence[Labels],
    *,
    num_classes: int,
    size_px: int | Literal["auto"] = "auto",
    per_epoch: int | Literal["auto"] = "auto",
    sampling: str = "auto",
    seed: int = 0,
) -> PatchPlan:
    """Plan the training windows over some label rasters (one for each scene, on the scene's grid).

    Args:
        labels: one raster a scene; those without a label are never drawn from.
        num_classes: K; labels hold 0..K-1 or 255.
        size_px: side of the square windows; ``auto`` takes 256, or less where most scenes are smaller.
        per_epoch: windows in an epoch; ``auto`` takes as many as tiles with labels, within 128 to 1000.
        sampling: one of SAMPLINGS; ``auto`` centres on labels where they are scarce.
        seed: fixes the windows.

    Raises:
        ConfigError: an unknown sampling or a size below 1.
        DataError: no labelled pixel, or a label outside 0..K-1.
    """
    if sampling not in SAMPLINGS:
        raise ConfigError(f"Unknown sampling {sampling!r}. {nearest(sampling, SAMPLINGS)}")
    grids = tuple(raster.grid for raster in labels)
    size = auto_size_px(grids) if size_px == "auto" else size_px
    if size < 1 or (per_epoch != "auto" and per_epoch < 1):
        raise ConfigError(f"patches.size_px and per_epoch must be at least 1; given {size_px} and {per_epoch}.")
    blocks, counts, total = _count(labels, size, num_classes)
    if not blocks:
        raise DataError(
            f"None of the {len(labels)} training scenes holds a labelled pixel. Check that labels and scenes overlap "
            "(sparsecover check) and that the split leaves labels to train on."
        )
    chosen, reason = _choose(counts, total) if sampling == "auto" else (sampling, "as configured")
    windows = int(np.clip(len(blocks), *_EPOCH_RANGE)) if per_epoch == "auto" else per_epoch
    text = f"{windows} windows of {size} px an epoch, sampling {chosen}: {reason}"
    return PatchPlan(grids, tuple(labels), size, windows, chosen, seed, text, blocks, counts)  # type: ignore[arg-type]


def auto_size_px(grids: Sequence[Grid]) -> int:
    """The side of windows by default: 256, or less where the usual short side of the scenes is (in steps of 16)."""
    if not grids:
        return _LARGEST_AUTO_SIZE
    side = int(np.median([min(grid.height, grid.width) for grid in grids]))
    return int(np.clip(-(-side // 16) * 16, _SMALLEST_AUTO_SIZE, _LARGEST_AUTO_SIZE))


def _count(
    labels: Sequence[Labels], size: int, num_classes: int
) -> tuple[tuple[Patch, ...], npt.NDArray[np.int64], int]:
    """Tiles with labels, their labelled pixels by class, and the number of all tiles."""
    blocks, counts, total = [], [], 0
    for pair, raster in enumerate(labels):
        for window in tiles(raster.grid.window, size, size):
            total += 1
            values = raster.read(window)
            found = np.bincount(values[values != UNLABELLED], minlength=num_classes)
            if len(found) > num_classes:
                raise DataError(
                    f"Labels of scene {pair} hold the class index {len(found) - 1}; expected 0 to {num_classes - 1}."
                )
            if found.any():
                blocks.append(Patch(pair, window))
                counts.append(found)
    return tuple(blocks), np.array(counts, np.int64).reshape(-1, num_classes), total


def _choose(counts: npt.NDArray[np.int64], total: int) -> tuple[str, str]:
    """Resolve ``auto``: the sampling and why."""
    covered = len(counts) / total
    pixels = counts.sum(0)
    present = pixels[pixels > 0]
    uneven = float(present.max() / present.min())
    rarest = float((counts[:, pixels > 0] > 0).mean(0).min()) * covered
    if covered < _SCARCE:
        why = f"labels are scarce ({covered:.0%} of the tiles hold any)"
        if uneven > _UNEVEN:
            return "balanced", f"{why} and uneven (commonest class {uneven:.3g} times the rarest)"
        return "labels", why
    if rarest < _RARE:
        return "balanced", f"the rarest class is in {rarest:.1%} of the tiles"
    return "random", f"{covered:.0%} of the tiles hold labels"
