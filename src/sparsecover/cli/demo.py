"""``sparsecover demo``."""

from pathlib import Path

import click

from sparsecover.cli import options


@click.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder for the results."
)
@options.seed
@options.device
def command(out: Path, seed: int, device: str) -> None:
    """Make a small scene with known truth, map it from under 1% of its pixels, and score the map everywhere.

    The same labels are given to a pixel-wise random forest, so that the gain is seen.
    """
    from sparsecover.cli.console import ConsoleReporter, show_demo_result
    from sparsecover.pipeline import run_demo

    with ConsoleReporter() as reporter:
        result = run_demo(out, seed=seed, device=device, reporter=reporter)
    show_demo_result(result)
