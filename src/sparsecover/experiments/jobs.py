"""The jobs of a recipe: every cell of its grid, with every fold and seed, each with its whole configuration."""

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsecover.config import Config, put_setting
from sparsecover.datasets.layouts.base import SIDES
from sparsecover.errors import ConfigError, LabelError, MissingPartError, ModelError, nearest
from sparsecover.experiments.recipe import Changes, Choice, Recipe
from sparsecover.pipeline.network_choice import named_by_options
from sparsecover.training import check_parts

Cell = dict[str, str]
"""Axis and name of the variation, in the order of the grid."""


@dataclass(frozen=True)
class Job:
    """One training and its scores.

    Attributes:
        cell: axes and names of the variation.
        seed: of everything random.
        fold: its name; empty without folds.
        fold_index: from 0, of folds that are dealt out (``split.folds``); None where the split says all.
        config: the whole configuration.
        score, checkpoint, show_bands: as in ``Recipe``.
    """

    cell: Cell
    seed: int
    fold: str
    fold_index: int | None
    config: Config
    score: str
    checkpoint: str
    show_bands: tuple[int, ...] | None = None

    @property
    def cell_name(self) -> str:
        """The variation in words."""
        return cell_name(self.cell)

    @property
    def name(self) -> str:
        """The job in words."""
        return ", ".join([self.cell_name, *([self.fold] if self.fold else []), f"seed {self.seed}"])

    def digest(self, data: str) -> str:
        """SHA-256 of all that decides about the result: settings, and ``data``, the digest of the files.

        Where the files lie does not matter, nor what the variation is called.
        """
        settings = self.config.to_dict()
        settings["data"]["root"] = settings["split"]["plan"] = None
        if isinstance(self.config.classes, Path):
            settings["classes"] = None  # the table is among the data
        said = [settings, self.fold_index, self.score, self.checkpoint, self.show_bands, data]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def folder(self, data: str) -> str:
        """Name of the job's folder: readable, and another one for other settings or data."""
        readable = re.sub(r"[^\w.+]+", "-", self.name.replace("%", "pct")).strip("-")[:80]
        return f"{readable}-{self.digest(data)[:10]}"


def cell_name(cell: Mapping[str, str]) -> str:
    """The names of a variation, in the order of the grid."""
    return ", ".join(cell.values())


def cells(recipe: Recipe) -> list[Cell]:
    """The combinations of the grid that the recipe wants."""
    axes = list(recipe.grid)
    every = (dict(zip(axes, names, strict=True)) for names in itertools.product(*recipe.grid.values()))
    return [cell for cell in every if not recipe.only or any(matches(cell, choice) for choice in recipe.only)]


def matches(cell: Cell, choice: Choice) -> bool:
    """Whether a cell has one of the names that are allowed on each axis."""
    return all(cell[axis] in ((names,) if isinstance(names, str) else names) for axis, names in choice.items())


def plan_jobs(recipe: Recipe, folder: Path) -> list[Job]:
    """All jobs, cell by cell.

    Args:
        folder: which relative paths of the configuration are relative to, as with ``train --config``.

    Raises:
        ConfigError: a variation that is no configuration or names a part that there is not, a published figure of no
            cell, seeds that do not suit.
    """
    found = cells(recipe)
    if not found:
        raise ConfigError("recipe.only leaves no combination of the grid; widen it.")
    names = [cell_name(cell) for cell in found]
    every = [cell_name(cell) for cell in cells(recipe.model_copy(update={"only": ()}))]
    for name in recipe.published:
        if name not in every:
            raise ConfigError(f"published names no cell of the grid: {name!r}. {nearest(name, every)}")
    jobs: list[Job] = []
    problems: dict[str, list[str]] = {}
    for cell, name in zip(found, names, strict=True):
        try:
            of_cell = list(_jobs_of(recipe, cell, folder))
            _check_names(of_cell[0].config)
            _check_sides(of_cell[0])
            jobs += of_cell
        except (ConfigError, ModelError, LabelError) as error:
            problems.setdefault(str(error), []).append(name)
    if problems:
        raise ConfigError("\n".join(_told(problem, of, len(found)) for problem, of in problems.items()))
    return jobs


def _told(problem: str, names: Sequence[str], cells: int) -> str:
    """A problem with the first variation that has it; what all have lies in the base."""
    return problem if len(names) == cells else f"{names[0]}: {problem}"


def _check_names(config: Config) -> None:
    """Refuse parts that do not exist or cannot be meant; a missing extra only fails its own jobs."""
    with contextlib.suppress(MissingPartError):
        check_parts(config)


def _check_sides(job: Job) -> None:
    """Refuse a split without what is to score or to choose the network, as far as that is known."""
    if job.fold_index is None:
        if job.config.split.plan is None and job.config.split.by != "files":
            _check_scored(job)
    elif job.checkpoint != "last":
        raise ConfigError(
            "With split.folds the labels held out score, and none are left to choose a network by: leave out "
            f"checkpoint: {job.checkpoint}, or name folds and give each a validation side."
        )


def _check_scored(job: Job) -> None:
    split, side = job.config.split, job.score
    share = split.fractions[SIDES.index(side)]
    if not (getattr(split, side) if split.by == "pattern" else share):
        raise ConfigError(
            f"The split leaves nothing to score on: the {side} side is empty. Give split.folds, or "
            + (f"split.{side}" if split.by == "pattern" else "split.fractions with a part of it")
            + ", or score another side (score: validation)."
        )


def _jobs_of(recipe: Recipe, cell: Cell, folder: Path) -> Iterator[Job]:
    values, folds = deepcopy(recipe.base), dict(recipe.folds)
    for axis, name in cell.items():
        changes = dict(recipe.grid[axis][name])
        folds = changes.pop("folds", folds)
        _change(values, changes)
    for (fold, index, changes), seeds in _folds_with_seeds(recipe, folds, values):
        for seed in seeds:
            data = deepcopy(values)
            _change(data, changes)
            _seed(data, seed)
            config = named_by_options(Config.from_dict(data)).anchored(folder)
            yield Job(cell, seed, fold, index, config, recipe.score, recipe.checkpoint, recipe.show_bands)


def _folds_with_seeds(
    recipe: Recipe, folds: Mapping[str, Changes], values: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, int | None, Changes], tuple[int, ...]]]:
    """Each fold (name, index where it is dealt out, changes) with its seeds."""
    if folds:
        listed: list[tuple[str, int | None, Changes]] = [(name, None, changes) for name, changes in folds.items()]
    elif dealt := Config.from_dict(values).split.folds:
        listed = [(f"fold {number + 1}", number, {}) for number in range(dealt)]
    else:
        listed = [("", None, {})]
    if recipe.seed_per_fold and len(recipe.seeds) < len(listed):
        raise ConfigError(f"seed_per_fold needs a seed for each of {len(listed)} folds; given {list(recipe.seeds)}.")
    for number, fold in enumerate(listed):
        yield fold, (recipe.seeds[number],) if recipe.seed_per_fold else recipe.seeds


def _change(values: dict[str, Any], changes: Changes) -> None:
    for key, value in changes.items():
        put_setting(values, key, deepcopy(value))


def _seed(values: dict[str, Any], seed: int) -> None:
    """The seed also draws the simulated labels: another seed, other labels."""
    values["seed"] = seed
    if (values.get("data") or {}).get("simulate"):
        values["data"]["simulate"]["seed"] = seed
