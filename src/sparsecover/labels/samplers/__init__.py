"""Partial labels out of dense ones. A new sampler is one file here and one line in ``SAMPLERS``."""

from sparsecover.labels.samplers.base import Sampler
from sparsecover.labels.samplers.per_class import per_class
from sparsecover.labels.samplers.pixels import pixels
from sparsecover.labels.samplers.points import points
from sparsecover.labels.samplers.polygons import polygons
from sparsecover.labels.samplers.scribbles import scribbles

SAMPLERS: dict[str, Sampler] = {
    "pixels": pixels,
    "per_class": per_class,
    "points": points,
    "scribbles": scribbles,
    "polygons": polygons,
}

__all__ = ["SAMPLERS"]
