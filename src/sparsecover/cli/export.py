"""``sparsecover export``."""

from pathlib import Path

import click

from sparsecover.cli import options


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="FILE.onnx")
@click.option("--scene", help="Check the result on windows of this scene too, beside random ones.")
@click.option("--tile-size", "tile_px", type=click.IntRange(min=1), metavar="PX",
              help="Side of the windows that the graph takes; default: as trained.")  # fmt: skip
@options.overwrite
def command(model: Path, out: Path, scene: str | None, tile_px: int | None, overwrite: bool) -> None:
    """Write a checkpoint as ONNX that QGIS' Deepness runs as it is; checked against torch."""
    from sparsecover.inference import export
    from sparsecover.raster import open_scene

    checked_on = None if scene is None else open_scene(scene)
    report = export(model, out, tile_px=tile_px, scene=checked_on, overwrite=overwrite)
    click.echo(
        f"{out}: largest difference of a probability from torch {report.largest_difference:.1e}, over "
        f"{report.windows} windows."
    )
