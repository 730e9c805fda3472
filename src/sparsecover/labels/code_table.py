"""What a label raster's codes are called and how they are coloured, as far as the file tells."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from sparsecover.classes import ClassScheme, Color, LandClass, default_colors


@dataclass
class CodeTable:
    """What label rasters hold: pixels by code; names and colours where a palette tells them."""

    pixels: Counter[int] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)
    colors: dict[int, Color] = field(default_factory=dict)

    def add(self, other: Self) -> None:
        """Take in the codes of another file; the first name and colour of a code stays."""
        self.pixels.update(other.pixels)
        self.names = other.names | self.names
        self.colors = other.colors | self.colors

    def scheme(self) -> ClassScheme:
        """The codes found as classes, in rising order."""
        codes = sorted(self.pixels)
        names = [self.names.get(code) or str(code) for code in codes]
        if len(set(names)) < len(names):
            names = [f"{name} ({code})" for code, name in zip(codes, names, strict=True)]
        colors = [self.colors.get(c, d) for c, d in zip(codes, default_colors(names), strict=True)]
        if len(set(colors)) < len(colors):
            colors = default_colors(names)
        return ClassScheme(tuple(LandClass(*row) for row in zip(codes, names, colors, strict=True)))


def palette(source: Any) -> list[Color]:
    """Colours of the codes 0..255 of a paletted band; empty without a palette."""
    if source.colorinterp[0] != ColorInterp.palette:
        return []
    table = source.colormap(1)
    return [table.get(code, (0, 0, 0, 0))[:3] for code in range(max(table) + 1)]


def category_names(source: Any) -> dict[int, str]:
    """Category names by code. Only GDAL's own description of a file holds them, so it is written and read back."""
    with MemoryFile(ext=".vrt") as description:
        rasterio.shutil.copy(source, description.name, driver="VRT")
        root = ElementTree.fromstring(description.read())
    band = root.find("VRTRasterBand")
    names = [] if band is None else [node.text for node in band.iterfind("CategoryNames/Category")]
    return {code: name for code, name in enumerate(names) if name}
