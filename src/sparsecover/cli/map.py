"""``sparsecover map``."""

from pathlib import Path
from typing import Any

import click

from sparsecover.cli import options


@click.command("map")
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "--labels",
    required=True,
    multiple=True,
    metavar="LABELS",
    help="Vector file (points, lines, polygons) or label raster; one for all scenes, or one for each in their order.",
)
@options.label_options
@options.scene_options
@click.option(
    "--model",
    metavar="NAME",
    help="Network by name (see: sparsecover models), which then makes the map; default: what the labels call for "
    "(hypercolumns, or unet from ten million labelled pixels on), or a random forest where the held-out labels find it "
    "better. Not with --quick.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="A random forest on multi-scale features makes the map and no network is trained: a first map soon. A forest "
    "on pixels is the baseline.",
)
@click.option(
    "--folds", type=click.IntRange(min=2), metavar="K", help="Score by cross-validation, then fit on all labels."
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Time for the training of a network that learns in epochs, such as --model unet.",
)
@options.settings
@options.seed
@options.device
@options.resume
@options.overwrite
@options.out_dir
def command(scenes: tuple[str, ...], labels: tuple[str, ...], out: Path, unlabelled: str | None, bands: str | None,
            settings: tuple[str, ...], **given: Any) -> None:  # fmt: skip
    """Make a land-cover map of one or several SCENEs (files, folders, patterns) from a few LABELS.

    About a quarter of the groups of labels (polygons, clusters of clicks) is held out for the reported accuracy, and to
    choose between network and forest. Writes map.tif, map.qml, confidence.tif, model.safetensors, metrics.json,
    report.html and more into the folder given by --out; the maps of several scenes lie in a folder each.

    \b
    Examples:
      sparsecover map scene.tif --labels polygons.gpkg --field class --out result
      sparsecover map ortho.tif --labels buildings.gpkg --background other --labelled-area scene --out result
    """
    from sparsecover.cli.console import ConsoleReporter, show_map_result
    from sparsecover.pipeline import make_map

    with ConsoleReporter() as reporter:
        result = make_map(
            scenes,
            labels,
            out=out,
            unlabelled=options.parse_codes(unlabelled),
            bands=options.parse_numbers(bands) or None,
            settings=settings,
            reporter=reporter,
            **given,
        )
    show_map_result(result)
