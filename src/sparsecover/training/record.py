"""A training's network with all that prediction needs, and with what was measured, as a checkpoint."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from sparsecover import __version__, metrics
from sparsecover.checkpoint import Checkpoint, ModelSpec
from sparsecover.training.run import Run
from sparsecover.training.validation import Scores


def make_checkpoint(
    run: Run,
    network: nn.Module,
    scores: Scores | None,
    found: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Checkpoint:
    """The network as it is now; ``found`` are options that training decided, ``notes`` what a report should tell."""
    spec = run.spec
    options = {**spec.options, **(found or {})}
    if options.get("encoder_weights") is not None:
        options["encoder_weights"] = None  # they are in the state; restoring must not download anything
    first = run.pairs[0][0]
    config = run.config.to_dict()
    if all(scene.file_size is None for scene, _ in run.pairs):  # scenes given as they are were not resized
        config["data"]["resize"] = None
    return Checkpoint(
        config=config,
        scheme=run.scheme,
        bands=tuple(band.name for band in first.bands),
        normalizer=run.normalizer,
        model_spec=ModelSpec(spec.name, spec.in_channels, spec.num_classes, options),
        patch_size_px=run.plan.size_px,
        state=network.state_dict(),
        resolution_m=first.grid.resolution_m,
        metrics=_metrics(run, scores) | ({"notes": list(notes)} if notes else {}),
        versions=versions(),
        digests=run.digests,
    )


def _metrics(run: Run, scores: Scores | None) -> dict[str, Any]:
    """Scores on the validation labels (None where there are none), and how many labels were used."""
    classes, names = len(run.scheme), run.scheme.names
    confusion = np.zeros((classes, classes), np.int64) if scores is None else scores.confusion
    sides = {"train": run.plan.class_counts}
    if run.held is not None:
        sides["validation"] = run.held.class_counts
    return {
        **metrics.summary(confusion, names),
        "loss": None if scores is None else scores.loss,
        "labelled_pixels": {side: int(counts.sum()) for side, counts in sides.items()},
        "labelled_pixels_by_class": {
            side: dict(zip(names, counts.tolist(), strict=True)) for side, counts in sides.items()
        },
        "classes": run.scheme.as_dicts(),
    }


def versions() -> dict[str, str]:
    """Of sparsecover, of Python, and of the libraries that decide about weights."""
    names = ("torch", "numpy", "lightning-fabric")
    return {
        "sparsecover": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }
