"""Does a scene fit a checkpoint: the bands and their order, the range of values, the size of pixels."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sparsecover.checkpoint import Checkpoint
from sparsecover.errors import GridError, ModelError, SceneError, counted
from sparsecover.grid import Window
from sparsecover.normalize import Normalizer
from sparsecover.raster import Scene

_RESOLUTION_TOLERANCE = 0.10  # networks are trained with flips and crops, not with zoom; small steps do no harm
_LARGEST_ZOOM = 8.0  # beyond it nothing of what the network learnt is left to see
_LARGEST_STRETCH = 4.0  # of pixels made square that were not; photographs of any shape may have trained on one
_OWN_GRID = "the map has the scene's own grid (predict --native does without)."
_SAMPLE_WINDOWS, _SAMPLE_PX = 4, 64

# Where the training's values lie after normalising, by kind: from about the lowest to the highest.
_TRAINED_RANGE = {"percentile": (-1.0, 1.0), "zscore": (-2.0, 2.0), "minmax": (0.0, 1.0), "dtype": (0.0, 1.0)}


def match_bands(scene: Scene, bands: Sequence[str]) -> tuple[Scene, list[str]]:
    """The scene with the bands that a network wants in the network's order, and notes on what was done.

    Bands are found by their names where the scene has all of them; else their number has to agree.

    Raises:
        ModelError: another number of bands.
    """
    names = [band.name for band in scene.bands]
    if names == list(bands):
        return scene, []
    unique = len(set(names)) == len(names)
    chosen = len(names) == len(bands) and all(map(_is_generic, names))  # mere numbers in an order that was asked for
    if unique and set(bands) <= set(names) and not chosen:
        picked = scene.select([names.index(name) + 1 for name in bands])
        return picked, [f"{scene.name}: bands were taken by name, in the order {', '.join(bands)}."]
    if len(names) != len(bands):
        raise ModelError(
            f"{scene.name} has {counted(names, 'band')} ({_listed(names)}), but the network wants {len(bands)}: "
            f"{_listed(bands)}. Give the same bands in the same order as in training, or pick them with --bands."
        )
    named = [(a, b) for a, b in zip(names, bands, strict=True) if not (_is_generic(a) or _is_generic(b)) and a != b]
    if not named:
        return scene, []
    pairs = ", ".join(f"{a} for {b}" for a, b in named[:4])
    return scene, [f"{scene.name}: band names differ from the training's ({pairs}); they are taken in their order."]


def _is_generic(name: str) -> bool:
    return name.startswith("band_") and name[5:].isdigit()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:3])}, ... {names[-1]}"


def check_scale(scene: Scene, normalizer: Normalizer) -> list[str]:
    """Notes on bands whose values lie far from those the network was trained on, with figures."""
    trained = _TRAINED_RANGE.get(normalizer.kind)
    pixels = _sample(scene) if trained else None
    if trained is None or pixels is None:
        return []
    unclipped = dataclasses.replace(normalizer, clip=None)
    scaled = unclipped(pixels[:, None], np.ones((1, pixels.shape[1]), bool))[:, 0]
    low, middle, high = np.percentile(scaled, [2, 50, 98], axis=1)
    span = trained[1] - trained[0]
    far = (middle < trained[0] - span) | (middle > trained[1] + span)
    odd = far | (high - low > 10 * span) | ((high - low < 0.02 * span) & (high > low))
    notes = []
    for band in np.flatnonzero(odd)[:4]:
        here = np.percentile(pixels[band], [2, 98])
        there = [normalizer.offset[band] + bound * normalizer.scale[band] for bound in trained]
        notes.append(
            f"{scene.name}: band {scene.bands[band].name} holds {here[0]:.4g} to {here[1]:.4g} (2% to 98%); in "
            f"training it held about {there[0]:.4g} to {there[1]:.4g}. Is it scaled or ordered otherwise? "
            "Do not trust the map."
        )
    return notes


def _sample(scene: Scene) -> npt.NDArray[np.generic] | None:
    """Valid pixels [C, n] from small windows spread over the scene: quick on scenes of any size."""
    grid, size = scene.grid, _SAMPLE_PX
    parts = []
    for i in range(_SAMPLE_WINDOWS):
        for j in range(_SAMPLE_WINDOWS):
            row = (grid.height - size) * (2 * i + 1) // (2 * _SAMPLE_WINDOWS)
            col = (grid.width - size) * (2 * j + 1) // (2 * _SAMPLE_WINDOWS)
            window = Window(max(0, row), max(0, col), size, size).intersect(grid.window)
            try:
                values, valid = scene.read(window)
            except SceneError:  # prediction itself says which block is unreadable, or goes on without it
                continue
            parts.append(values[:, valid])
    pixels = np.concatenate(parts, axis=1) if parts else None
    return pixels if pixels is not None and pixels.shape[1] else None


def at_training_resolution(scene: Scene, network: Checkpoint) -> tuple[Scene, list[str]]:
    """The scene with pixels of the training's size where its own differ by more than 10%, and a note saying so.

    Where one of both has no coordinate system, it is resized as the training's files were.

    Raises:
        GridError: the sizes are so far apart that a map would mean nothing.
    """
    own = scene.grid.resolution_m
    if network.resolution_m is None or own is None:
        return _resized_as_trained(scene, network.resize)
    return _resampled(scene, own, network.resolution_m)


def _resized_as_trained(scene: Scene, resize: float | tuple[int, int] | None) -> tuple[Scene, list[str]]:
    working = scene if resize is None else scene.scaled(resize)
    if working is scene:
        return scene, []
    rows, cols = working.grid.height, working.grid.width
    if isinstance(resize, tuple) and not _alike(rows / scene.grid.height, cols / scene.grid.width):
        raise GridError(
            f"{scene.name} has {scene.grid.height} x {scene.grid.width} pixels, the training's files were resized to "
            f"{rows} x {cols} (data.resize). Pixels of another size or shape would be mapped; --native predicts it as "
            "it is."
        )
    note = (
        f"{scene.name}: {scene.grid.height} x {scene.grid.width} pixels are resized to {rows} x {cols} on the fly, as "
        f"the training's were (data.resize); {_OWN_GRID}"
    )
    return working, [note]


def _alike(tall: float, wide: float) -> bool:
    """Whether a scene enlarged so much, down and across, shows pixels such as those of the training may have been."""
    in_reach = all(1 / _LARGEST_ZOOM <= zoom <= _LARGEST_ZOOM for zoom in (tall, wide))
    return in_reach and 1 / _LARGEST_STRETCH <= tall / wide <= _LARGEST_STRETCH


def _resampled(scene: Scene, own: float, resolution_m: float) -> tuple[Scene, list[str]]:
    """From pixels of ``own`` metres to those of the training."""
    zoom = own / resolution_m
    if abs(zoom - 1) <= _RESOLUTION_TOLERANCE:
        return scene, []
    if not 1 / _LARGEST_ZOOM <= zoom <= _LARGEST_ZOOM:
        raise GridError(
            f"{scene.name} has pixels of {own:.3g} m, the network was trained on {resolution_m:.3g} m. That is too far "
            "apart to resample; use a network trained at this resolution, or --native to predict all the same."
        )
    height, width = (max(1, round(side * zoom)) for side in (scene.grid.height, scene.grid.width))
    note = (
        f"{scene.name}: pixels of {own:.3g} m are resampled to the training's {resolution_m:.3g} m on the fly; "
        f"{_OWN_GRID}"
    )
    return scene.resized(height, width), [note]
