"""Bands without any data: usual in hyperspectral products, where water vapour hides some, and fatal if kept.

A pixel counts as valid where all bands are, so one empty band would make a whole scene nodata.
"""

from collections.abc import Sequence

from sparsecover.raster.scene import Scene

_LOOK_PX = 256


def drop_empty_bands(scenes: Sequence[Scene]) -> tuple[list[Scene], list[str]]:
    """Leave out the bands that are empty in every scene.

    Args:
        scenes: with the same number of bands.

    Returns:
        The scenes, and a note where bands were left out. Scenes without any data stay as they are.
    """
    empty: set[int] | None = None
    for scene in scenes:
        numbers = _empty_bands(scene)
        empty = numbers if empty is None else empty & numbers
        if not empty:
            return list(scenes), []
    if not empty or len(empty) == len(scenes[0].bands):
        return list(scenes), []
    names = ", ".join(scenes[0].bands[number - 1].name for number in sorted(empty))
    kept = [number for number in range(1, len(scenes[0].bands) + 1) if number not in empty]
    return [scene.select(kept) for scene in scenes], [f"{len(empty)} bands hold no data and were left out: {names}."]


def _empty_bands(scene: Scene) -> set[int]:
    """Numbers from 1 of the bands without a valid pixel, looked for only where no pixel has all bands."""
    if _has_data(scene):
        return set()
    return {number for number in range(1, len(scene.bands) + 1) if not _has_data(scene.select([number]))}


def _has_data(scene: Scene) -> bool:
    return bool(scene.preview(_LOOK_PX)[1].any())
