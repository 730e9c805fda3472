"""The files of a map: their names, what may be replaced, and what they are when all is written."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sparsecover.errors import OutputError
from sparsecover.inference.settings import Settings

_LAYERS = ("confidence", "probabilities", "entropy")


@dataclass(frozen=True)
class MapProduct:
    """What a prediction wrote.

    Attributes:
        map: class codes, uint8, nodata 255.
        confidence: probability of the mapped class, percent; None where not asked for. So for the next three.
        probabilities: one band for each class.
        entropy: share of the largest possible.
        polygons: GeoPackage.
        statistics: pixels, hectares and share of each class, mean confidence; also in STEM_statistics.json.
        notes: what the user should know: resampling, odd values, nothing to map.
    """

    map: Path
    confidence: Path | None
    probabilities: Path | None
    entropy: Path | None
    polygons: Path | None
    statistics: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class OutputPaths:
    """Names of all outputs."""

    map: Path
    layers: dict[str, Path]
    polygons: Path | None
    statistics: Path

    @classmethod
    def plan(cls, out: Path, settings: Settings) -> Self:
        """Names for a map at ``out``."""
        stem = settings.stem or out.stem

        def place(wanted: Any, ending: str) -> Path:
            return wanted if isinstance(wanted, Path) else out.with_name(f"{stem}_{ending}")

        layers = {name: place(getattr(settings, name), f"{name}.tif") for name in settings.encodings}
        polygons = place(settings.polygons, "polygons.gpkg") if settings.polygons else None
        return cls(out, layers, polygons, place(None, "statistics.json"))

    @property
    def journal(self) -> Path:
        """What a stopped run leaves."""
        return self.map.with_name(f"{self.map.name}.partial")

    @property
    def written(self) -> list[Path]:
        """All outputs but the statistics, which are written last."""
        return [self.map, *self.layers.values(), *([self.polygons] if self.polygons else [])]

    def check_free(self, *, resume: bool) -> None:
        """Refuse outputs that are there already, or an unfinished one that would be lost.

        Raises:
            OutputError: with what to do.
        """
        if not self.map.parent.is_dir():
            raise OutputError(f"The folder {self.map.parent} for {self.map.name} does not exist. Create it first.")
        for path in self.written:
            if path.exists():
                raise OutputError(f"{path} exists already. Give --overwrite to replace it, or another name.")
        if self.journal.exists() and not resume:
            raise OutputError(
                f"{self.journal} holds the beginning of a stopped prediction. Give --resume to go on with it, or "
                "--overwrite to begin anew."
            )

    def existing(self) -> set[Path]:
        """Outputs that are there."""
        return {path for path in (*self.written, self.statistics) if path.exists()}

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete outputs with what GDAL and QGIS keep beside them."""
        for path in paths:
            for file in (path, path.with_suffix(".qml"), path.with_name(f"{path.name}.aux.xml")):
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)

    def are_from(self, made_from: str) -> bool:
        """Whether all outputs are there, made from the same scene, networks and settings."""
        if not all(path.is_file() for path in (*self.written, self.statistics)):
            return False
        try:
            return bool(json.loads(self.statistics.read_text(encoding="utf-8")).get("made_from") == made_from)
        except (OSError, ValueError):
            return False

    def product(self, notes: Sequence[str]) -> MapProduct:
        """The finished map."""
        statistics = json.loads(self.statistics.read_text(encoding="utf-8"))
        layers = {name: self.layers.get(name) for name in _LAYERS}
        return MapProduct(self.map, **layers, polygons=self.polygons, statistics=statistics, notes=tuple(notes))
