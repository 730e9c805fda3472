"""Which labels of a job train and which score it, and whether a study can have such sides at all."""

import json
from collections.abc import Iterable

from sparsecover.datasets import Dataset, Pair, Split, open_dataset
from sparsecover.errors import DataError, SparseCoverError
from sparsecover.experiments.jobs import Job
from sparsecover.pipeline.splitting import split_dataset, split_dataset_folds


def sides_of(job: Job, dataset: Dataset) -> tuple[Split, list[Pair]]:
    """The split, and the pairs that score.

    Raises:
        DataError: a split that cannot be made, or has nothing to score on.
    """
    if job.fold_index is not None:
        split = split_dataset_folds(dataset, job.config)[job.fold_index]
        return split, split.validation
    split = split_dataset(dataset, job.config)
    if not split.sides[job.score]:
        raise DataError(f"The split leaves no {job.score} scenes to score on; set score or split.{job.score}.")
    return split, split.sides[job.score]


def check_sides(jobs: Iterable[Job]) -> None:
    """Refuse jobs none of which has data that can be opened and divided; where some have, the others fail alone.

    Raises:
        DataError: with each reason once.
    """
    problems: dict[str, str] = {}
    tried: set[str] = set()
    for job in jobs:
        if (division := _division(job)) in tried:
            continue
        tried.add(division)
        try:
            sides_of(job, open_dataset(job.config.data, job.config.classes))
        except SparseCoverError as error:
            problems.setdefault(str(error), job.name)
        except Exception:  # our own fault: the job shows where, beside others
            return
        else:
            return
    if len(problems) == 1:
        raise DataError(next(iter(problems)))
    if problems:
        raise DataError("\n".join(f"{name}: {problem}" for problem, name in problems.items()))


def _division(job: Job) -> str:
    """What decides about the sides, but for chance."""
    config = job.config.to_dict()
    return json.dumps([config["data"] | {"simulate": None}, config["split"], config["classes"]], sort_keys=True)
