"""Labels on the pixels of a grid: the noun that everything else works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import GridError, LabelError, LabelsElsewhere
from sparsecover.grid import Grid, Window
from sparsecover.labels.arrays import Groups, Indices, Mask, count_values
from sparsecover.labels.burn import Shapes, nearest_index


@dataclass(frozen=True, eq=False)
class LabelRaster:
    """Class indices of the pixels of a grid; 255 is unlabelled.

    ``groups`` numbers from 1 the feature that labelled a pixel (0: none); None where labels did not come from vectors.
    ``shapes`` are the vectors themselves, kept so that ``resized`` loses no click; ``dropped`` marks labels taken away
    by ``keep``, which must not come back when the shapes are burnt again.
    """

    values: Indices
    grid: Grid
    groups: Groups | None = None
    scheme: ClassScheme | None = None
    shapes: Shapes | None = None
    dropped: Mask | None = None

    def __post_init__(self) -> None:
        if self.values.dtype != np.uint8 or self.values.shape != (self.grid.height, self.grid.width):
            raise LabelError(
                f"Labels must be uint8 of the grid's size {self.grid.height} x {self.grid.width}; "
                f"given {self.values.dtype} of shape {self.values.shape}."
            )

    def read(self, window: Window | None = None) -> Indices:
        """Class indices uint8[h, w] of a window, which may reach outside: there is no label outside."""
        window = window or self.grid.window
        inside = window.intersect(self.grid.window)
        out = np.full((window.height, window.width), UNLABELLED, np.uint8)
        if inside.size:
            out[inside.relative_to(window).slices] = self.values[inside.slices]
        return out

    def counts(self, num_classes: int) -> npt.NDArray[np.int64]:
        """Labelled pixels by class, int64[K].

        Raises:
            LabelError: a value that is neither below ``num_classes`` nor 255.
        """
        return count_values(self.values, num_classes)

    def keep(self, mask: Mask) -> "LabelRaster":
        """The labels where ``mask`` (bool[H, W]) is True; all others become unlabelled."""
        values = np.where(mask, self.values, np.uint8(UNLABELLED))
        groups = None if self.groups is None else np.where(mask, self.groups, self.groups.dtype.type(0))
        if self.shapes is None:
            return replace(self, values=values, groups=groups)
        gone = ~mask & (self.values != UNLABELLED)
        return replace(
            self, values=values, groups=groups, dropped=gone if self.dropped is None else gone | self.dropped
        )

    def resized(self, grid: Grid) -> "LabelRaster":
        """The labels on another grid of the same ground: burnt again from vectors if there are any, else by nearest."""
        height, width = grid.height, grid.width
        if (height, width) == (self.grid.height, self.grid.width):
            return replace(self, grid=grid)
        if self.shapes is None:
            pick = np.ix_(nearest_index(self.grid.height, height), nearest_index(self.grid.width, width))
            groups = None if self.groups is None else self.groups[pick]
            return LabelRaster(self.values[pick], grid, groups, self.scheme)
        shapes = self.shapes.scaled(height, width)
        burnt = shapes.burn()
        again = LabelRaster(burnt.values, grid, burnt.groups, self.scheme, shapes)
        return again if self.dropped is None else again.keep(~_any_resized(self.dropped, height, width))

    def with_values(self, values: Indices) -> "LabelRaster":
        """Other labels on the same grid, without groups or vectors."""
        return LabelRaster(values, self.grid, scheme=self.scheme)


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels with what they mean, a table of what was found, and notes on what was dropped or changed."""

    raster: LabelRaster
    scheme: ClassScheme
    table: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def finish(
    raster: LabelRaster, notes: list[str], valid: Mask | None = None, features: Mapping[int, int] | None = None
) -> LabelSet:
    """Drop labels on invalid pixels and count what is left; the raster must carry its scheme.

    Raises:
        LabelsElsewhere: no labelled pixel is left; GridError: a mask of another size.
    """
    scheme = raster.scheme
    assert scheme is not None
    if valid is not None:
        if valid.shape != raster.values.shape:
            raise GridError(f"The valid mask is {valid.shape}, the labels are {raster.values.shape}.")
        lost = int(np.count_nonzero((raster.values != UNLABELLED) & ~valid))
        if lost:
            raster = raster.keep(valid)
            notes = [*notes, f"{lost} labelled pixels lie on pixels without data and were dropped."]
    counts = raster.counts(len(scheme))
    if not counts.any():
        raise LabelsElsewhere("No labelled pixel is left. " + " ".join(notes))
    table: list[dict[str, object]] = [
        {"code": c.code, "name": c.name, "pixels": int(counts[i]), "features": (features or {}).get(i, 0)}
        for i, c in enumerate(scheme.classes)
    ]
    missing = [c.name for i, c in enumerate(scheme.classes) if not counts[i]]
    if missing:
        notes = [*notes, f"No labelled pixel: {', '.join(missing)}."]
    return LabelSet(raster, scheme, table, notes)


def _any_resized(mask: Mask, height: int, width: int) -> Mask:
    """A mask that is True where any pixel beneath is: nothing taken away returns through a coarser grid."""
    out = mask
    for axis, new in ((0, height), (1, width)):
        old = mask.shape[axis]
        start = np.arange(new) * old // new
        stop = np.maximum(-(-(np.arange(new) + 1) * old // new), start + 1)
        steps = int((stop - start).max())
        picks = [np.take(out, np.minimum(start + s, stop - 1), axis=axis) for s in range(steps)]
        out = reduce(np.logical_or, picks)
    return out
