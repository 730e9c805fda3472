"""What an experiment is: a base configuration, a grid of named variations, seeds and folds; from YAML."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sparsecover.config import Section, apply_setting, put_setting, read_yaml
from sparsecover.errors import ConfigError, nearest
from sparsecover.mistakes import explain

Changes = dict[str, Any]
"""``dotted.key: value`` of a configuration."""
Choice = dict[str, str | tuple[str, ...]]
"""Axis of the grid: one of its names, or several."""


_QUICK = (
    "This is the recipe's quick form: fewer jobs, trained for a moment, to see that all of it runs. Its figures mean "
    "little; what follows describes the full form."
)


class Quick(Section):
    """What ``--quick`` changes: a look at everything within minutes."""

    settings: Changes = Field({"train.epochs": 1, "patches.per_epoch": 8}, description="changes of the base")
    seeds: int = Field(1, ge=1, description="so many of the seeds")
    folds: int | None = Field(None, ge=1, description="so many of the folds that have names; null: all")
    only: tuple[Choice, ...] = ()


class Published(Section):
    """What others reported for one cell of the grid."""

    miou: float | None = Field(None, ge=0, le=1)
    accuracy: float | None = Field(None, ge=0, le=1)


class Recipe(Section):
    """An experiment.

    Attributes:
        title, about: for the report; ``about`` says what is compared and what the figures stand for.
        base: a configuration as of ``train``.
        grid: axis, name of a variation, and what it changes. A mapping under a section (``model: {...}``) replaces that
            section, a dotted key (``model.name``) one value of it; ``folds`` replaces the recipe's folds.
        only: combinations that are run, each axis with the names that it allows; empty: all.
        seeds: of weights, windows and simulated labels; each is a run of everything.
        folds: named changes of the split, or empty; with ``split.folds: F`` in the base, folds 1 to F are dealt out.
        seed_per_fold: fold i takes seed i alone instead of every seed.
        score: side of the split that is scored. With dealt-out folds the labels held out are.
        checkpoint: which network is scored; one that was best on validation labels spends them.
        budget: axis of the label budget, drawn over labelled pixels.
        panel: axis whose variations are questions of their own: separate plots and tables.
        full: axes and names of full supervision; scores are given as a share of it. Of several names the best counts,
            here as for the baseline.
        baseline: axes and names of what all others are compared with, pair by pair of scenes.
        published, published_in: others' figures by cell, named as in the tables ("U-Net, 10%"), and their source.
        show_bands: numbers from 1 of the bands to show as red, green and blue.
        quick: see ``Quick``.
    """

    title: str
    about: str = ""
    base: dict[str, Any]
    grid: dict[str, dict[str, Changes]]
    only: tuple[Choice, ...] = ()
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    folds: dict[str, Changes] = Field({})
    seed_per_fold: bool = False
    score: Literal["test", "validation"] = "test"
    checkpoint: Literal["last", "best_iou", "best_loss"] = "last"
    budget: str | None = None
    panel: str | None = None
    full: Choice = Field({})
    baseline: Choice = Field({})
    published: dict[str, Published] = Field({})
    published_in: str = ""
    show_bands: tuple[int, int, int] | None = None
    quick: Quick = Quick()

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_seeds()
        empty = [axis for axis, variations in self.grid.items() if not variations]
        if empty or not self.grid:
            raise ValueError(f"grid{'.' + empty[0] if empty else ''} is empty; give each axis at least one variation")
        self._check_folds()
        for key in ("budget", "panel"):
            axis = getattr(self, key)
            if axis is not None and axis not in self.grid:
                raise ValueError(f"{key} names no axis of the grid: {axis!r}. {nearest(axis, self.grid)}")
        chosen = [("full", self.full), ("baseline", self.baseline)]
        chosen += [("only", choice) for choice in self.only] + [("quick.only", choice) for choice in self.quick.only]
        for key, choice in chosen:
            self._check_names(key, choice)
        return self

    def _check_seeds(self) -> None:
        if len(set(self.seeds)) < len(self.seeds) and not self.seed_per_fold:
            raise ValueError(f"seeds are {list(self.seeds)}; give each once, as one given twice is one run")

    def _check_folds(self) -> None:
        """Those of variations; pydantic sees to the recipe's own."""
        for axis, variations in self.grid.items():
            for name, changes in variations.items():
                folds = changes.get("folds", {})
                if not isinstance(folds, dict) or not all(isinstance(each, dict) for each in folds.values()):
                    raise ValueError(
                        f"grid.{axis}.{name}.folds is {folds!r}; give each fold a name and what it changes of the "
                        "split. To deal out so many folds, set split.folds"
                    )

    def _check_names(self, key: str, choice: Choice) -> None:
        for axis, names in choice.items():
            if axis not in self.grid:
                raise ValueError(f"{key} names no axis of the grid: {axis!r}. {nearest(axis, self.grid)}")
            if not names:
                raise ValueError(f"{key}.{axis} names nothing; give at least one variation")
            for name in [names] if isinstance(names, str) else names:
                if name not in self.grid[axis]:
                    raise ValueError(f"{key}.{axis} has no variation {name!r}. {nearest(name, self.grid[axis])}")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Validate plain values.

        Raises:
            ConfigError: unknown keys, axes or names (with the nearest known ones), all at once.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(explain(cls, error.errors())) from None

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a recipe.

        Raises:
            ConfigError: not a recipe; the message names the file.
        """
        data = read_yaml(path)
        if "grid" not in data and "base" not in data:
            raise ConfigError(
                f"{path} is no recipe of an experiment: it has neither base nor grid. A configuration of one training "
                "goes to `sparsecover train --config`; put it under base: and name variations under grid:."
            )
        try:
            return cls.from_dict(data)
        except ConfigError as error:
            raise ConfigError(f"{path}:\n{error}") from None

    def adapted(self, *, quick: bool = False, settings: Iterable[str] = (), seeds: Iterable[int] = ()) -> Self:
        """The recipe in its quick form, with changes of the base (``dotted.key=value``), with other seeds.

        Raises:
            ConfigError: a change that every variation of an axis undoes.
        """
        base = deepcopy(self.base)
        for key, value in self.quick.settings.items() if quick else ():
            put_setting(base, key, value)
        for setting in settings:
            apply_setting(base, setting)
            self._check_lasts(setting)
        changes: dict[str, Any] = {"base": base}
        if quick:
            seeds_left = len(self.seeds) if self.seed_per_fold else self.quick.seeds
            changes |= {
                "about": f"{_QUICK}\n\n{self.about}".strip(),
                "seeds": self.seeds[:seeds_left],
                "only": self.quick.only or self.only,
                "folds": _first(self.folds, self.quick.folds),
                "grid": {axis: self._fewer_folds(variations) for axis, variations in self.grid.items()},
            }
        if given := tuple(seeds):
            changes["seeds"] = given
        return self.from_dict(self.model_copy(update=changes).model_dump(exclude_unset=True))

    def _check_lasts(self, setting: str) -> None:
        """Refuse a change of the base that is gone in every job."""
        key = setting.partition("=")[0].strip()
        if key in ("seed", "data.simulate.seed"):
            raise ConfigError(f"{setting} would change nothing: each job has one of the recipe's seeds. Give --seeds.")
        for axis, variations in self.grid.items():
            if all(any(f"{key}.".startswith(f"{own}.") for own in changes) for changes in variations.values()):
                raise ConfigError(
                    f"{setting} would change nothing: each variation of {axis} ({', '.join(variations)}) sets it. "
                    "Change the variations in a copy of the recipe."
                )

    def _fewer_folds(self, variations: Mapping[str, Changes]) -> dict[str, Changes]:
        """Variations with folds of their own, with fewer of them."""
        return {
            name: {**changes, "folds": _first(changes["folds"], self.quick.folds)} if "folds" in changes else changes
            for name, changes in variations.items()
        }


def _first(folds: Mapping[str, Changes], most: int | None) -> dict[str, Changes]:
    return dict(list(folds.items())[:most])
