"""``check``: the findings on what a user is about to train on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsecover.checks import Finding, check_field, check_groups, check_labels, check_leakage, check_scenes
from sparsecover.config import Config
from sparsecover.datasets import check_sampler, open_dataset
from sparsecover.errors import SparseCoverError
from sparsecover.losses import check_loss
from sparsecover.models import check_model
from sparsecover.pipeline.holding_out import BUFFER_PX
from sparsecover.pipeline.inputs import Inputs, LabelOptions, Pair, count_labels, open_inputs
from sparsecover.pipeline.scene_files import expand
from sparsecover.pipeline.splitting import split_dataset
from sparsecover.raster import Scene

_SCENES_LOOKED_AT = 50
_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class CheckResult:
    """Findings, the table of labels, and notes on how they were read."""

    findings: tuple[Finding, ...]
    table: list[dict[str, Any]]
    notes: tuple[str, ...]


def check_inputs(
    scenes: Sequence[str | Path],
    labels: Sequence[str | Path],
    *,
    stack: bool = False,
    bands: Sequence[int] | None = None,
    mask: str | Path | None = None,
    resolution: float | None = None,
    **label_options: Any,
) -> CheckResult:
    """Check scenes and labels as `make_map` would take them; its arguments of the same names."""
    try:
        inputs = open_inputs(
            expand(scenes, [*labels, *([mask] if mask else [])]), labels, LabelOptions(**label_options), stack=stack,
            bands=bands, mask=mask, resolution=resolution,
        )  # fmt: skip
    except SparseCoverError as error:
        return CheckResult((Finding("error", str(error)),), [], ())
    return CheckResult(tuple(findings_on(inputs, inputs.scenes)), inputs.table, tuple(inputs.notes))


def findings_on(inputs: Inputs, scenes: Iterable[Scene]) -> list[Finding]:
    """What there is to say about labels, and about those scenes that are looked at."""
    return [
        *check_scenes(scenes),
        *check_labels(inputs.counts, inputs.scheme, inputs.pixels),
        *check_field(inputs.table),
        *check_groups([labels for _, labels in inputs.pairs], inputs.scheme, BUFFER_PX),
    ]


def check_config(path: Path, settings: Sequence[str] = ()) -> CheckResult:
    """Check the data, labels and split of a configuration."""
    config = Config.from_yaml(path, settings)
    check_sampler(config.data.simulate)
    check_model(config.model.name)
    check_loss(config.loss.name)
    dataset = open_dataset(config.data, config.classes)
    split = split_dataset(dataset, config)
    sides = {name: [(p.scene, p.labels) for p in getattr(split, name)] for name in ("train", "validation", "test")}
    names, classes = dataset.scheme.names, len(dataset.scheme)
    findings = [_of_many(f) for f in check_scenes(pair.scene for pair in dataset.pairs[:_SCENES_LOOKED_AT])]
    counts = count_labels([(pair.scene, pair.labels) for pair in dataset.pairs], classes)
    findings += check_labels(counts, dataset.scheme, sum(p.scene.grid.window.size for p in dataset.pairs))
    findings += _absent(sides, names)
    findings += check_leakage({name: pairs for name, pairs in sides.items() if pairs})
    table = [
        {"code": land.code, "name": land.name, "pixels": int(count)}
        for land, count in zip(dataset.scheme.classes, counts, strict=True)
    ]
    return CheckResult(_merged(findings), table, (*dataset.notes, *split.notes))


def _of_many(finding: Finding) -> Finding:
    """What makes a single scene useless is a warning where others are left to train on."""
    return replace(finding, severity="warning") if finding.severity == "error" else finding


def _absent(sides: dict[str, list[Pair]], names: Sequence[str]) -> list[Finding]:
    """A class that one side of the split lacks."""
    findings = []
    for side, pairs in sides.items():
        if not pairs:
            continue
        counts = count_labels(pairs, len(names))
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        if absent:
            findings.append(
                Finding("warning", f"The {side} side has no label of {', '.join(absent)}.", "Split in another way.")
            )
    return findings


def _merged(findings: Sequence[Finding], limit: int = 20, alike: int = 3) -> tuple[Finding, ...]:
    """The worst first, without repeats, few that give the same advice, and not more than a screen of them."""
    unique = sorted(dict.fromkeys(findings), key=lambda finding: _SEVERITIES.index(finding.severity))
    kept: list[Finding] = []
    for advice, group in _by_advice(unique).items():
        kept += group if not advice else group[:alike]
        if advice and len(group) > alike:
            kept.append(Finding(group[0].severity, f"{len(group) - alike} more of these."))
    if len(kept) > limit:
        kept = [*kept[:limit], Finding("note", f"{len(kept) - limit} more findings.")]
    return tuple(kept)


def _by_advice(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.advice, []).append(finding)
    return groups
