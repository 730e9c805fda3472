"""Every choice of a prediction in one place, with its meaning and default."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from sparsecover.errors import ConfigError, nearest
from sparsecover.grid import Window

Bounds = tuple[float, float, float, float]
Encoding = Literal["uint8", "float32"]

# What a resumed run must share with the one that was stopped; the rest does not change a pixel or is recorded.
_SAME_ON_RESUME = (
    "patch_size", "overlap", "blend", "tta", "threshold", "native", "on_read_error", "area", "majority_px",
    "min_area_ha",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Choices of ``predict``; each can be given to it by name.

    Attributes:
        patch_size: side of the network's windows in pixels; None takes the training's, or larger ones where the network
            says that they pay.
        overlap: of neighbouring windows; below 1 a fraction of their side in the training, or of ``patch_size`` where
            that is given; from 1 on pixels.
        blend: how overlapping windows are joined: ``gaussian``, ``hann`` or ``interior``.
        batch_size: windows computed together; None takes what suits the device. A resumed run keeps its own.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        runtime: ``torch``, ``onnx`` (ONNX Runtime), or ``auto``: whichever is measured to be quicker, on long jobs.
        compiled: compile the torch network (half a minute, for long jobs).
        tta: average over the eight flips and quarter turns: eight times the time.
        native: keep the scene's own resolution where it differs from the training's by more than 10%, and its own size
            where the training's files were resized.
        on_read_error: ``stop`` at an unreadable block, or take it as ``nodata``.
        confidence: write the probability of the mapped class, as percent (True, ``uint8``) or 0 to 1 (``float32``); a
            path says where. So for the next two.
        probabilities: write one band per class.
        entropy: write the entropy as a share of the largest possible.
        polygons: write the map as polygons beside it (GeoPackage); a path says where.
        threshold: of a binary network: probability from which a pixel is the positive class (the higher code).
        min_area_ha: areas smaller than this are merged into their largest neighbour.
        majority_px: side of a window in which each pixel takes the most frequent class; odd, 1 for none.
        area: predict only inside: a vector file, bounds (left, bottom, right, top) in the scene's coordinates, or a
            window of pixels, or several.
        stem: how the names of further outputs begin, as in STEM_confidence.tif; None takes the map's name.
        ram_mb: memory for sums, blocks and windows; the network's own comes on top.
        resume: go on with a run that was stopped.
        overwrite: replace results that are there already.
        workers: processes of a local cluster; 0 computes in this process.
        scheduler: address of a running dask scheduler, such as ``tcp://10.0.0.5:8786``.
    """

    patch_size: int | None = None
    overlap: float = 0.25
    blend: str = "gaussian"
    batch_size: int | None = None
    device: str = "auto"
    runtime: str = "auto"
    compiled: bool = False
    tta: bool = False
    native: bool = False
    on_read_error: str = "stop"
    confidence: bool | Encoding | Path = True
    probabilities: bool | Encoding | Path = False
    entropy: bool | Encoding | Path = False
    polygons: bool | Path = False
    threshold: float | None = None
    min_area_ha: float | None = None
    majority_px: int = 1
    area: Path | Bounds | Window | tuple[Window, ...] | None = None
    stem: str | None = None
    ram_mb: int = 2048
    resume: bool = False
    overwrite: bool = False
    workers: int = 0
    scheduler: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (("runtime", ("auto", "torch", "onnx")), ("on_read_error", ("stop", "nodata"))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}. {nearest(str(getattr(self, name)), choices)}")
        self._check(self.threshold is None or 0 < self.threshold < 1, "threshold", "between 0 and 1")
        self._check(self.batch_size is None or self.batch_size >= 1, "batch_size", "at least 1")
        self._check(self.majority_px >= 1 and self.majority_px % 2 == 1, "majority_px", "an odd number of pixels")
        self._check(self.min_area_ha is None or self.min_area_ha > 0, "min_area_ha", "above 0 hectares")
        self._check(self.ram_mb >= 64, "ram_mb", "at least 64 MB")

    def _check(self, good: bool, name: str, expected: str) -> None:
        if not good:
            raise ConfigError(f"{name} is {getattr(self, name)}; expected {expected}.")

    def with_changes(self, changes: dict[str, Any]) -> Self:
        """A copy with some choices replaced; an unknown name raises ConfigError with the nearest known one."""
        known: Sequence[str] = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ConfigError(f"predict has no option {name!r}. {nearest(name, known)}")
        return dataclasses.replace(self, **changes)

    @property
    def encodings(self) -> dict[str, str]:
        """dtype by output, for the layers beside the map that are asked for."""
        wanted = {"confidence": self.confidence, "probabilities": self.probabilities, "entropy": self.entropy}
        return {name: "float32" if value == "float32" else "uint8" for name, value in wanted.items() if value}

    def fingerprint(self) -> dict[str, Any]:
        """What decides the pixels of the outputs, as plain values."""
        return {name: _plain(getattr(self, name)) for name in _SAME_ON_RESUME} | {"layers": self.encodings}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Window):
        return [value.row, value.col, value.height, value.width]
    if isinstance(value, int):
        return float(value)  # 8 and 8.0 are the same choice
    return list(value) if isinstance(value, tuple) else value
