"""The pictures of one scene for the report, side by side: scene, labels, map, confidence."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsecover import figures
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import plural
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster
from sparsecover.raster import Scene

_SMALLEST_PX = 400  # smaller pictures are enlarged by whole factors, so that marks and edges stay thin


@dataclass(frozen=True, eq=False)
class SceneView:
    """Pictures of one scene, uint8 [h, w, 3] each; None where there is nothing to show.

    Attributes:
        name: of the scene.
        facts: size, pixel and coordinate system in words.
        scene, labels, map, confidence: the pictures.
        lowest_confidence: percent at the dark end of the confidence picture.
    """

    name: str
    facts: str
    scene: figures.Picture
    labels: figures.Picture | None
    map: figures.Picture
    confidence: figures.Picture | None
    lowest_confidence: float

    def overview(self, scheme: ClassScheme) -> bytes:
        """All pictures beside each other with the classes' colours below, as a PNG."""
        every = {"scene": self.scene, "labels": self.labels, "map": self.map, "confidence": self.confidence}
        shown = {title: picture for title, picture in every.items() if picture is not None}
        legend = dict(zip(scheme.names, scheme.colors, strict=True))
        return figures.sheet([("", list(shown.values()))], list(shown), legend, side_in=3.2)


def scene_view(
    scene: Scene,
    map_scene: Scene,
    scheme: ClassScheme,
    *,
    confidence: Scene | None = None,
    training: LabelRaster | None = None,
    held_out: LabelRaster | None = None,
    max_px: int = 900,
) -> SceneView:
    """Make the pictures of one scene.

    Args:
        scene: the image.
        map_scene: its map, one band of codes.
        scheme: the map's classes.
        confidence: one band in percent, 0..100.
        training: labels that trained; None draws no picture of labels unless there are held-out ones.
        held_out: labels that were kept for scoring.
        max_px: longer side of each picture.
    """
    values, valid = scene.preview(max_px)
    picture = _enlarged(figures.scene_picture(values, valid, [band.name for band in scene.bands]))
    sides = [None if side is None else _marks(side, *picture.shape[:2]) for side in (training, held_out)]
    has_labels = any(side is not None for side in sides)
    lowest = 100 / len(scheme) if len(scheme) > 1 else 0.0  # the likeliest of K classes has at least 1/K
    return SceneView(
        name=scene.name,
        facts=_facts(scene),
        scene=picture,
        labels=figures.label_picture(picture, sides, scheme.colors) if has_labels else None,
        map=_enlarged(figures.class_picture(_indices(map_scene, scheme, max_px), scheme.colors)),
        confidence=None if confidence is None else _confidence(confidence, lowest, max_px),
        lowest_confidence=lowest,
    )


def _enlarged(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    factor = max(1, _SMALLEST_PX // max(array.shape[:2]))
    return array.repeat(factor, 0).repeat(factor, 1)


def _marks(labels: LabelRaster, height: int, width: int) -> npt.NDArray[np.uint8]:
    return figures.thinned_labels(_enlarged(labels.values), height, width)


def _indices(map_scene: Scene, scheme: ClassScheme, max_px: int) -> npt.NDArray[np.uint8]:
    codes, valid = map_scene.preview(max_px)
    lookup = np.full(256, UNLABELLED, np.uint8)
    lookup[list(scheme.map_codes)] = np.arange(len(scheme))
    return np.where(valid, lookup[codes[0].astype(np.uint8)], np.uint8(UNLABELLED))


def _confidence(confidence: Scene, lowest: float, max_px: int) -> figures.Picture:
    values, valid = confidence.preview(max_px)
    percent = np.where(valid, values[0].round().astype(np.uint8), np.uint8(255))
    return _enlarged(figures.confidence_picture(percent, lowest))


def _facts(scene: Scene) -> str:
    grid, bands = scene.grid, len(scene.bands)
    size = f"{grid.width} × {grid.height} px"
    return ", ".join([size, *_ground(grid), f"{bands} {plural(bands, 'band')}, {scene.dtype}"])


def _ground(grid: Grid) -> list[str]:
    if not grid.is_georeferenced or grid.pixel_size_m is None:
        return ["no coordinate system"]
    from pyproj import CRS

    return [f"pixel of {grid.pixel_size_m[1]:.3g} m", CRS.from_wkt(grid.crs or "").name]
