"""The report: everything inside one file, nothing unescaped, nothing promised that was not measured."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from sparsecover.classes import ClassScheme
from sparsecover.evaluation import Accumulator, Comparison, ReportContent, render_report, scene_view
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster
from sparsecover.raster import Scene

VOID = {"meta", "img", "br", "input", "source"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects texts, attributes and addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "srcset", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))


def content_of(classes: int = 3, shape: tuple[int, int] = (60, 80), bands: int = 4, **changes) -> ReportContent:
    random = np.random.default_rng(classes)
    scheme = ClassScheme.from_names([f"class {i}" for i in range(classes)])
    grid = Grid(*shape, CRS.from_epsg(32616).to_wkt(), Affine(2, 0, 7e5, 0, -2, 3.7e6))
    indices = random.integers(0, classes, shape).astype(np.uint8)
    valid = random.random(shape) > 0.1
    labels = LabelRaster(np.where(random.random(shape) < 0.2, indices, 255).astype(np.uint8), grid)
    gathered = Accumulator(scheme)
    certain = random.dirichlet(np.ones(classes), shape).transpose(2, 0, 1)
    gathered.add(labels.values, certain, valid, random.integers(0, 40, shape))
    view = scene_view(
        Scene.from_array(random.integers(0, 4000, (bands, *shape)).astype(np.uint16), valid, grid, "a scene"),
        Scene.from_array(scheme.encode(indices)[None], valid, grid),
        scheme,
        confidence=Scene.from_array(random.integers(0, 100, (1, *shape)).astype(np.uint8), valid, grid),
        training=labels,
    )
    counts = labels.counts(classes)
    assessment = gathered.assessment({"train": counts * 3, "held_out": counts})
    pixels = np.bincount(indices.ravel(), minlength=classes)
    given = {"title": "Test", "assessment": assessment, "views": [view], "mapped_pixels": pixels} | changes
    return ReportContent(**given)


@pytest.mark.parametrize(
    ("classes", "shape", "bands"),
    [(1, (60, 80), 1), (3, (300, 40), 3), (12, (30, 200), 4), (50, (32, 32), 224)],
)
def test_scenes_and_classes_of_every_kind(classes, shape, bands):
    page = Page(render_report(content_of(classes, shape, bands)))
    assert f"{classes} class" in page.text
    assert page.tags.count("img") == 4 + 1  # scene, labels, map, confidence; calibration
    assert f"class {classes - 1}" in page.text


def test_a_full_page_loads_nothing_from_elsewhere():
    base = content_of()
    history = [{"epoch": i, "train_loss": 1 / i, "val_loss": 2 / i, "miou": 0.5, "accuracy": 0.8} for i in range(1, 9)]
    full = replace(
        base,
        area_ha=base.mapped_pixels * 0.0004,
        optimistic="Labels lie close together.",
        scene_pixels=4800,
        views_left_out=2,
        history=history,
        comparisons=[Comparison("random forest", "held-out labels", base.assessment)],
        warnings=["Few roads. Draw more."],
        notes=["3 labels dropped."],
        reasons=["16 channels: no GPU."],
        seconds={"training": 83.2, "mapping": 2.04},
        config_yaml="model:\n  name: unet\n",
        versions={"torch": "2.13.0"},
        command="sparsecover map scene.tif --labels 'my labels.gpkg' --out result",
        created="2030-01-02",
    )
    html = render_report(full)
    page = Page(html)
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"(https?:)?//(?!\s)[a-z]", re.sub(r"data:image[^\"]+", "", html.split("<script>")[0]))
    for expected in (
        "Labels lie close together.",
        "Few roads. Draw more.",
        "3 labels dropped.",
        "16 channels: no GPU.",
        "training 1 min 23 s, mapping 2.0 s",
        "name: unet",
        "torch2.13.0",
        "--labels 'my labels.gpkg'",
        "random forest",
        "2 more scenes without pictures here",
        "3 scenes, 2030-01-02",
        "pixel of 2 m, WGS 84 / UTM zone 16N, 4 bands, uint16",
        f"{full.assessment.miou:.3f}",
    ):
        assert expected in page.text
    assert page.tags.count("img") == 4 + 3


def test_what_is_empty_is_left_out():
    page = Page(render_report(replace(content_of(), views=())))
    for absent in ("Warnings", "Set side by side", "Area (ha)", "Configuration", "Scene, labels", "are optimistic"):
        assert absent not in page.text


def test_names_from_users_are_escaped():
    scheme = ClassScheme.from_names(["<script>alert(1)</script>", 'a "b" & c'])
    gathered = Accumulator(scheme)
    gathered.add_map(np.zeros((20, 20), np.uint8), np.ones((20, 20), np.uint8))
    html = render_report(
        ReportContent("<i>title</i>", gathered.assessment(), [], np.array([1, 2]), config_yaml="<b>", command="<u>")
    )
    page = Page(html)
    assert html.count("<script>") == 1
    assert not any(raw in html for raw in ("<i>title", "<b></pre>", "<u></pre>"))
    assert "<script>alert(1)</script>" in page.text
    assert 'a "b" & c' in page.text


def test_no_scored_label_is_said_plainly():
    scheme = ClassScheme.from_names(["a", "b"])
    page = Page(render_report(ReportContent("t", Accumulator(scheme).assessment(), [], np.array([5, 0]))))
    assert "nothing is known about the accuracy" in page.text
    assert "Confusion matrix" not in page.text
    assert "nan" not in page.text.lower()


def test_groups_and_intervals_are_told():
    many = content_of()
    low, high = many.assessment.miou_interval
    assert f"95% interval {low:.3f} to {high:.3f}" in Page(render_report(many)).text
    few = replace(many, assessment=replace(many.assessment, miou_interval=None, accuracy_interval=None))
    assert "Too few groups" in Page(render_report(few)).text
    told = replace(many, measured_on="all labels, in 5 folds")
    assert "Measured on all labels, in 5 folds." in Page(render_report(told)).text


def test_scenes_beyond_the_third_fold_away():
    base = content_of()
    page = Page(render_report(replace(base, views=list(base.views) * 5)))
    assert page.tags.count("details") == 2


def test_a_small_scene_is_enlarged_and_a_large_one_reduced():
    assert content_of(shape=(32, 20)).views[0].map.shape == (384, 240, 3)
    assert max(content_of(shape=(1200, 600)).views[0].scene.shape) == 900
