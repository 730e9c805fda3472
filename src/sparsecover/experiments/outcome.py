"""What one job came to: confusion matrices by scene, budget, cost; or why it failed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from sparsecover import metrics
from sparsecover.classes import ClassScheme
from sparsecover.experiments.jobs import Job

RESULT = "result.json"
"""What a job leaves in its folder when it has ended, well or not."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores of a job.

    Attributes:
        job, folder: what was done, and where.
        error: why there are no scores; None where there are some.
        fault: whether the error is our own rather than the user's.
        scheme: the classes; None after an error.
        scenes: confusion matrix int64 [K, K] of each scored scene.
        labelled_pixels: by side; ``spent_pixels`` counts those that trained or chose the network.
        release: of sparsecover, that trained it; empty where the result does not say.
        taught: labelled training pixels by the name of the class; empty where the result does not say.
        seconds: of training and scoring, all sessions together.
        peak_memory_mib, gpu_memory_mib: the most that was held; the latter None without a GPU.
    """

    job: Job
    folder: Path
    error: str | None = None
    fault: bool = False
    scheme: ClassScheme | None = None
    scenes: Mapping[str, metrics.Confusion] = field(default_factory=dict)
    labelled_pixels: Mapping[str, int] = field(default_factory=dict)
    spent_pixels: int = 0
    release: str = ""
    taught: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_mib: int = 0
    gpu_memory_mib: int | None = None

    @property
    def reason(self) -> str:
        """The error in one line."""
        return " ".join((self.error or "").split())

    @property
    def untaught(self) -> list[str]:
        """Classes that lie on scored ground and have no training label."""
        names = self.scheme.names if self.scheme else ()
        present = self.confusion.sum(axis=1) > 0
        return [name for name, there in zip(names, present, strict=True) if there and self.taught.get(name) == 0]

    @property
    def confusion(self) -> metrics.Confusion:
        """All scored pixels, int64 [K, K]."""
        return pooled(list(self.scenes.values()))

    @classmethod
    def from_result(cls, job: Job, folder: Path, result: Mapping[str, Any]) -> Self:
        """From the plain values of result.json."""
        if result.get("error") is not None:
            return cls(job, folder, str(result["error"]), bool(result["fault"]))
        return cls(
            job,
            folder,
            scheme=ClassScheme.from_dicts(result["classes"]),
            scenes={scene: np.array(counts, np.int64) for scene, counts in result["scenes"].items()},
            labelled_pixels=result["labelled_pixels"],
            spent_pixels=result["spent_pixels"],
            release=result.get("release", ""),
            taught=result.get("taught", {}),
            seconds=result["seconds"],
            peak_memory_mib=result["peak_memory_mib"],
            gpu_memory_mib=result["gpu_memory_mib"],
        )


def state_of(outcome: Outcome | None, begun: bool) -> str:
    """What a job has come to in a word; one that is ``begun`` and has no outcome was stopped, or is running."""
    if outcome is None:
        return "begun" if begun else "to do"
    return "done" if outcome.error is None else "failed"


def pooled(matrices: list[metrics.Confusion]) -> metrics.Confusion:
    """Confusion matrices as one."""
    total: metrics.Confusion = np.sum(matrices, axis=0, dtype=np.int64)
    return total
