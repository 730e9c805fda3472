"""What a table of scores should be read beside: the score of no skill, and classes that nothing could be learned of."""

from collections import Counter
from collections.abc import Sequence

from sparsecover.evaluation.remarks import without_skill
from sparsecover.experiments.outcome import Outcome, pooled
from sparsecover.experiments.summary import CellScores
from sparsecover.metrics import Confusion


def remarks(rows: Sequence[CellScores]) -> list[str]:
    """Sentences to stand below the table of these cells; none before any score."""
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    return [*_no_skill(rows), *_untaught(outcomes), *_releases(outcomes)]


def _no_skill(rows: Sequence[CellScores]) -> list[str]:
    """Nothing where cells were scored on different ground: a study of several sites, or one with folds to do."""
    scored = [(row.scheme.names, pooled(row.runs)) for row in rows if row.scheme]
    if len({(names, _shares(confusion)) for names, confusion in scored}) != 1:
        return []
    names, confusion = scored[0]
    return without_skill(confusion, names, "the same ground")


def _shares(confusion: Confusion) -> tuple[float, ...]:
    """Of the true classes."""
    truth = confusion.sum(axis=1)
    return tuple(round(float(share), 6) for share in truth / truth.sum())


def _untaught(outcomes: Sequence[Outcome]) -> list[str]:
    """Classes on scored ground of which some jobs had no training label, with the number of these jobs."""
    known = [outcome for outcome in outcomes if outcome.taught]  # results of earlier versions do not say
    jobs = Counter(name for outcome in known for name in outcome.untaught)
    if not jobs:
        return []
    listed = ", ".join(f"{name} ({count} of {len(known)} jobs)" for name, count in jobs.most_common())
    return [f"Without a training label, so that nothing could be mapped as it: {listed}. Their IoU is 0 there."]


def _releases(outcomes: Sequence[Outcome]) -> list[str]:
    """Other releases may train another way with the same settings, and results are kept over an upgrade."""
    jobs = Counter(outcome.release or "an earlier one" for outcome in outcomes)
    if len(jobs) < 2:
        return []
    listed = ", ".join(f"{release} ({count} of {len(outcomes)} jobs)" for release, count in jobs.most_common())
    return [f"Trained by different releases of sparsecover: {listed}. Delete jobs/ to train all with this one."]
