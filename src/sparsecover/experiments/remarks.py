"""What a table of scores should be read beside: the score of no skill, and classes that nothing could be learned of."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sparsecover import metrics
from sparsecover.experiments.outcome import Outcome
from sparsecover.experiments.summary import CellScores


def remarks(rows: Sequence[CellScores]) -> list[str]:
    """Sentences to stand below the table of these cells, which were scored on the same ground."""
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    first = next((row for row in rows if row.outcomes), None)
    return [*([_no_skill(first)] if first else []), *_untaught(outcomes)]


def _no_skill(row: CellScores) -> str:
    """What a map of the most frequent class alone would score where this cell was scored."""
    truth = np.sum([run.sum(axis=1) for run in row.runs], axis=0)
    most = int(truth.argmax())
    constant = np.zeros((len(truth), len(truth)), np.int64)
    constant[:, most] = truth
    name = row.scheme.names[most] if row.scheme else str(most)
    return (
        f"For comparison: a map of {name} alone would have mIoU {metrics.miou(constant):.3f} and accuracy "
        f"{metrics.accuracy(constant):.3f}."
    )


def _untaught(outcomes: Sequence[Outcome]) -> list[str]:
    """Classes on scored ground of which some jobs had no training label, with the number of these jobs."""
    jobs = Counter(name for outcome in outcomes for name in outcome.untaught)
    if not jobs:
        return []
    listed = ", ".join(f"{name} ({count} of {len(outcomes)} jobs)" for name, count in jobs.most_common())
    return [f"Without a training label, so that nothing could be mapped as it: {listed}. Their IoU is 0 there."]
