"""``labels simulate`` in a process of its own: rasters and vectors of the same labels, and the budget to the pixel."""

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

import layouts
from sparsecover.cli import run
from sparsecover.labels import MaskFile

from .conftest import Command, SmallScene, assert_users_mistake


@pytest.mark.parametrize(("sampler", "kind"), [("points", "Point"), ("scribbles", "Polygon")])
def test_vectors_burn_back_to_the_labels_that_were_kept(
    small: SmallScene, cli: Command, tmp_path: Path, sampler: str, kind: str
) -> None:
    arguments = ("labels", "simulate", small.truth, "--sampler", sampler, "--fraction", "0.01")
    for name in ("partial.tif", "partial.gpkg"):
        result = cli(*arguments, "--out", tmp_path / name)
        assert result.returncode == 0, result.stderr
    assert set(gpd.read_file(tmp_path / "partial.gpkg").geom_type) == {kind}
    burnt = tmp_path / "burnt.tif"
    given = ("--labels", tmp_path / "partial.gpkg", "--field", "code", "--out", burnt)
    result_burn = cli("labels", "burn", small.scene, *given)
    assert result_burn.returncode == 0, result_burn.stderr
    with rasterio.open(tmp_path / "partial.tif") as partial, rasterio.open(burnt) as again:
        assert np.array_equal(partial.read(1), again.read(1))
        kept = int((partial.read(1) != 255).sum())
    assert kept == round(0.01 * (64 * 96 - 256)) + round(0.01 * 64 * 96)
    assert re.search(rf"all\D+12,032\D+{kept}\b", result.stdout), result.stdout


def test_options_of_samplers_and_what_cannot_be_meant(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    simulate = ("labels", "simulate", small.truth, "--sampler", "points", "--out", tmp_path / "p.tif")
    assert cli(*simulate, "-n", 5, "--option", "min_distance_px=30").returncode == 0
    with rasterio.open(tmp_path / "p.tif") as file:
        points = np.argwhere(file.read(1) == 1)
    apart = np.abs(points[:, None] - points[None]).max(-1)[np.triu_indices(5, 1)]
    assert apart.min() >= 30
    assert_users_mistake(cli(*simulate, "-n", 5), "exist")
    assert_users_mistake(cli(*simulate, "-n", 5, "--overwrite", "--option", "size_px=3"), "no option size_px")
    none = ("labels", "simulate", tmp_path / "none.tif", "--sampler", "scribbles", "--out", tmp_path / "s.tif")
    assert_users_mistake(cli(*none, "--fraction", 0.1, "--option", "length_px=0"), "at least 1; given 0")
    assert_users_mistake(cli(*none, "-n", 5, "--option", "n=2"), "no option n; it has")
    assert_users_mistake(cli(*simulate, "--overwrite"), "either a fraction")
    assert_users_mistake(cli(*simulate[:-1], tmp_path / "p.shp", "-n", 5), "does not end in .tif")
    assert {path.name for path in tmp_path.iterdir()} <= {"p.qml", "p.tif", "p.tif.aux.xml"}


def test_fewer_points_than_asked_are_told(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    simulate = ("labels", "simulate", small.truth, "--sampler", "points", "--out", tmp_path / "p.tif", "--overwrite")
    result = cli(*simulate, "-n", 6000)
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert re.search(r"Fewer points than asked: .*5,888 of 6,000; these are all", told), told
    assert "6,144 of" not in told.partition("asked: ")[2]
    assert "than asked" not in cli(*simulate, "-n", 20).stdout


def test_vectors_of_labels_without_a_place_are_refused_before_the_labels_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = layouts.mask(tmp_path / "mask.png", layouts.codes(0, 1))

    def read(*_: object) -> None:
        raise AssertionError("the labels are read")

    monkeypatch.setattr(MaskFile, "codes", read)
    for name, words in (("x.gpkg", "without georeferencing"), ("x.shp", "does not end in .tif")):
        assert (
            run(["labels", "simulate", str(mask), "--sampler", "points", "-n", "2", "--out", str(tmp_path / name)]) == 2
        )
        assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


@pytest.mark.parametrize("kind", ["vector", "raster"])
def test_a_class_table_gives_codes_and_names(small: SmallScene, cli: Command, tmp_path: Path, kind: str) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("code,name\n0,wet\n1,dry\n9,ice\n" if kind == "raster" else "code,name\n7,water\n5,land\n9,ice\n")
    if kind == "raster":
        result = cli("labels", "info", small.truth, "--classes", table)
        names = ("wet", "dry", "ice")
    else:
        out = tmp_path / "burnt.tif"
        given = ("--labels", small.labels, "--field", "class", "--classes", table, "--out", out)
        assert cli("labels", "burn", small.scene, *given).returncode == 0
        with rasterio.open(out) as file:
            assert set(np.unique(file.read(1))) == {5, 7, 255}
        result = cli("labels", "info", small.labels, "--scene", small.scene, "--field", "class", "--classes", table)
        names = ("water", "land", "ice")
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for name in names), result.stdout


def test_pixels_without_data_are_no_background(small: SmallScene, cli: Command) -> None:
    given = ("--scene", small.scene, "--background", "other", "--labelled-area", "scene", "--field", "class")
    result = cli("labels", "info", small.labels, *given)
    assert result.returncode == 0, result.stderr
    data = 96 * 128 - 16 * 16
    assert f"{data:,} of {96 * 128:,} pixels" in result.stdout, result.stdout


def test_a_style_without_classes_does_not_keep_a_map_from_being_scored(
    small: SmallScene, cli: Command, tmp_path: Path
) -> None:
    mapped = tmp_path / "map.tif"
    mapped.write_bytes(small.truth.read_bytes())
    mapped.with_suffix(".qml").write_text('<qgis><rasterrenderer type="singlebandgray"/></qgis>')
    result = cli("evaluate", "--map", mapped, "--truth", small.truth)
    assert result.returncode == 0, result.stderr
    assert "not from its style" in result.stdout + result.stderr


def test_features_are_counted_without_a_scene(small: SmallScene, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["labels", "info", str(small.labels), "--field", "class"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"land\W+6\W", told), told
    assert re.search(r"water\W+6\W", told), told
    assert "pixels │" not in told
    assert "--scene SCENE" in told
    assert run(["labels", "info", str(small.labels), "--field", "number"]) == 0
    assert "features is a class of its own" in capsys.readouterr().out
    assert run(["labels", "info", str(small.labels)]) == 2
    told = capsys.readouterr().err
    assert "Say which field" in told
    assert "--background" in told, "whose features are all of one class has no field to name"
    assert run(["labels", "info", str(small.labels), "--unlabelled", "#9B9B9"]) == 2
    assert "colours such as '#9B9B9B'" in capsys.readouterr().err


def test_scene_and_labels_have_the_same_names_in_every_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["labels", "burn", "a.gpkg", "b.tif"]) == 2
    assert "burn --labels LABELS --out FILE [OPTIONS] SCENE" in capsys.readouterr().err
    for command in (["map"], ["check"], ["labels", "burn"], ["labels", "info"], ["extract", "single"]):
        assert run([*command, "--help"]) == 0
        told = capsys.readouterr().out
        assert "LABELS" in told
        assert "SCENE" in told
