"""How good a map is, and a page that shows it: accuracy on labels, calibration, the report."""

from sparsecover.evaluation.assessment import Accumulator, Assessment, paired_gain
from sparsecover.evaluation.calibration import Calibration
from sparsecover.evaluation.maps import evaluate_map
from sparsecover.evaluation.report import Comparison, ReportContent, render_report
from sparsecover.evaluation.views import SceneView, scene_view

__all__ = [
    "Accumulator",
    "Assessment",
    "Calibration",
    "Comparison",
    "ReportContent",
    "SceneView",
    "evaluate_map",
    "paired_gain",
    "render_report",
    "scene_view",
]
