"""The demo: the main job on a scene with known truth, beside a pixel-wise random forest on the same labels."""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sparsecover.atomic import write_file
from sparsecover.datasets import make_demo
from sparsecover.evaluation import Assessment
from sparsecover.inference import predict
from sparsecover.pipeline.evaluating import evaluate_map_files
from sparsecover.pipeline.map_job import BASELINE, fit_baseline
from sparsecover.pipeline.mapping import MapResult, make_map
from sparsecover.progress import Reporter, Silent
from sparsecover.training.memory import peak_bytes


@dataclass(frozen=True)
class DemoResult:
    """What the demo made and measured.

    Attributes:
        job: the map and its held-out scores.
        truth: the map against the whole truth.
        forest: the pixel-wise forest's map against the whole truth.
        seconds: of everything.
        peak_gib: largest memory of this process.
    """

    job: MapResult
    truth: Assessment
    forest: Assessment
    seconds: float
    peak_gib: float


def run_demo(
    out: str | Path,
    *,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> DemoResult:
    """Make the demo scene, map it, and score map and forest everywhere.

    Args:
        out: folder for scene, labels, truth, map and report; earlier results are replaced.
        seed: of the scene and of the training.
    """
    reporter = reporter or Silent()
    start = time.monotonic()
    reporter.stage("Making the demo scene")
    scene = make_demo(Path(out), seed=seed)
    job = make_map(
        scene.scene, scene.labels, out=out, field=scene.field, radius_m=scene.radius_m,
        seed=seed, device=device, overwrite=True, baseline=False, reporter=reporter,
    )  # fmt: skip
    reporter.stage("Random forest on pixels")
    truth = evaluate_map_files(job.products[0].map, scene.truth)
    forest = _forest_against_truth(job, scene.truth)
    scores = {"map": truth.as_dict(), BASELINE: forest.as_dict()}
    write_file(job.out / "truth_metrics.json", json.dumps(scores, indent=2))
    return DemoResult(job, truth, forest, time.monotonic() - start, peak_bytes() / 2**30)


def _forest_against_truth(job: MapResult, truth: Path) -> Assessment:
    """Train the pixel-wise forest on the network's own training labels and map the scene with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps what is still open
        forest = fit_baseline(job.training, job.inputs.scheme, job.config, Path(folder))
        product = predict(job.inputs.to_map[0], forest, Path(folder) / "forest.tif", confidence=False, device="cpu")
        return evaluate_map_files(product.map, truth)
