"""Studies: a grid of configurations, seeds and folds becomes jobs, and their scores tables, plots and a report."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.experiments.experiment import ExperimentResult as ExperimentResult
    from sparsecover.experiments.experiment import list_jobs as list_jobs
    from sparsecover.experiments.experiment import run_experiment as run_experiment
    from sparsecover.experiments.recipe import Recipe as Recipe
    from sparsecover.experiments.shelf import find_recipe as find_recipe
    from sparsecover.experiments.shelf import shelved_recipes as shelved_recipes

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ExperimentResult": "experiment",
        "list_jobs": "experiment",
        "run_experiment": "experiment",
        "Recipe": "recipe",
        "find_recipe": "shelf",
        "shelved_recipes": "shelf",
    },
)
