"""The report of a map: what `make_map` knows, put into the report's terms."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import yaml

from sparsecover.errors import plural
from sparsecover.evaluation import Comparison, ReportContent, SceneView, render_report, scene_view
from sparsecover.inference import MapProduct
from sparsecover.labels import LabelRaster
from sparsecover.pipeline.contest import title
from sparsecover.pipeline.holding_out import Split
from sparsecover.pipeline.provenance import command_line
from sparsecover.pipeline.recipe import AT_ONCE, idle_sections
from sparsecover.raster import Scene, open_scene
from sparsecover.training.history import read_history

if TYPE_CHECKING:
    from sparsecover.pipeline.mapping import MapResult

_MOST_VIEWS = 8


def map_report(result: "MapResult", split: Split, views: list[SceneView]) -> str:
    """The report as HTML text."""
    counts = np.array([[row["pixels"] for row in product.statistics["classes"]] for product in result.products])
    areas = [row.get("area_ha") for product in result.products for row in product.statistics["classes"]]
    hectares = None
    if all(area is not None for area in areas):
        hectares = np.array(areas, np.float64).reshape(counts.shape).sum(0)
    return render_report(
        ReportContent(
            title=f"Land cover of {', '.join(scene.name for scene in result.inputs.scenes[:3])}",
            assessment=result.assessment,
            views=views,
            mapped_pixels=counts.sum(0),
            area_ha=hectares,
            measured_on=_measured_on(result, split),
            optimistic=_why_optimistic(result, split),
            scene_pixels=result.inputs.pixels,
            views_left_out=max(0, len(result.products) - _MOST_VIEWS),
            history=read_history(result.out / "history.csv"),
            comparisons=_comparisons(result),
            verdict=result.contest.verdict,
            warnings=[*filter(None, (result.alarm, result.lost_classes)), *_of(result, "warning")],
            notes=[*result.notes, *_of(result, "note")],
            reasons=result.reasons,
            seconds=result.seconds,
            config_yaml=_training_settings(result),
            versions=result.checkpoint.versions,
            command=command_line(),
            created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def _training_settings(result: "MapResult") -> str:
    """The part of the configuration that the model looked at; scenes, labels and their division are `map`'s own."""
    config = {key: value for key, value in result.trained.config.items() if key not in ("data", "classes", "split")}
    if idle := idle_sections(result.config):
        train = {key: config["train"][key] for key in AT_ONCE}
        config = {key: value for key, value in config.items() if key not in idle} | {"train": train}
    return yaml.safe_dump(config, sort_keys=False)


def _comparisons(result: "MapResult") -> list[Comparison]:
    """The models that were scored, the map's first; none where there was nothing to compare with."""
    scores, maker = result.contest.scores, result.contest.maker
    if len(scores) < 2:
        return []
    order = sorted(scores, key=lambda name: name != maker)
    return [
        Comparison(title(name) + " (the map)" * (name == maker), "the same held-out labels", scores[name])
        for name in order
    ]


def _of(result: "MapResult", severity: str) -> list[str]:
    return [str(finding) for finding in result.findings if finding.severity == severity]


def _measured_on(result: "MapResult", split: Split) -> str:
    pixels = result.assessment.labelled_pixels.get("held_out", 0)
    if len(split.folds) > 1:
        return f"all {pixels:,} labelled pixels, each by a model trained without its fold ({len(split.folds)} folds)"
    groups = result.assessment.groups
    where = f"{groups} {plural(groups, 'group')}"
    return f"{pixels:,} held-out labelled {plural(pixels, 'pixel')} in {where} that did not train"


def _why_optimistic(result: "MapResult", split: Split) -> str | None:
    near = "Some held-out labels lie so close to training labels that the network has seen their surroundings."
    reasons = [*([near] if split.optimistic else []), *([result.easier_ground] if result.easier_ground else [])]
    return " ".join(reasons) or None


def map_views(result: "MapResult", split: Split) -> list[SceneView]:
    """Pictures of the first scenes with their labels, maps and confidence."""
    train = {id(scene): labels for scene, labels in split.train}
    held = {id(scene): labels for scene, labels in split.held}
    pairs = zip(result.inputs.scenes, result.products, strict=True)
    return [
        _view(scene, product, train.get(id(scene)), held.get(id(scene)), result)
        for scene, product in list(pairs)[:_MOST_VIEWS]
    ]


def _view(
    scene: Scene, product: MapProduct, train: LabelRaster | None, held: LabelRaster | None, result: "MapResult"
) -> SceneView:
    confidence = None if product.confidence is None else open_scene(product.confidence)
    return scene_view(
        scene, open_scene(product.map), result.inputs.scheme, confidence=confidence, training=train, held_out=held
    )
