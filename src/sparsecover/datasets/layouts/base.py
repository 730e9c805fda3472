"""What a layout tells of a dataset before any file is opened."""

from dataclasses import dataclass, field
from pathlib import Path

from sparsecover.classes import ClassScheme
from sparsecover.errors import DataError
from sparsecover.grid import Window

SIDES = ("train", "validation", "test")

IMAGE_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".png", ".jpg", ".jpeg", ".bmp")
LABEL_ENDINGS = (*IMAGE_ENDINGS, ".gpkg", ".geojson", ".shp", ".parquet")


@dataclass(frozen=True)
class Entry:
    """The files of one pair. Several images are one stack of bands; ``mask`` is not 0 where they count as nodata."""

    name: str
    images: tuple[Path, ...]
    labels: Path
    split: str | None = None
    field: str | None = None
    windows: tuple[Window, ...] | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Listing:
    """The pairs of a dataset, and how its labels are to be read.

    Attributes:
        problems: files that cannot be paired, one line each.
        scheme: classes that the layout publishes; None where they are found in the labels or given by the user.
        unlabelled: codes (or colours as red * 65536 + green * 256 + blue) that are no class here.
        by_color: match the scheme's colours; None: find out file by file.
        snap: send colour channels to 0 or 255 first.
        grey_as_rgb: read single-band images among three-band ones as three equal bands.
    """

    entries: list[Entry]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scheme: ClassScheme | None = None
    unlabelled: tuple[int, ...] = ()
    by_color: bool | None = None
    snap: bool = False
    grey_as_rgb: bool = False


def existing(folder: Path, what: str) -> Path:
    """The folder, or DataError if it is not there."""
    if not folder.is_dir():
        raise DataError(f"{what} expects the folder {folder}, which does not exist. Set data.root to the right place.")
    return folder


def files_in(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """Files with one of these endings directly in a folder, by name; hidden ones left out."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in endings and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())
