"""How good a map is, from labelled pixels that it did not learn from, gathered block by block."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover import metrics
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import DataError
from sparsecover.evaluation.calibration import Calibration
from sparsecover.evaluation.intervals import Interval, Sums, bootstrap, bootstrap_gain, group_sums

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Assessment:
    """Scores of a map on labelled pixels.

    Attributes:
        confusion: int64 [K, K], rows truth, columns map; every scored pixel counts once.
        scheme: the classes in the order of the rows.
        labelled: labelled pixels by split and class, int64 [K] each: the budget. Names are free, such as ``train``.
        groups: independent groups (polygons, blocks, scenes) among the scored pixels.
        unmapped_pixels: labelled pixels where the map holds no data; they are not scored.
        calibration: confidence against accuracy; None where no confidence was given.
        miou_interval: 95% interval of the mIoU over groups; None where there are too few groups.
        accuracy_interval: the same of the accuracy.
        background: name of the class that ``miou_without_background`` leaves out; a class called background if None.
        group_sums: hits, true and mapped pixels int64 [3, K] of each group, by scene and number.
    """

    confusion: metrics.Confusion
    scheme: ClassScheme
    labelled: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    groups: int = 1
    unmapped_pixels: int = 0
    calibration: Calibration | None = None
    miou_interval: Interval | None = None
    accuracy_interval: Interval | None = None
    background: str | None = None
    group_sums: Mapping[tuple[Hashable, int], Sums] = field(default_factory=dict)

    @property
    def scored_pixels(self) -> int:
        """Labelled pixels that the map has a class for."""
        return int(self.confusion.sum())

    @property
    def scored_classes(self) -> int:
        """Classes that have an IoU: they occur in the truth or in the map, where both are known."""
        return int(np.isfinite(self.iou).sum())

    @property
    def over_classes(self) -> str:
        """How many classes the mean IoU is over, in words; empty where it is over all or none."""
        classes = len(self.scheme)
        return f"over {self.scored_classes} of {classes} classes" if 0 < self.scored_classes < classes else ""

    @property
    def miou(self) -> float:
        """Mean IoU over the classes present in truth or map; NaN without scored pixels."""
        return metrics.miou(self.confusion)

    @property
    def accuracy(self) -> float:
        """Share of the scored pixels that are right; NaN without scored pixels."""
        return metrics.accuracy(self.confusion)

    @property
    def kappa(self) -> float:
        """Cohen's kappa; NaN where it is undefined."""
        return metrics.kappa(self.confusion)

    @property
    def iou(self) -> metrics.Scores:
        """IoU by class, float64 [K]; NaN where the class is in neither truth nor map."""
        return metrics.iou(self.confusion)

    @property
    def users_accuracy(self) -> metrics.Scores:
        """User's accuracy (precision) by class, float64 [K]; NaN where nothing is mapped as the class."""
        return metrics.users_accuracy(self.confusion)

    @property
    def producers_accuracy(self) -> metrics.Scores:
        """Producer's accuracy (recall) by class, float64 [K]; NaN where the truth has no such pixel."""
        return metrics.producers_accuracy(self.confusion)

    @property
    def f1(self) -> metrics.Scores:
        """F1 (Dice) by class, float64 [K]; NaN where the class is in neither truth nor map."""
        return metrics.f1(self.confusion)

    @property
    def miou_without_background(self) -> float | None:
        """Mean IoU over all classes but the background, NaN if undefined; None where no class is a background."""
        wanted = (self.background or "background").casefold()
        keep = np.array([name.casefold() != wanted for name in self.scheme.names], bool)
        scores = self.iou[keep]
        if keep.all():
            return None
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")

    @property
    def labelled_pixels(self) -> dict[str, int]:
        """Labelled pixels by split."""
        return {split: int(counts.sum()) for split, counts in self.labelled.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``metrics.json``; undefined scores are None."""
        names, foreground = self.scheme.names, self.miou_without_background
        return {
            **metrics.summary(self.confusion, names),
            "miou_without_background": None if foreground is None else metrics.finite(foreground),
            "miou_interval_95": _listed(self.miou_interval),
            "accuracy_interval_95": _listed(self.accuracy_interval),
            "scored_pixels": self.scored_pixels,
            "scored_groups": self.groups,
            "unmapped_pixels": self.unmapped_pixels,
            "labelled_pixels": self.labelled_pixels,
            "labelled_pixels_by_class": {
                split: dict(zip(names, counts.tolist(), strict=True)) for split, counts in self.labelled.items()
            },
            "calibration_error": None if self.calibration is None else metrics.finite(self.calibration.error),
            "classes": self.scheme.as_dicts(),
        }


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


class Accumulator:
    """Gathers the scores of a map block by block; memory grows with groups and classes, not with pixels.

    >>> gathered = Accumulator(ClassScheme.from_names(["land", "water"]))
    >>> gathered.add_map(np.array([[0, 1, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    >>> gathered.assessment().accuracy
    1.0
    """

    def __init__(self, scheme: ClassScheme) -> None:
        self.scheme = scheme
        self._confusion = np.zeros((len(scheme), len(scheme)), np.int64)
        self._groups: dict[tuple[Hashable, int], Sums] = {}
        self._calibration: Calibration | None = None
        self._unmapped = 0

    def add(
        self,
        truth: Labels,
        probabilities: npt.NDArray[np.floating[Any]],
        valid: Mask | None = None,
        groups: npt.NDArray[Any] | None = None,
        scene: Hashable = 0,
    ) -> None:
        """Score one block by its probabilities; the most probable class is the map's.

        Args:
            truth: class indices uint8 [h, w], 255 unlabelled.
            probabilities: [K, h, w], 0..1.
            valid: bool [h, w], False where there is no prediction; default all True.
            groups: integers [h, w]; labelled pixels with the same number in the same scene are one group (polygon,
                block). Default: the scene is one group.
            scene: tells the groups of several scenes apart.

        Raises:
            DataError: shapes that do not fit, an unknown class, probabilities that are not numbers.
        """
        expected = (len(self.scheme), *truth.shape)
        if probabilities.shape != expected:
            raise DataError(f"Probabilities have the shape {probabilities.shape}; expected {expected}.")
        keep = truth != UNLABELLED if valid is None else (truth != UNLABELLED) & valid
        picked = probabilities[:, keep]
        if not np.isfinite(picked).all():
            raise DataError("The probabilities hold values that are not numbers; the training probably diverged.")
        prediction = np.full(truth.shape, UNLABELLED, np.uint8)
        confidence = np.zeros(truth.shape, np.float32)
        prediction[keep], confidence[keep] = picked.argmax(0), picked.max(0)
        self.add_map(truth, prediction, confidence, valid, groups, scene)

    def add_map(
        self,
        truth: Labels,
        prediction: Labels,
        confidence: npt.NDArray[np.floating[Any]] | None = None,
        valid: Mask | None = None,
        groups: npt.NDArray[Any] | None = None,
        scene: Hashable = 0,
    ) -> None:
        """Score one block by its mapped classes; as ``add``, but ``prediction`` holds class indices, 255 no data.

        ``confidence`` is [h, w], 0..1; give it for all blocks or for none.
        """
        if prediction.shape != truth.shape:
            raise DataError(f"Truth has the shape {truth.shape}, the map {prediction.shape}; they must agree.")
        labelled = truth != UNLABELLED
        scored = labelled & (prediction != UNLABELLED)
        if valid is not None:
            scored &= valid
        self._unmapped += int(labelled.sum() - scored.sum())
        true, mapped = truth[scored], prediction[scored]
        self._confusion += metrics.confusion_matrix(true, mapped, len(self.scheme))
        if confidence is not None:
            counts = Calibration.of(confidence[scored], true == mapped)
            self._calibration = counts if self._calibration is None else self._calibration + counts
        self._add_groups(true, mapped, np.zeros_like(true) if groups is None else groups[scored], scene)

    def _add_groups(self, true: Labels, mapped: Labels, groups: npt.NDArray[Any], scene: Hashable) -> None:
        numbers, positions = np.unique(groups, return_inverse=True)
        for number, sums in zip(numbers.tolist(), group_sums(true, mapped, positions, len(self.scheme)), strict=True):
            key = (scene, number)
            self._groups[key] = self._groups[key] + sums if key in self._groups else sums

    def assessment(
        self,
        labelled: Mapping[str, npt.NDArray[np.int64]] | None = None,
        background: str | None = None,
        seed: int = 0,
    ) -> Assessment:
        """The scores of all blocks so far.

        Args:
            labelled: the budget, labelled pixels int64 [K] by split; default: the scored ones as ``test``.
            background: name of the class to leave out of ``miou_without_background``.
            seed: of the intervals' resampling.
        """
        intervals = bootstrap(np.stack(list(self._groups.values())), seed) if self._groups else None
        return Assessment(
            confusion=self._confusion.copy(),
            scheme=self.scheme,
            labelled={"test": self._confusion.sum(1)} if labelled is None else dict(labelled),
            groups=len(self._groups),
            unmapped_pixels=self._unmapped,
            calibration=self._calibration,
            miou_interval=intervals[0] if intervals else None,
            accuracy_interval=intervals[1] if intervals else None,
            background=background,
            group_sums=dict(self._groups),
        )


def paired_gain(assessment: Assessment, other: Assessment, seed: int = 0) -> Interval | None:
    """95% interval of the mIoU above another map's, over the groups of labels that both were scored on.

    None where the groups differ or are too few.
    """
    own, others = assessment.group_sums, other.group_sums
    if not own or own.keys() != others.keys():
        return None
    return bootstrap_gain(np.stack(list(own.values())), np.stack([others[key] for key in own]), seed)
