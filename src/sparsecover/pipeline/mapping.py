"""The main job: scenes and a few labels in; maps, confidence, an honest accuracy and a report out."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsecover import figures
from sparsecover.atomic import write_file
from sparsecover.checkpoint import Checkpoint, save_checkpoint
from sparsecover.checks import Finding
from sparsecover.config import Config
from sparsecover.errors import DataError
from sparsecover.evaluation import Assessment
from sparsecover.inference import MapProduct
from sparsecover.pipeline.checking import findings_on
from sparsecover.pipeline.contest import Contest
from sparsecover.pipeline.files import results_in
from sparsecover.pipeline.given_data import GivenData, given_data
from sparsecover.pipeline.holding_out import Split, split_labels
from sparsecover.pipeline.inputs import Inputs, LabelOptions, Pair, count_labels, open_inputs
from sparsecover.pipeline.map_division import plan_of
from sparsecover.pipeline.map_job import BASELINE, Clock, MapJob
from sparsecover.pipeline.provenance import command_line
from sparsecover.pipeline.recipe import (
    choose_recipe,
    explain_recipe,
    idle_comment,
    learns_in_epochs,
    named_by_option,
    network_in,
)
from sparsecover.pipeline.reporting import map_report, map_views
from sparsecover.pipeline.scene_files import expand
from sparsecover.pipeline.splitting import PLAN
from sparsecover.progress import Reporter, Silent
from sparsecover.training import check_parts, resolve_device
from sparsecover.training.history import read_history

_LOST_SHARE = 0.5  # of as many pixels as are labelled
_CONFIDENCE_DROP = 0.1  # less than the labels' own by this much is worth a word


@dataclass(frozen=True)
class MapResult:
    """What `make_map` made.

    Attributes:
        out: the folder with all files.
        products: one map a scene, in their order.
        checkpoint: the model that made them.
        trained: the model that was trained as configured; another one where a forest made the maps.
        assessment: its scores on held-out labels.
        contest: the scores of all models on these labels, and why this one made the maps.
        findings: what the checks saw.
        notes: what happened to labels and split, in plain words.
        optimistic: whether the held-out labels lie so close to the training labels that scores are too good.
        config: the resolved configuration.
        reasons: why it is what it is.
        inputs: scenes and labels.
        training: the labels that it was trained on.
        seconds: time by stage.
    """

    out: Path
    products: tuple[MapProduct, ...]
    checkpoint: Checkpoint
    trained: Checkpoint
    assessment: Assessment
    contest: Contest
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    optimistic: bool
    config: Config
    reasons: tuple[str, ...]
    inputs: Inputs
    training: tuple[Pair, ...]
    seconds: dict[str, float]

    @property
    def alarm(self) -> str | None:
        """What to say where the map is made by a model that was asked for, and another scores better."""
        if self.contest.better == self.contest.maker:
            return None
        more = "Train longer, label" if learns_in_epochs(self.config) else "Label"
        return f"{self.contest.verdict} {more} more places, or let the labels choose: leave out --model or --quick."

    @property
    def lost_classes(self) -> str | None:
        """What to say where the maps show next to nothing of a class that has labels."""
        by_class = [[row["pixels"] for row in product.statistics["classes"]] for product in self.products]
        lost = [
            f"{name} ({mapped:,} pixels; {labelled:,} are labelled)"
            for name, mapped, labelled in zip(
                self.inputs.scheme.names, np.sum(by_class, axis=0), self.inputs.counts, strict=True
            )
            if mapped < _LOST_SHARE * labelled
        ]
        return f"Hardly on the map: {', '.join(lost)}. Check these labels, or label more places." if lost else None

    @property
    def easier_ground(self) -> str | None:
        """What to say where the map is much less sure of itself than on the labels, which then lie on easy ground."""
        calibration = self.assessment.calibration
        stated = [product.statistics.get("mean_confidence") for product in self.products]
        known = [float(value) for value in stated if value is not None]
        if calibration is None or not known or calibration.mean_confidence - np.mean(known) < _CONFIDENCE_DROP:
            return None
        return (
            f"Over the whole map the confidence is {np.mean(known):.0%} on average, against "
            f"{calibration.mean_confidence:.0%} on the held-out labels: these lie on easier ground than most of the "
            "scene."
        )


def make_map(
    scenes: Sequence[str | Path] | str | Path,
    labels: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    field: str | None = None,
    unlabelled: Sequence[int] = (),
    classes: str | Path | None = None,
    background: str | None = None,
    labelled_area: str | Path | None = None,
    width_m: float | None = None,
    radius_m: float | None = None,
    conflict: str = "unlabelled",
    stack: bool = False,
    bands: Sequence[int] | None = None,
    mask: str | Path | None = None,
    resolution: float | None = None,
    model: str | None = None,
    quick: bool = False,
    folds: int | None = None,
    minutes: float | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    baseline: bool = True,
    reporter: Reporter | None = None,
) -> MapResult:
    """Map scenes from a few labels; the same as ``sparsecover map``.

    Args:
        scenes: raster files, folders of them, or patterns; with ``stack`` they are the bands of one scene.
        labels: vector file or label raster for all scenes, or one for each.
        out: folder for the results.
        field, unlabelled, classes, background, labelled_area, width_m, radius_m, conflict: see `LabelOptions`.
        bands: band numbers from 1.
        mask: raster that is not 0 where a scene is to be taken as no data.
        resolution: pixel size in metres to work at; the maps come in the scenes' own grids.
        model: network by name, which then makes the map; default: chosen by the recipe, and a random forest makes the
            map where the held-out labels find it better.
        quick: a random forest on multi-scale features makes the map, and no network is trained.
        folds: score by cross-validation over the label groups, then fit on all labels.
        minutes: time for the training of a network that learns in epochs.
        settings: configuration values ``dotted.key=value``.
        resume: go on where a stopped run left off.
        overwrite: replace earlier results in ``out``.
        baseline: also score random forests on the same labels, on pixels and on multi-scale features.

    Returns:
        The files, scores and notes.

    Raises:
        SparseCoverError: inputs that cannot be used, with what to do; nothing is written then.
    """
    reporter = reporter or Silent()
    clock = Clock()
    options = LabelOptions(
        field, tuple(unlabelled), None if classes is None else Path(classes), background, labelled_area, width_m,
        radius_m, conflict,  # type: ignore[arg-type]
    )  # fmt: skip
    labels = [labels] if isinstance(labels, (str, Path)) else list(labels)
    paths = expand([scenes] if isinstance(scenes, (str, Path)) else scenes, [*labels, *([mask] if mask else [])])
    gpu = resolve_device(device) != "cpu"
    choose = functools.partial(
        choose_recipe, gpu=gpu, model=model, quick=quick, minutes=minutes, seed=seed, settings=settings
    )
    first = choose()
    check_parts(first)  # what is misspelt is told before anything is read
    reporter.stage("Reading scenes and labels")
    inputs = open_inputs(paths, labels, options, stack=stack, bands=bands, mask=mask, resolution=resolution)
    given = given_data(paths, labels, options, stack=stack, bands=bands, mask=mask, resolution=resolution)
    findings = _checked(inputs)
    split = split_labels(inputs, folds, first.seed)
    training = inputs.pairs if folds else split.train
    counts = count_labels(training, len(inputs.scheme))
    asked_for = quick or model is not None or network_in(settings) is not None
    plan = _Plan(
        inputs, split, tuple(training), choose(counts=counts), counts, findings, gpu, asked_for,
        by_labels=not (asked_for or named_by_option(settings)),
    )  # fmt: skip
    with results_in(Path(out), "report.html", resume=resume, overwrite=overwrite) as folder:
        job = MapJob(folder, inputs, plan.config, device, resume, overwrite, reporter, clock)
        result = _mapped(plan, job, baseline=baseline, background=background)
        _write(result, split, given)
        return result


@dataclass(frozen=True)
class _Plan:
    """What is known before the work: the data, what trains and what scores, and with which model.

    Attributes:
        inputs, split: scenes and labels, and their division.
        training: the labels that the model for the maps is trained on.
        config: how the model is made.
        counts: labelled pixels that train, by class, int64 [K].
        findings: what the checks saw.
        gpu: whether a GPU computes.
        asked_for: whether the user named the model, which then makes the maps.
        by_labels: whether the labels chose it; options that only one model has name it, too.
    """

    inputs: Inputs
    split: Split
    training: tuple[Pair, ...]
    config: Config
    counts: npt.NDArray[np.int64]
    findings: tuple[Finding, ...]
    gpu: bool
    asked_for: bool
    by_labels: bool

    def reasons(self, steps: int | None = None) -> tuple[str, ...]:
        """Why the configuration is what it is; ``steps`` that were trained, once they are."""
        told = explain_recipe(self.config, self.counts, gpu=self.gpu, by_labels=self.by_labels, steps=steps)
        return tuple(told)


def _mapped(plan: _Plan, job: MapJob, *, baseline: bool, background: str | None) -> MapResult:
    """Train, compare and predict; the maps are written then, and all else is in the result."""
    inputs, split = plan.inputs, plan.split
    warnings = [str(finding) for finding in plan.findings if finding.severity == "warning"]
    job.begin([*inputs.notes, *split.notes, *warnings, f"Model: {'; '.join(plan.reasons())}."])
    models = job.models(split, baseline=baseline)
    contest = Contest(
        {name: replace(assessment, background=background) for name, (assessment, _) in models.items()},
        asked_for=plan.asked_for,
    )
    if contest.verdict:
        job.reporter.note(contest.verdict)
    made_by = models[contest.maker][1]
    products = job.predict(made_by)
    history = read_history(job.out / "history.csv")
    steps = int(history[-1]["step"]) if history and "step" in history[-1] else None
    return MapResult(
        job.out, products, made_by, models[plan.config.model.name][1], contest.scores[contest.maker], contest,
        plan.findings, (*inputs.notes, *split.notes, *made_by.metrics.get("notes", ())), split.optimistic,
        plan.config, plan.reasons(steps), inputs, plan.training, job.clock.seconds,
    )  # fmt: skip


def _checked(inputs: Inputs) -> tuple[Finding, ...]:
    """Findings on scenes and labels; one that makes training senseless is raised."""
    findings = findings_on(inputs, [scene for scene, _ in inputs.pairs])
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise DataError("\n".join(errors))
    return tuple(findings)


def _write(result: MapResult, split: Split, given: GivenData) -> None:
    """Model, scores, configuration and report; the maps are there already."""
    out, assessment = result.out, result.assessment
    baseline = result.contest.scores.get(BASELINE) if result.contest.maker != BASELINE else None
    metrics = assessment.as_dict() | {
        "optimistic": split.optimistic,
        "baseline": None if baseline is None else {"model": BASELINE, **baseline.as_dict()},
        "comparison": result.contest.as_dict(),
        "maps": {product.map.relative_to(out).as_posix(): product.statistics for product in result.products},
        "seconds": result.seconds,
    }
    save_checkpoint(out / "model.safetensors", replace(result.checkpoint, metrics=metrics))
    views = map_views(result, split)
    write_file(out / "metrics.json", json.dumps(metrics, indent=2))
    _write_config(result, split, given)
    write_file(out / "overview.png", views[0].overview(result.checkpoint.scheme))
    scheme = result.checkpoint.scheme
    write_file(out / "per_class_iou.png", figures.per_class_iou(scheme.names, scheme.colors, assessment.iou))
    write_file(out / "report.html", map_report(result, split, views))


def _write_config(result: MapResult, split: Split, given: GivenData) -> None:
    """The configuration with scenes, labels and their division, for `train`.

    The model does not have these: it is handed on, and the folders of its data are nobody else's business.
    """
    own_split = "split" in result.config.model_fields_set
    config = given.in_config(Config.from_dict(result.trained.config), keep_split=own_split)
    plan = None if given.unsaid or own_split else plan_of(result.inputs, split, config)
    header = given.header(command_line()) + idle_comment(config)
    if plan is None:
        (result.out / PLAN).unlink(missing_ok=True)
        header += "# `train` divides the labels in its own way, not as the map did.\n"
    else:
        plan.write(result.out / PLAN)
        config = config.with_changes({"split.plan": (result.out / PLAN).absolute().as_posix()})
    write_file(result.out / "config.yaml", header + config.to_yaml())
