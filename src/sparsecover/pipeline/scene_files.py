"""Which scenes are meant by what stands on a command line."""

from collections.abc import Sequence
from pathlib import Path

from sparsecover.errors import SceneError
from sparsecover.raster.gdal import is_local

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg")


def expand(scenes: Sequence[str | Path]) -> list[str]:
    """Folders to their rasters, patterns to the files that match; other paths stay as they are.

    Raises:
        SceneError: a folder without rasters or a pattern without matches.
    """
    paths: list[str] = []
    for scene in map(str, scenes):
        found = [scene]
        if Path(scene).is_dir():
            found = sorted(str(file) for file in Path(scene).iterdir() if file.suffix.lower() in SUFFIXES)
        elif is_local(scene) and any(sign in scene for sign in "*?[") and not Path(scene).exists():
            base = Path(scene).anchor or "."
            found = sorted(str(file) for file in Path(base).glob(str(Path(scene).relative_to(Path(scene).anchor))))
        if not found:
            raise SceneError(f"{scene} holds no rasters ({', '.join(SUFFIXES)}); give files, a folder or a pattern.")
        paths += found
    return paths
