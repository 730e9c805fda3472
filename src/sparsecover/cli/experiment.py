"""``sparsecover experiment``."""

from pathlib import Path

import click

from sparsecover.cli import options


@click.command("experiment")
@click.argument("recipe", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; default: experiments/NAME.")
@click.option("--quick", is_flag=True, help="The recipe's short form: a look at everything within minutes.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="Trainings at once; with several GPUs each has its own.")  # fmt: skip
@click.option("--seeds", metavar="N,N,...", help="Instead of the recipe's, e.g. 0,1,2.")
@options.settings
@options.device
@click.option("--download", is_flag=True, help="Fetch the recipe's dataset first.")
@click.option("--list", "listing", is_flag=True, help="List jobs and their state, or, without RECIPE, the recipes.")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str | None,
    out: Path | None,
    quick: bool,
    jobs: int,
    seeds: str | None,
    settings: tuple[str, ...],
    device: str,
    download: bool,
    listing: bool,
) -> None:
    """Run a study: a grid of configurations, seeds and folds to tables, plots and a report.

    RECIPE is a YAML file (docs/experiments.md says what is in it) or the name of a recipe that comes with sparsecover.
    Writes results.csv (a row a training), summary.csv and summary.md, plots/, sheets/ and report.html. The same command
    goes on where it stopped; what is finished with the same settings and data is not done again. --set changes the
    recipe's base configuration.

    \b
    Examples:
      sparsecover experiment --list
      sparsecover experiment landcoverai-partial --download --jobs 2
      sparsecover experiment dubai-label-efficiency --quick --set data.root=FOLDER --out study
    """
    from sparsecover.cli.console import ConsoleReporter, show_experiment, show_jobs, show_recipes
    from sparsecover.experiments import list_jobs, run_experiment, shelved_recipes

    if recipe is None:
        if not listing:
            raise click.UsageError("Name a RECIPE; --list shows those that come with sparsecover.")
        show_recipes(shelved_recipes())
        return
    folder = out or Path("experiments") / Path(recipe).stem
    chosen = options.parse_numbers(seeds)
    with ConsoleReporter() as reporter:
        if listing:
            show_jobs(list_jobs(recipe, folder, quick=quick, seeds=chosen, settings=settings))
            return
        result = run_experiment(
            recipe, folder, quick=quick, jobs=jobs, seeds=chosen, settings=settings, device=device, download=download,
            reporter=reporter,
        )  # fmt: skip
    show_experiment(result)
    ctx.exit(result.exit_code)
