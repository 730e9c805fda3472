"""What would spoil a training, found before it starts: each finding says what was seen and what to do. Torch-free."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparsecover.classes import UNLABELLED, ClassScheme, in_words
from sparsecover.labels import LabelRaster, ground_of, label_groups, sharing_ground
from sparsecover.raster import Scene

Severity = Literal["error", "warning", "note"]

MIN_PIXELS_TO_VALIDATE = 20
IMBALANCE = 50
_NAME = "\0"  # stands for the name of a scene
ENOUGH_GROUPS = 4
"""Of a class, so that a quarter of its groups of labels can be held out and three quarters teach."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know: how bad it is, what was seen, what to do."""

    severity: Severity
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


def check_scene(scene: Scene) -> list[Finding]:
    """Look at a decimated read of a scene: georeference, nodata, constant bands, band scales."""
    values, valid = scene.preview()
    return [*_georeference(scene), *_nodata(scene, valid), *(_bands(scene, values[:, valid]) if valid.any() else [])]


def check_scenes(scenes: Iterable[Scene]) -> list[Finding]:
    """``check_scene`` of several; scenes with the same finding share one that counts them."""
    names: dict[Finding, list[str]] = {}
    for scene in scenes:
        for finding in check_scene(replace(scene, name=_NAME)):
            names.setdefault(finding, []).append(scene.name)
    return [replace(alike, message=_in_scenes(alike.message, found)) for alike, found in names.items()]


def _in_scenes(message: str, names: Sequence[str]) -> str:
    more = f" The same in {len(names) - 1} more: {_some(names[1:], 3)}." if len(names) > 1 else ""
    return message.replace(_NAME, names[0]) + more


def _georeference(scene: Scene) -> list[Finding]:
    if scene.grid.is_georeferenced:
        return []
    return [
        Finding(
            "note",
            f"{scene.name} has no coordinate system; the map will have none either and areas stay in pixels.",
            "Give a georeferenced file if the map is to lie on others: gdalwarp places one with ground control points, "
            "gdal_edit -a_srs names the coordinate system of one with a transform alone.",
        )
    ]


def _nodata(scene: Scene, valid: np.ndarray) -> list[Finding]:
    share = float(valid.mean()) if valid.size else 0.0
    if share == 0:
        return [Finding("error", f"{scene.name} holds only nodata.", "Check the nodata value and the bands chosen.")]
    if share < 0.5:
        return [Finding("note", f"{1 - share:.0%} of {scene.name} is nodata and will be nodata in the map.")]
    return []


def _bands(scene: Scene, pixels: np.ndarray) -> list[Finding]:
    findings = []
    spread = np.ptp(pixels.astype(np.float64), axis=1)
    constant = [band.name for band, s in zip(scene.bands, spread, strict=True) if s == 0]
    if constant:
        findings.append(
            Finding(
                "warning",
                f"{scene.name}: the bands {_some(constant)} hold one value only.",
                "Leave them out with the configuration's data.bands.",
            )
        )
    positive = spread[spread > 0]
    if positive.size > 1 and positive.max() / positive.min() > 1e6:
        findings.append(
            Finding(
                "note",
                f"{scene.name}: the bands' ranges differ by a factor of {positive.max() / positive.min():.0e}.",
                "Each band is scaled by itself; check that none is an index or a mask.",
            )
        )
    return findings


def check_labels(counts: np.ndarray, scheme: ClassScheme, pixels: int) -> list[Finding]:
    """Look at the labelled pixels by class.

    Args:
        counts: labelled pixels by class index, int64 [K].
        scheme: the classes.
        pixels: pixels of all labelled scenes.
    """
    findings: list[Finding] = []
    names, present = [in_words(name) for name in scheme.names], int((counts > 0).sum())
    if not counts.sum():
        return [Finding("error", "No pixel is labelled.", "Check that the labels lie on the scene.")]
    if present < 2:
        findings.append(
            Finding(
                "error",
                f"Only one class is labelled: {names[int(counts.argmax())]}.",
                "Label a second class, or name one with --background and --labelled-area.",
            )
        )
    findings += _remapped(scheme)
    absent = [name for name, count in zip(names, counts, strict=True) if not count]
    if absent:
        findings.append(Finding("warning", f"No pixel is labelled as {_some(absent)}; the map will not show it."))
    few = {
        name: int(count) for name, count in zip(scheme.names, counts, strict=True) if 0 < count < MIN_PIXELS_TO_VALIDATE
    }
    if few:
        findings.append(
            Finding(
                "warning",
                f"Very few labelled pixels: {_some(_counted(few))}.",
                "Their accuracy will be a rough guess; label more places.",
            )
        )
    if present > 1 and counts.max() / counts[counts > 0].min() > IMBALANCE:
        most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        findings.append(
            Finding(
                "note",
                f"{names[most]} has {counts[most] / counts[least]:.0f} times the labels of {names[least]}.",
                "Class weights (the default, tempered) and balanced sampling soften this.",
            )
        )
    findings.append(
        Finding("note", f"{counts.sum():,} of {pixels:,} pixels are labelled ({counts.sum() / pixels:.2%}).")
    )
    return findings


def check_groups(rasters: Sequence[LabelRaster], scheme: ClassScheme, link_px: int) -> list[Finding]:
    """Look at how many groups of labels (polygons, clusters of points, blocks of a label raster) each class has.

    A feature that lies in several scenes counts once, since it cannot teach in one and be held out in another.

    Args:
        rasters: the labels of some scenes.
        scheme: their classes.
        link_px: points of a class at most this far apart belong together.
    """
    groups = np.zeros(len(scheme), np.int64)
    grids = [labels.grid for labels in rasters]
    for number, (labels, sharing) in enumerate(zip(rasters, sharing_ground(grids, grids), strict=True)):
        earlier = [rasters[other] for other in sharing if other < number]
        groups += (_first_counted_here(labels, earlier, len(scheme), link_px) > 0).sum(axis=0)
    few = {name: int(n) for name, n in zip(scheme.names, groups, strict=True) if 0 < n < ENOUGH_GROUPS}
    if not few:
        return []
    return [
        Finding(
            "warning" if 1 in few.values() else "note",
            f"Few groups of labels (polygons, clusters of points, blocks of filled areas): {_some(_counted(few))}.",
            f"Label at least {ENOUGH_GROUPS} places of a class, apart from each other: some are held out to measure "
            "the accuracy, the others teach. A class in one place is not measured.",
        )
    ]


def _first_counted_here(
    labels: LabelRaster, earlier: Sequence[LabelRaster], num_classes: int, link_px: int
) -> np.ndarray:
    """Pixels by class, int64 [G, K], of the groups that no earlier scene has: a feature it labels nowhere, a block at
    most half of which it labels."""
    groups = label_groups(labels, num_classes, link_px=link_px)
    if not earlier:
        return groups.counts
    seen = np.logical_or.reduce([ground_of(e.values != UNLABELLED, e.grid, labels.grid) for e in earlier])
    pixels = np.bincount(groups.numbers[seen], minlength=len(groups.counts) + 1)[1:]
    share = 0 if groups.kind == "feature" else 0.5
    counts: np.ndarray = groups.counts[pixels <= share * groups.counts.sum(axis=1)]
    return counts


def check_field(table: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Warn where every feature is a class of its own; ``table`` counts the features of each class."""
    features = [int(row["features"]) for row in table if row.get("features")]
    if len(features) < 3 or max(features) > 1:
        return []
    return [
        Finding(
            "warning",
            f"Each of the {len(features)} features is a class of its own: the field looks like an identifier.",
            "Give the one that holds the class with --field; `sparsecover labels info` counts features by class. If "
            "these are the classes, label each in more places.",
        )
    ]


def _remapped(scheme: ClassScheme) -> list[Finding]:
    if scheme.codes_fit_map:
        return []
    changes = [f"{code} becomes {written}" for code, written in zip(scheme.codes, scheme.map_codes, strict=True)]
    return [
        Finding(
            "warning",
            f"Codes outside 0 to 254 do not fit into a map of one byte, which numbers the classes anew: "
            f"{_some(changes)}.",
            "The map's category names keep your codes; renumber the labels if the map must hold them itself.",
        )
    ]


def check_leakage(sides: dict[str, Sequence[tuple[Scene, LabelRaster]]]) -> list[Finding]:
    """Warn where two sides of a split share ground, labels or files.

    Args:
        sides: pairs of scene and labels by side, for example train and test.
    """
    findings = []
    for (name, pairs), (other_name, others) in combinations(sides.items(), 2):
        for scene, labels in pairs:
            for other, other_labels in others:
                reason = _shared(scene, labels, other, other_labels)
                if reason:
                    findings.append(
                        Finding(
                            "warning",
                            f"{name} and {other_name} share {reason}: {scene.name} and {other.name}.",
                            "Scores will be too good; split by scene or by block.",
                        )
                    )
    return findings


def _shared(scene: Scene, labels: LabelRaster, other: Scene, other_labels: LabelRaster) -> str | None:
    if scene.paths and scene.paths == other.paths:
        return _shared_labels(labels, other_labels)
    if scene.paths and other.paths and _identical(scene.paths, other.paths):
        return "byte-identical images"
    if scene.grid.overlaps(other.grid):
        ground = ground_of(other_labels.values != UNLABELLED, other.grid, scene.grid)
        return "labelled ground" if (ground & (labels.values != UNLABELLED)).any() else None
    return None


def _shared_labels(labels: LabelRaster, other: LabelRaster) -> str | None:
    """What labels of the same scene have in common; disjoint parts of one scene are a fair split."""
    if ((labels.values != UNLABELLED) & (other.values != UNLABELLED)).any():
        return "labelled pixels"
    if labels.groups is not None and other.groups is not None:
        mine = np.unique(labels.groups[labels.values != UNLABELLED])
        theirs = np.unique(other.groups[other.values != UNLABELLED])
        if np.intersect1d(mine[mine > 0], theirs[theirs > 0]).size:
            return "a polygon"
    return None


def _identical(paths: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether files hold the same bytes; sizes are compared first, so that few files need be read whole."""
    return _sizes(paths) == _sizes(others) and _digest(paths) == _digest(others)


def _sizes(paths: tuple[str, ...]) -> list[int | None]:
    return [Path(path).stat().st_size if Path(path).is_file() else None for path in paths]


@cache
def _digest(paths: tuple[str, ...]) -> str:
    """Digest of the files' bytes; paths that are not local files stand for themselves."""
    total = hashlib.sha256()
    for path in map(Path, paths):
        if path.is_file():
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(str(path).encode())
    return total.hexdigest()


def _counted(counts: Mapping[str, int]) -> list[str]:
    """Classes with a count behind each."""
    return [f"{in_words(name)} ({count})" for name, count in counts.items()]


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
