"""The files of a study, each written whole: tables, plots, sheets, the page."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml

from sparsecover.atomic import write_file
from sparsecover.experiments.jobs import Job
from sparsecover.experiments.outcome import Outcome
from sparsecover.experiments.plots import file_name, methods_of, study_plots
from sparsecover.experiments.recipe import Recipe
from sparsecover.experiments.report import Page, render_page
from sparsecover.experiments.sheets import Sample, draw_sheet, load_samples
from sparsecover.experiments.summary import CellScores, summarize
from sparsecover.experiments.tables import as_csv, cell_rows, job_rows, markdown, panels
from sparsecover.pipeline.provenance import command_line


def write_tables(
    out: Path, recipe: Recipe, jobs: Sequence[Job], outcomes: Mapping[str, Outcome], begun: Collection[str] = ()
) -> list[CellScores]:
    """results.csv (a row a job; ``begun`` names those that have), summary.csv and summary.md (a row a cell)."""
    rows = summarize(recipe, jobs, outcomes)
    write_file(out / "results.csv", as_csv(job_rows(jobs, outcomes, begun)))
    write_file(out / "summary.csv", as_csv(cell_rows(rows)))
    write_file(out / "summary.md", markdown(recipe, rows))
    return rows


def publish(out: Path, recipe: Recipe, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> list[CellScores]:
    """Tables, plots/NAME.png and .svg, sheets/BUDGET.png, recipe.yaml and report.html."""
    rows = write_tables(out, recipe, jobs, outcomes)
    plots, sheets = study_plots(recipe, rows), _sheets(recipe, rows)
    for plot in plots:
        _write(out / "plots" / f"{plot.name}.png", plot.draw("paper", "png"))
        _write(out / "plots" / f"{plot.name}.svg", plot.draw("paper", "svg"))
    for title, picture in sheets.items():
        _write(out / "sheets" / f"{file_name(title)}.png", picture)
    recipe_yaml = yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
    write_file(out / "recipe.yaml", recipe_yaml)
    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = Page(recipe, rows, job_rows(jobs, outcomes), plots, sheets, recipe_yaml, command_line(), created)
    write_file(out / "report.html", render_page(page))
    return rows


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    write_file(path, content)


def _sheets(recipe: Recipe, rows: Sequence[CellScores]) -> dict[str, bytes]:
    """A sheet for each budget of each panel, by title."""
    sheets = {}
    for panel, of_panel in panels(recipe, rows).items():
        budgets = [""] if recipe.budget is None else list(recipe.grid[recipe.budget])
        for budget in budgets:
            wanted = [row for row in of_panel if not budget or row.cell[str(recipe.budget)] == budget]
            if (drawn := _sheet(recipe, wanted)) is not None:
                sheets[", ".join(part for part in (panel, budget) if part) or "maps"] = drawn
    return sheets


def _sheet(recipe: Recipe, rows: Sequence[CellScores]) -> bytes | None:
    """The methods of one budget on the ground that the first job's samples show; None where there are no samples."""
    samples: dict[str, dict[str, Sample]] = {}
    first = next((row.outcomes[0] for row in rows if row.outcomes), None)
    if first is None or first.scheme is None:
        return None
    for method, of_method in methods_of(recipe, rows).items():
        same = [o for o in of_method[0].outcomes if (o.job.seed, o.job.fold) == (first.job.seed, first.job.fold)]
        if same and same[0].scheme == first.scheme and (held := load_samples(same[0].folder)):
            samples[method] = held
    return draw_sheet(samples, first.scheme) if samples else None
