"""Checks: each thing that spoils a training is seen, and good input raises no alarm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from sparsecover.checks import check_field, check_groups, check_labels, check_leakage, check_scene, check_scenes
from sparsecover.classes import ClassScheme
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster
from sparsecover.raster import MapWriter, Scene, open_scene

UTM = Grid(40, 50, CRS.from_epsg(32632).to_wkt(), Affine(2, 0, 5e5, 0, -2, 5e6))
SCHEME = ClassScheme.from_names(["land", "water"])
RNG = np.random.default_rng(0)


def scene(grid: Grid = UTM, **changes: float) -> Scene:
    values = RNG.normal(100, 10, (2, 40, 50)).astype(np.float32)
    if "constant" in changes:
        values[1] = changes["constant"]
    if "scale" in changes:
        values[1] *= changes["scale"]
    valid = np.ones((40, 50), bool)
    valid[: int(changes.get("nodata_rows", 0))] = False
    return Scene.from_array(values, valid, grid)


def messages(findings: list, severity: str) -> str:
    return " ".join(str(f) for f in findings if f.severity == severity)


def test_a_good_scene_raises_no_alarm() -> None:
    assert check_scene(scene()) == []


@pytest.mark.parametrize(
    ("given", "severity", "words"),
    [
        (scene(Grid(40, 50)), "note", "no coordinate system"),
        (scene(nodata_rows=40), "error", "only nodata"),
        (scene(nodata_rows=30), "note", "75%"),
        (scene(constant=3), "warning", "one value only"),
        (scene(scale=1e8), "note", "factor"),
    ],
)
def test_what_spoils_a_scene_is_found(given: Scene, severity: str, words: str) -> None:
    assert words in messages(check_scene(given), severity)


def test_scenes_with_the_same_finding_share_one() -> None:
    bare = [replace(scene(Grid(40, 50)), name=name) for name in ("a", "b", "c")]
    findings = check_scenes([*bare, scene(nodata_rows=30), bare[0]])
    assert [finding.severity for finding in findings] == ["note", "note"]
    assert "a has no coordinate system" in findings[0].message
    assert "The same in 3 more: b, c, a." in findings[0].message
    assert "more" not in findings[1].message
    assert check_scenes([scene(Grid(40, 50))]) == check_scene(scene(Grid(40, 50)))


@pytest.mark.parametrize(
    ("counts", "severity", "words"),
    [
        ([0, 0], "error", "No pixel is labelled"),
        ([50, 0], "error", "--background"),
        ([50, 5], "warning", "water (5)"),
        ([5000, 50], "note", "100 times"),
        ([50, 50], "note", "(5.00%)"),
    ],
)
def test_what_spoils_labels_is_found(counts: list[int], severity: str, words: str) -> None:
    assert words in messages(check_labels(np.array(counts), SCHEME, 2000), severity)


def labels(rows: slice, groups: bool = False, grid: Grid = UTM) -> LabelRaster:
    values = np.full((40, 50), 255, np.uint8)
    values[rows] = 1
    return LabelRaster(values, grid, np.where(values == 1, 7, 0).astype(np.int32) if groups else None)


def test_parts_of_one_scene_may_stand_on_two_sides_but_not_share_pixels_or_polygons(tmp_path: Path) -> None:
    with MapWriter(tmp_path / "a.tif", UTM, nodata=None) as writer:
        writer.write(UTM.window, np.ones((40, 50), np.uint8))
    one = open_scene(tmp_path / "a.tif")

    def leaks(train: LabelRaster, test: LabelRaster) -> str:
        return messages(check_leakage({"train": [(one, train)], "test": [(one, test)]}), "warning")

    assert leaks(labels(slice(0, 10)), labels(slice(20, 30))) == ""
    assert "labelled pixels" in leaks(labels(slice(0, 10)), labels(slice(5, 15)))
    assert "a polygon" in leaks(labels(slice(0, 10), groups=True), labels(slice(20, 30), groups=True))


def test_overlapping_and_identical_scenes_are_found_and_neighbours_are_not(tmp_path: Path) -> None:
    def stored(name: str, east_m: float) -> Scene:
        grid = Grid(40, 50, UTM.crs, UTM.transform @ Affine.translation(east_m / 2, 0))
        with MapWriter(tmp_path / name, grid, nodata=None) as writer:
            writer.write(grid.window, np.ones((40, 50), np.uint8))
        return open_scene(tmp_path / name)

    first = stored("first.tif", 0)

    def leaks(other: Scene, train: int = 0) -> str:
        sides = {"train": [(first, labels(slice(train, train + 9)))], "test": [(other, labels(slice(0, 9)))]}
        return messages(check_leakage(sides), "warning")

    assert leaks(stored("neighbour.tif", 100)) == ""
    half = stored("half.tif", 50)
    assert "labelled ground" in leaks(half)
    assert leaks(half, train=20) == ""
    (tmp_path / "copy.tif").write_bytes((tmp_path / "first.tif").read_bytes())
    assert "byte-identical" in leaks(open_scene(tmp_path / "copy.tif"))


def test_codes_that_do_not_fit_a_map_are_announced() -> None:
    counts = np.array([500, 500])
    found = messages(check_labels(counts, ClassScheme.from_codes({1000: "wood", 2000: "lake"}), 2000), "warning")
    assert "1000 becomes 0, 2000 becomes 1" in found
    assert messages(check_labels(counts, ClassScheme.from_codes({10: "wood", 254: "lake"}), 2000), "warning") == ""


@pytest.mark.parametrize(
    ("lands", "waters", "severity", "words"),
    [
        (4, 5, "", ""),
        (4, 3, "note", "areas): water (3). Label at least 4 places"),
        (1, 3, "warning", "land (1), water (3)"),
        (6, 0, "", ""),
    ],
)
def test_classes_in_too_few_places_to_hold_some_out_are_found(
    lands: int, waters: int, severity: str, words: str
) -> None:
    groups = np.zeros((40, 50), np.int32)
    for number in range(lands + waters):
        groups[4 * number : 4 * number + 2, :5] = number + 1
    values = np.where(groups == 0, 255, np.where(groups <= lands, 0, 1)).astype(np.uint8)
    findings = check_groups([LabelRaster(values, UTM, groups, SCHEME)], SCHEME, 16)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert words in messages(findings, severity)
    # Other scenes have more of them, unless they show the same ground.
    grids = [Grid(40, 50, UTM.crs, UTM.transform @ Affine.translation(60 * i, 0)) for i in range(4)]
    assert check_groups([LabelRaster(values, grid, groups, SCHEME) for grid in grids], SCHEME, 16) == []
    assert check_groups([LabelRaster(values, UTM, groups, SCHEME)] * 4, SCHEME, 16) == findings


def test_a_feature_in_overlapping_scenes_counts_once_and_one_beside_the_overlap_by_itself() -> None:
    """Two scenes share 20 of 50 columns; of each class two features lie there and two more in the second alone."""
    second = Grid(40, 50, UTM.crs, UTM.transform @ Affine.translation(30, 0))
    groups = np.zeros((40, 80), np.int32)
    for number in range(8):
        col = 42 if number < 4 else 60
        groups[5 * number : 5 * number + 2, col : col + 4] = number + 1
    values = np.where(groups == 0, 255, groups % 2).astype(np.uint8)

    def found(*numbers: int) -> str:
        shown = np.where(np.isin(groups, numbers), values, 255).astype(np.uint8)
        numbered = np.where(shown == 255, 0, groups).astype(np.int32)
        rasters = [LabelRaster(shown[:, s], g, numbered[:, s], SCHEME)
                   for s, g in ((slice(0, 50), UTM), (slice(30, 80), second))]  # fmt: skip
        return messages(check_groups(rasters, SCHEME, 16), "note")

    assert "land (2), water (2)" in found(1, 2, 3, 4)
    assert "land (3), water (3)" in found(*range(1, 7))
    assert found(*range(1, 9)) == ""


@pytest.mark.parametrize(
    ("features", "words"), [([1] * 5, "Each of the 5 features"), ([1, 1], ""), ([1, 2, 1], ""), ([0] * 5, "")]
)
def test_a_field_that_looks_like_an_identifier_is_found(features: list[int], words: str) -> None:
    found = check_field([{"code": i, "features": n} for i, n in enumerate(features)])
    assert bool(found) == bool(words)
    assert words in messages(found, "warning")
