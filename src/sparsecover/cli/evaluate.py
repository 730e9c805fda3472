"""``sparsecover evaluate``."""

from pathlib import Path

import click

from sparsecover.cli import options


@click.command("evaluate")
@click.option("--model", type=click.Path(path_type=Path), help="Checkpoint to score on the labels of --config.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="YAML configuration with data and split."
)
@options.settings
@click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True,
    help="Side to score, on its full labels: data.simulate thins out what trains alone.",
)  # fmt: skip
@click.option("--map", "map_path", type=click.Path(path_type=Path), help="Map to score against --truth.")
@click.option("--truth", type=click.Path(path_type=Path), help="Label raster or vector file on the map's ground.")
@click.option("--field", help="Attribute of vector truth that holds the class.")
@click.option("--unlabelled", help="Codes of a truth raster that mean 'not labelled', e.g. 0 or 0,9.")
@options.device
@click.option("--out", type=click.Path(path_type=Path), help="Folder for metrics.json.")
def command(model: Path | None, config_path: Path | None, settings: tuple[str, ...], split: str, map_path: Path | None,
            truth: Path | None, field: str | None, unlabelled: str | None, device: str, out: Path | None,
            ) -> None:  # fmt: skip
    """Score a network against the labels of a configuration, or a map against labels.

    \b
    Examples:
      sparsecover evaluate --model run/last.safetensors --config run.yaml --split test --out scores
      sparsecover evaluate --map map.tif --truth truth.tif --out scores
    """
    from sparsecover.cli.console import ConsoleReporter, show_assessment
    from sparsecover.config import Config
    from sparsecover.pipeline import evaluate_checkpoint, evaluate_map_files

    if model and config_path and not map_path:
        config = Config.from_yaml(config_path, settings)
        with ConsoleReporter() as reporter:
            assessment = evaluate_checkpoint(model, config, split=split, device=device, out=out, reporter=reporter)
    elif map_path and truth and not model:
        codes = options.parse_codes(unlabelled)
        with ConsoleReporter() as reporter:
            assessment = evaluate_map_files(map_path, truth, field=field, unlabelled=codes, out=out, reporter=reporter)
    else:
        raise click.UsageError("Give --model and --config, or --map and --truth.")
    show_assessment(assessment)
