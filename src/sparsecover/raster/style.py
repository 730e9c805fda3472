"""How a class map looks in a GIS: colour table, category names and a QGIS style."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from sparsecover.classes import ClassScheme

Colormap = dict[int, tuple[int, int, int, int]]


def color_table(scheme: ClassScheme) -> Colormap:
    """Red, green, blue and opacity (0..255) by code of the map."""
    return {code: (*color, 255) for code, color in zip(scheme.map_codes, scheme.colors, strict=True)}


def category_names(scheme: ClassScheme) -> list[str]:
    """Names by code from 0 up; empty where no class has the code."""
    named = dict(zip(scheme.map_codes, scheme.map_names, strict=True))
    return [named.get(code, "") for code in range(max(named, default=-1) + 1)]


def write_categories(path: Path, scheme: ClassScheme) -> None:
    """Add the category names of band 1, which TIFF has no place for, to a GDAL .aux.xml."""
    # GDAL may have put a coordinate system there that GeoTIFF cannot express; that must stay.
    root = ElementTree.parse(path).getroot() if path.exists() else ElementTree.Element("PAMDataset")
    band = root.find("PAMRasterBand[@band='1']")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1") if band is None else band
    names = ElementTree.SubElement(band, "CategoryNames")
    for name in category_names(scheme):
        ElementTree.SubElement(names, "Category").text = name
    _write(root, path)


def write_qml(path: str | os.PathLike[str], scheme: ClassScheme) -> None:
    """Write a QGIS style that shows each code of the map with its colour and name."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="AllStyleCategories")
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for code, name, color in zip(scheme.map_codes, scheme.map_names, scheme.colors, strict=True):
        hexadecimal = "#" + "".join(f"{part:02x}" for part in color)
        ElementTree.SubElement(palette, "paletteEntry", value=str(code), label=name, color=hexadecimal, alpha="255")
    _write(root, path, "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n")


def _write(root: ElementTree.Element, path: str | os.PathLike[str], head: str = "") -> None:
    ElementTree.indent(root)
    Path(path).write_text(head + ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")
