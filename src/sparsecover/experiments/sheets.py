"""Sheets: for each label budget the scene, the labels given, what each method made of them, and the truth."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsecover import figures
from sparsecover.checkpoint import Checkpoint
from sparsecover.classes import UNLABELLED, ClassScheme, Color
from sparsecover.datasets import Pair
from sparsecover.grid import Window, tiles
from sparsecover.inference import predict_strips
from sparsecover.patches import Labels
from sparsecover.raster import Scene

_FILE = "samples.npz"
_SIDE_PX = 512
_LOOKED_AT = 12  # scenes among which the one to show is chosen
_SIDE_IN = 1.9
_TITLE_LETTERS = 24  # that a picture has room for
_SMALLEST_PX = 200  # smaller pictures are enlarged by whole factors, so that marks stay thin
_SPOT = 0.015  # of the longer side: pictures are small
ROWS = {"trained": "in training", "scored": "scored"}

Indices = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """A part of a scene: picture uint8 [h, w, 3]; labels given, truth and map as class indices uint8 [h, w]."""

    picture: figures.Picture
    given: Indices
    truth: Indices
    map: Indices


def save_samples(
    folder: Path,
    checkpoint: Checkpoint,
    dense: Sequence[Pair],
    given: Sequence[tuple[Scene, Labels]],
    scored: Sequence[Pair],
    bands: Sequence[int] | None,
    device: str,
) -> None:
    """Predict a part of a training scene and one of a scored scene and keep them for the sheets.

    Args:
        dense: training pairs with all labels, by which the part is chosen: the same for every budget.
        given: the same pairs with the labels that trained.
        bands: numbers from 1 of the bands to show; default: by name.
    """
    arrays: dict[str, npt.NDArray[np.uint8]] = {}
    for row, pairs in {"trained": dense, "scored": scored}.items():
        number, window = _richest(pairs)
        scene, truth = pairs[number].scene, pairs[number].labels.read(window)
        labels = given[number][1].read(window) if row == "trained" else np.full_like(truth, UNLABELLED)
        arrays |= {
            f"{row}_picture": _picture(scene, window, bands), f"{row}_given": labels, f"{row}_truth": truth,
            f"{row}_map": _map(scene, window, checkpoint, device),
        }  # fmt: skip
    with (folder / _FILE).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the first for a flag


def load_samples(folder: Path) -> dict[str, Sample]:
    """The samples of a job by row; empty where it has none."""
    if not (folder / _FILE).is_file():
        return {}
    with np.load(folder / _FILE, allow_pickle=False) as held:
        return {row: Sample(*(held[f"{row}_{part}"] for part in ("picture", "given", "truth", "map"))) for row in ROWS}


def draw_sheet(samples: Mapping[str, Mapping[str, Sample]], scheme: ClassScheme) -> bytes:
    """A sheet as a PNG.

    Args:
        samples: by method, then by row; all methods show the same parts.
    """
    first = next(iter(samples.values()))
    rows = []
    for row, title in ROWS.items():
        sample = first[row]
        factor = max(1, -(-_SMALLEST_PX // max(sample.truth.shape)))
        picture, given = _enlarged(sample.picture, factor), _enlarged(sample.given, factor)
        pictures = [picture, figures.label_picture(picture, [given], scheme.colors, _SPOT)]
        maps = [*(of[row].map for of in samples.values()), sample.truth]
        pictures += [figures.class_picture(_enlarged(indices, factor), scheme.colors) for indices in maps]
        rows.append((title, pictures))
    legend: dict[str, Color | None] = dict(zip(scheme.names, scheme.colors, strict=True))
    if any((sample.truth == UNLABELLED).any() for sample in first.values()):
        legend["no label"] = None
    titles = [textwrap.fill(title, _TITLE_LETTERS) for title in ("scene", "labels given", *samples, "truth")]
    return figures.sheet(rows, titles, legend, _SIDE_IN)


def _enlarged(array: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    return array.repeat(factor, 0).repeat(factor, 1)


def _richest(pairs: Sequence[Pair]) -> tuple[int, Window]:
    """The part with most classes, then most labels, among those of the first scenes."""
    best = (-1, -1, 0, pairs[0].scene.grid.window)
    for number, pair in enumerate(pairs[:_LOOKED_AT]):
        for window in tiles(pair.scene.grid.window, _SIDE_PX, _SIDE_PX):
            labels = pair.labels.read(window)
            known = labels[labels != UNLABELLED]
            richness = (len(np.unique(known)), known.size)
            if richness > best[:2]:
                best = (*richness, number, window)
    return best[2], best[3]


def _picture(scene: Scene, window: Window, bands: Sequence[int] | None) -> figures.Picture:
    values, valid = scene.read(window)
    names = [band.name for band in scene.bands]
    if bands is not None and max(bands) <= len(values):
        values, names = values[[band - 1 for band in bands]], []
    return figures.scene_picture(values, valid, names)


def _map(scene: Scene, window: Window, checkpoint: Checkpoint, device: str) -> Indices:
    indices = np.full((window.height, window.width), UNLABELLED, np.uint8)
    for strip in predict_strips(scene, checkpoint, area=window, device=device):
        place = strip.window.relative_to(window).slices
        indices[place] = np.where(strip.valid, strip.probabilities.argmax(0), UNLABELLED).astype(np.uint8)
    return indices
