"""``sparsecover export``."""

from pathlib import Path

import click

from sparsecover.cli import options


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="FILE.onnx")
@options.overwrite
def command(model: Path, out: Path, overwrite: bool) -> None:
    """Write a checkpoint as ONNX that QGIS' Deepness runs as it is; checked against torch."""
    from sparsecover.checkpoint import load_checkpoint
    from sparsecover.inference import export

    report = export(load_checkpoint(model), out, overwrite=overwrite)
    click.echo(f"{out}: largest difference of a probability from torch {report.largest_difference:.1e}.")
