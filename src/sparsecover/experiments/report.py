"""The page of a study: tables, plots and sheets in one HTML file that loads nothing from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsecover.evaluation.pages import data_uri, page_environment
from sparsecover.experiments.plots import Plot
from sparsecover.experiments.recipe import Recipe
from sparsecover.experiments.summary import CellScores
from sparsecover.experiments.tables import Row, Written, failures, legend, panels


@dataclass(frozen=True, eq=False)
class Page:
    """All that the page shows.

    Attributes:
        recipe: as it was run.
        rows: scores by cell.
        jobs: rows of results.csv.
        plots: drawn here for light and for dark pages.
        sheets: PNG by title.
        recipe_yaml: as it was given.
        command: that makes the same again.
        created: date and time as text.
    """

    recipe: Recipe
    rows: Sequence[CellScores]
    jobs: Sequence[Row]
    plots: Sequence[Plot]
    sheets: Mapping[str, bytes] = field(default_factory=dict)
    recipe_yaml: str = ""
    command: str = ""
    created: str = ""


def render_page(page: Page) -> str:
    """The page as HTML text."""
    environment = page_environment("sparsecover.experiments", "sparsecover.evaluation")
    done = sum(len(row.outcomes) for row in page.rows)
    best = max((row for row in page.rows if row.miou.n), key=lambda row: row.miou.mean, default=None)
    return environment.get_template("experiment.html.j2").render(
        page=page,
        tables={name: Written(page.recipe, of_panel) for name, of_panel in panels(page.recipe, page.rows).items()},
        legend=legend(page.recipe, page.rows),
        failures=failures(page.rows),
        failed=sum(len(row.failed) for row in page.rows),
        best=best,
        done=done,
        total=sum(row.jobs for row in page.rows),
        seconds=sum(outcome.seconds for row in page.rows for outcome in row.outcomes),
        charts=[_chart(plot) for plot in page.plots],
        sheets={title: data_uri(picture, "png") for title, picture in page.sheets.items()},
        columns=list(dict.fromkeys(column for row in page.jobs for column in row)),
    )


def _chart(plot: Plot) -> dict[str, Any]:
    images = {theme: data_uri(plot.draw(theme, "png"), "png") for theme in ("light", "dark")}
    return {"title": plot.title, **images}
