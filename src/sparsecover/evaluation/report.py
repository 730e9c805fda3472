"""The report: one HTML file that holds everything it shows and reads well on screen, phone and paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover import figures
from sparsecover.classes import ClassScheme
from sparsecover.evaluation.assessment import Assessment
from sparsecover.evaluation.pages import data_uri, page_environment
from sparsecover.evaluation.remarks import FEW_PIXELS, remarks
from sparsecover.evaluation.views import SceneView

_PANELS: tuple[figures.Panel, ...] = ("loss", "score")

Counts = npt.NDArray[np.int64]

_OPEN_VIEWS = 3  # further scenes fold away
_PIXELS_OF_A_DOT = 10  # a share of fewer pixels is left out of the chart of confidence
_WRITTEN_CELLS = 12  # up to this many classes a confusion matrix has room for numbers


@dataclass(frozen=True, eq=False)
class Comparison:
    """A row of the table of comparisons: what was scored, on which labels."""

    name: str
    measured_on: str
    assessment: Assessment


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report shows; what is left empty is left out.

    Attributes:
        title: heading of the page.
        assessment: the scores of the map; its ``labelled`` holds the budget as ``train`` and ``held_out``.
        views: pictures, one for each scene.
        mapped_pixels: int64 [K], pixels of each class in all maps.
        area_ha: float64 [K], their area in hectares; None without a coordinate system.
        measured_on: what the scores stand on, in words that follow "measured on"; default: held-out labels, counted.
        optimistic: why the scores are probably too good, as a sentence; None if nothing speaks for that.
        scene_pixels: pixels of the labelled scenes, of which the budget is a share; None if unknown.
        views_left_out: scenes without pictures here.
        history: training, one mapping an epoch or a step (see ``figures.curves``).
        comparisons: other scores to set beside, such as a baseline's.
        verdict: what the comparisons say, as a sentence.
        warnings: what the checks found, each with what to do.
        notes: what happened to labels and settings.
        reasons: why settings are what they are.
        seconds: time by stage.
        config_yaml: the resolved configuration, or the part of it that is worth showing.
        versions: of the software.
        command: that makes the same map again.
        created: date and time as text.
    """

    title: str
    assessment: Assessment
    views: Sequence[SceneView]
    mapped_pixels: Counts
    area_ha: npt.NDArray[np.float64] | None = None
    measured_on: str | None = None
    optimistic: str | None = None
    scene_pixels: int | None = None
    views_left_out: int = 0
    history: figures.History = ()
    comparisons: Sequence[Comparison] = ()
    verdict: str | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    reasons: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    config_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    created: str = ""

    @property
    def scheme(self) -> ClassScheme:
        """The classes."""
        return self.assessment.scheme


def render_report(content: ReportContent) -> str:
    """The page as HTML text: pictures inlined, nothing loaded from elsewhere, all texts escaped."""
    environment = page_environment("sparsecover.evaluation")
    return environment.get_template("report.html.j2").render(
        content=content,
        assessment=content.assessment,
        classes=_class_rows(content),
        confusion=_confusion_rows(content.assessment),
        write_cells=len(content.scheme) <= _WRITTEN_CELLS,
        remarks=remarks(content.assessment, content.mapped_pixels),
        charts=_charts(content),
        has_labels=any(view.labels is not None for view in content.views),
        shape=_shape(content.views),
        open_views=_OPEN_VIEWS,
        ramp=figures.confidence_ramp(9),
    )


def _class_rows(content: ReportContent) -> list[dict[str, Any]]:
    """One row a class for the table; rows of numbers by name."""
    scores, mapped = content.assessment, content.mapped_pixels
    total = max(1, int(mapped.sum()))
    return [
        {
            "land": land,
            "iou": float(scores.iou[i]),
            "users": float(scores.users_accuracy[i]),
            "producers": float(scores.producers_accuracy[i]),
            "labelled": {split: int(counts[i]) for split, counts in scores.labelled.items()},
            "mapped": int(mapped[i]),
            "share": int(mapped[i]) / total,
            "area": None if content.area_ha is None else float(content.area_ha[i]),
        }
        for i, land in enumerate(content.scheme.classes)
    ]


def _confusion_rows(assessment: Assessment) -> list[dict[str, Any]]:
    """Rows of the matrix with each cell's pixels and share of its row."""
    rows = []
    for land, counts in zip(assessment.scheme.classes, assessment.confusion.tolist(), strict=True):
        total = sum(counts)
        cells = [{"pixels": n, "share": n / total if total else 0.0} for n in counts]
        rows.append({"land": land, "total": total, "cells": cells})
    return rows


def _charts(content: ReportContent) -> list[dict[str, str]]:
    """Charts that there is something to draw for, each for light and for dark pages."""
    charts = []

    def add(alt: str, draw: Any) -> None:
        images = {theme: data_uri(draw(theme), "png") for theme in ("light", "dark")}
        charts.append({"alt": alt, **images})

    for panel in _PANELS:
        if figures.panel_columns(content.history, panel):
            add(
                f"{panel} by {figures.counter(content.history)}",
                lambda theme, panel=panel: figures.curves(content.history, [panel], theme),
            )
    calibration = content.assessment.calibration
    if calibration is not None and content.assessment.scored_pixels >= FEW_PIXELS:
        bins = [found for found in calibration.bins if found[2] >= _PIXELS_OF_A_DOT]
        add("Accuracy by stated confidence", lambda theme: figures.reliability(bins, theme))
    return charts


def _shape(views: Sequence[SceneView]) -> str:
    """How pictures stand together: side by side where scenes are tall, below each other where they are wide."""
    ratio = max((view.scene.shape[1] / view.scene.shape[0] for view in views), default=1.0)
    return "wide" if ratio > 2 else "tall" if ratio < 0.7 else "square"
