"""Which scenes are meant by what stands on a command line."""

from collections.abc import Sequence
from pathlib import Path

from sparsecover.errors import SceneError
from sparsecover.labels.features import split_layer
from sparsecover.raster.gdal import is_local

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg")


def expand(scenes: Sequence[str | Path], besides: Sequence[str | Path] = ()) -> list[str]:
    """Folders to their rasters, patterns to the files that match; other paths stay as they are.

    Args:
        besides: files given as something else, such as labels or a mask: folders and patterns leave them out.

    Raises:
        SceneError: a folder without rasters or a pattern without matches.
    """
    taken = {split_layer(file)[0].resolve() for file in besides}
    paths: list[str] = []
    for scene in map(str, scenes):
        found = [scene]
        if Path(scene).is_dir():
            found = sorted(str(file) for file in Path(scene).iterdir() if file.suffix.lower() in SUFFIXES)
        elif is_local(scene) and any(sign in scene for sign in "*?[") and not Path(scene).exists():
            base = Path(scene).anchor or "."
            found = sorted(str(file) for file in Path(base).glob(str(Path(scene).relative_to(Path(scene).anchor))))
        if found != [scene]:
            found = [file for file in found if Path(file).resolve() not in taken]
        if not found:
            other = " beside the labels and the mask" if besides else ""
            raise SceneError(
                f"{scene} holds no rasters{other} ({', '.join(SUFFIXES)}); give files, a folder or a pattern."
            )
        paths += found
    return paths
