"""``sparsecover labels``: burn, simulate, info."""

from pathlib import Path
from typing import Any

import click

from sparsecover.cli import options


@click.group("labels")
def command() -> None:
    """Burn vectors, simulate partial labels, count labels."""


@command.command("burn", options_metavar="--labels LABELS --out FILE [OPTIONS]")
@click.argument("scene")
@click.option("--labels", required=True, metavar="LABELS", help="Vector file: points, lines, polygons.")
@options.label_options
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Label raster to write.")
@options.overwrite
def burn(scene: str, labels: str, out: Path, unlabelled: str | None, overwrite: bool, **given: Any) -> None:
    """Burn vector labels into the grid of SCENE; unlabelled pixels become nodata (255).

    \b
    Example:
      sparsecover labels burn scene.tif --labels labels.gpkg --field class --out labels.tif
    """
    from sparsecover.cli.console import show_check
    from sparsecover.pipeline import burn_to_file

    show_check(
        burn_to_file(scene, labels, out, unlabelled=options.parse_codes(unlabelled), overwrite=overwrite, **given)
    )


@command.command("simulate")
@click.argument("mask")
@click.option("--sampler", default="pixels", show_default=True, help="pixels, per_class, points, scribbles, polygons.")
@click.option("--fraction", type=click.FloatRange(0, 1, min_open=True), help="Share of the labelled pixels to keep.")
@click.option("-n", "--number", "n", type=click.IntRange(min=1), help="Number for each class.")
@click.option(
    "--option",
    "given",
    multiple=True,
    metavar="KEY=PX",
    help="Of the sampler: min_distance_px, border_px (points); length_px, width_px (scribbles); size_px (polygons).",
)
@click.option("--unlabelled", help="Codes that mean 'not labelled', e.g. 0.")
@click.option("--classes", type=click.Path(path_type=Path), help="Codes, names, colours: .csv or QGIS .qml.")
@options.seed
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Label raster (.tif), or points and outlines (.gpkg)."
)
@options.overwrite
def simulate(mask: str, out: Path, unlabelled: str | None, given: tuple[str, ...], **settings: Any) -> None:
    """Make partial labels out of a dense MASK, to see how few would do; prints what was kept to the pixel."""
    from sparsecover.cli.dataset_views import show_spent
    from sparsecover.pipeline import simulate_to_file

    codes = options.parse_codes(unlabelled)
    show_spent(simulate_to_file(mask, out, unlabelled=codes, options=_sampler_options(given), **settings))


def _sampler_options(given: tuple[str, ...]) -> dict[str, int]:
    """``KEY=PX`` settings of a sampler."""
    found = {}
    for setting in given:
        key, _, value = setting.partition("=")
        if not value.isdecimal():
            raise click.BadParameter(f"{setting!r} is not of the form KEY=PX, for example length_px=40.")
        found[key] = int(value)
    return found


@command.command("info")
@click.argument("labels")
@click.option("--scene", metavar="SCENE", help="Scene that vector labels lie on, to count its pixels.")
@options.label_options
def info(labels: str, scene: str | None, unlabelled: str | None, **given: Any) -> None:
    """Count LABELS by class: pixels of a label raster, features of a vector file, with --scene also their pixels.

    \b
    Examples:
      sparsecover labels info labels.gpkg --field class
      sparsecover labels info labels.gpkg --field class --scene scene.tif
    """
    from sparsecover.cli.console import show_check
    from sparsecover.pipeline import describe_labels

    show_check(describe_labels(labels, scene, unlabelled=options.parse_codes(unlabelled), **given))
