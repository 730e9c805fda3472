"""``sparsecover check``."""

from pathlib import Path
from typing import Any

import click

from sparsecover.cli import options


@click.command("check")
@click.argument("scenes", nargs=-1, metavar="[SCENE...]")
@click.option("--labels", multiple=True, metavar="LABELS", help="Vector file or label raster.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML configuration, instead of SCENE.")
@options.label_options
@options.scene_options
@options.settings
def command(scenes: tuple[str, ...], labels: tuple[str, ...], config_path: Path | None, unlabelled: str | None,
            bands: str | None, settings: tuple[str, ...], **given: Any) -> None:  # fmt: skip
    """Find what would spoil a training: coordinate systems, nodata, band scales, class counts, leakage.

    SCENEs are files, folders and patterns. Ends with exit code 2 where something must be mended first.
    """
    from sparsecover.cli.console import show_check
    from sparsecover.pipeline import check_config, check_inputs

    if bool(scenes) == bool(config_path):
        raise click.UsageError("Give either SCENE... with --labels FILE, or --config FILE.")
    if scenes and not labels:
        raise click.UsageError("SCENE needs --labels FILE.")
    if config_path:
        result = check_config(config_path, settings)
    else:
        codes, numbers = options.parse_codes(unlabelled), options.parse_numbers(bands) or None
        result = check_inputs(scenes, labels, unlabelled=codes, bands=numbers, **given)
    show_check(result)
    if any(finding.severity == "error" for finding in result.findings):
        raise click.exceptions.Exit(2)
