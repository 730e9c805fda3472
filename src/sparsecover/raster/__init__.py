"""Rasters: file names come in and go out here, and nowhere else."""

from sparsecover.raster.empty_bands import drop_empty_bands
from sparsecover.raster.file import Georeference
from sparsecover.raster.gdal import available_formats, read_in_order
from sparsecover.raster.scene import Scene, open_scene
from sparsecover.raster.source import Band
from sparsecover.raster.style import write_qml
from sparsecover.raster.writer import MapWriter, check_room, remove_leftovers

__all__ = [
    "Band",
    "Georeference",
    "MapWriter",
    "Scene",
    "available_formats",
    "check_room",
    "drop_empty_bands",
    "open_scene",
    "read_in_order",
    "remove_leftovers",
    "write_qml",
]
