"""What ``map`` was given as a configuration: its patterns find the same files, and what it cannot say is said."""

from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import Point

from sparsecover.config import Config
from sparsecover.datasets.layouts.folder import find_files, list_folder
from sparsecover.pipeline.given_data import GivenData, given_data
from sparsecover.pipeline.inputs import LabelOptions


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Scenes a[1].tif and b.tif, their labels, and points."""
    names = ("in/a[1].tif", "in/b.tif", "in/note.txt", "own/a[1].png", "own/b.png", "one.png", "cloud.tif", "x;y/c.tif")
    for name in (*names, "bare"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    gpd.GeoDataFrame({"kind": [1]}, geometry=[Point(1, 2)], crs="EPSG:4326").to_file(tmp_path / "points.gpkg")
    return tmp_path


def of(files: Path, scenes: list[str], labels: list[str], **options) -> tuple[GivenData, Config]:
    given = given_data([files / s for s in scenes], [files / s for s in labels], LabelOptions(), **options)
    return given, given.in_config(Config())


@pytest.mark.parametrize(
    ("scenes", "labels", "stack"),
    [
        (["in/a[1].tif"], ["one.png"], False),
        (["in/a[1].tif", "in/b.tif"], ["own/a[1].png", "own/b.png"], False),
        (["in/a[1].tif", "in/b.tif"], ["points.gpkg"], False),
        (["in/b.tif", "in/a[1].tif"], ["points.gpkg"], True),
    ],
)
def test_the_dataset_pairs_the_files_that_were_given(files: Path, scenes: list[str], labels: list[str], stack: bool):
    given, config = of(files, scenes, labels, stack=stack)
    assert given.unsaid == ()
    paths = [files / s for s in scenes]
    images = [tuple(paths)] if stack else [(path,) for path in paths]
    owners = [files / s for s in labels] * (len(images) // len(labels))
    assert [(entry.images, entry.labels) for entry in list_folder(config.data).entries] == list(
        zip(images, owners, strict=True)
    )


def test_options_become_settings_and_features_are_held_out_whole(files: Path):
    options = LabelOptions("kind", (9,), Path("classes.csv"))
    given = given_data(
        [files / "in/b.tif"], [files / "points.gpkg"], options, bands=[2], mask=files / "cloud.tif", resolution=2.5
    )
    config = given.in_config(Config())
    data = config.data
    assert (data.field, data.unlabelled, data.bands, data.resolution) == ("kind", (9,), (2,), 2.5)
    assert find_files(data.root, data.mask or "") == [files / "cloud.tif"]
    assert config.classes == Path("classes.csv").absolute()
    assert config.split.by == "polygon"
    assert given.in_config(Config.from_dict({"split": {"by": "scene"}}), keep_split=True).split.by == "scene"
    assert given.header("sparsecover map b.tif\n") == "# Made by: sparsecover map b.tif\n"


@pytest.mark.parametrize(
    ("scenes", "labels", "missing"),
    [
        (["in/a[1].tif", "one.png"], ["points.gpkg"], "images: "),
        (["x;y/c.tif"], ["one.png"], "images: "),
        (["bare"], ["one.png"], "images: "),
        (["in/b.tif"], ["points.gpkg|layername=points"], "labels: "),
        (["in/a[1].tif", "in/b.tif"], ["own/b.png", "own/a[1].png"], "labels: "),
    ],
)
def test_what_no_setting_can_say_stands_at_the_top(files: Path, scenes: list[str], labels: list[str], missing: str):
    given, _ = of(files, scenes, labels)
    assert len(given.unsaid) == 1
    header = given.header("").splitlines()
    assert all(line.startswith("# ") for line in header)
    assert header[1].startswith(f"# - {missing}")


def test_one_mask_for_several_scenes_is_to_be_cut(files: Path):
    given, _ = of(files, ["in/a[1].tif", "in/b.tif"], ["points.gpkg"], mask=files / "cloud.tif")
    assert len(given.unsaid) == 1
    assert "cut it into one for each image" in given.unsaid[0]
    assert "below one folder" not in given.unsaid[0]


def test_a_pattern_that_finds_more_files_later_says_so(files: Path):
    assert "# data.images finds files" in of(files, ["in/a[1].tif", "in/b.tif"], ["points.gpkg"])[0].header("")
    assert of(files, ["in/a[1].tif"], ["one.png"])[0].header("") == ""


def test_addresses_are_told_without_secrets(files: Path):
    address = "/vsicurl/https://me:secret@example.org/a.tif?token=abc"
    header = given_data([address], [files / "one.png"], LabelOptions()).header("")
    assert "example.org/a.tif" in header
    assert "secret" not in header
    assert "abc" not in header


def test_a_background_is_told_with_the_way_to_have_it(files: Path):
    options = LabelOptions(background="other", labelled_area="scene")
    given = given_data([files / "in/b.tif"], [files / "points.gpkg"], options)
    assert "labels burn` with --background other --labelled-area scene" in given.header("")
    assert "split.by" not in given.settings
