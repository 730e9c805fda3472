"""``sparsecover predict``."""

from pathlib import Path
from typing import Any

import click

from sparsecover.cli import options


@click.command("predict")
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Checkpoint (.safetensors); several are averaged.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="NAME.tif, or a folder for several scenes.")
@click.option("--stack", is_flag=True, help="The SCENEs are bands of one scene on one grid.")
@click.option("--bands", help="Band numbers from 1, e.g. 3,2,1; default: by name where named, else all.")
@click.option("--confidence/--no-confidence", default=True, show_default=True, help="Largest probability, 0 to 100.")
@click.option("--probabilities", is_flag=True, help="One band for each class, 0 to 100.")
@click.option("--entropy", is_flag=True, help="Uncertainty, 0 to 100.")
@click.option("--float", "as_float", is_flag=True, help="Write these as float32 from 0 to 1 instead.")
@click.option("--polygons", is_flag=True, help="The map as polygons too (GeoPackage).")
@click.option("--min-area-ha", type=float, metavar="HA", help="Merge smaller areas into their largest neighbour.")
@click.option("--majority", "majority_px", type=int, default=1, metavar="PX", help="Side of a majority filter; odd.")
@click.option("--threshold", type=float, metavar="F", help="Two classes: probability from which a pixel is positive.")
@click.option("--area", help="Predict only inside: a vector file, or left,bottom,right,top in the scene's coordinates.")
@click.option(
    "--patch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Side of the windows; default: as trained, or as large as pays for the network.",
)
@click.option(
    "--overlap",
    type=click.FloatRange(min=0),
    default=0.25,
    show_default=True,
    help="Of windows: below 1 a fraction, from 1 on pixels.",
)
@click.option(
    "--blend",
    type=click.Choice(["gaussian", "hann", "interior"]),
    default="gaussian",
    show_default=True,
    help="How overlapping windows are joined.",
)
@click.option("--tta", is_flag=True, help="Average over the eight flips and turns: slower, steadier.")
@click.option("--native", is_flag=True, help="Keep the scene's resolution or size where the training's differs.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "torch", "onnx"]),
    default="auto",
    show_default=True,
    help="What computes; auto takes what a short measurement finds quicker.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the network: pays on long jobs.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Windows computed together.")
@click.option(
    "--ram",
    "ram_mb",
    type=click.IntRange(min=64),
    default=2048,
    show_default=True,
    metavar="MB",
    help="Memory for sums, blocks and windows.",
)
@click.option("--workers", type=click.IntRange(min=0), default=0, metavar="N", help="Processes of a local cluster.")
@click.option("--scheduler", metavar="ADDRESS", help="A running dask scheduler, e.g. tcp://10.0.0.5:8786.")
@click.option(
    "--on-read-error",
    type=click.Choice(["stop", "nodata"]),
    default="stop",
    show_default=True,
    help="At a block that cannot be read.",
)
@options.device
@options.resume
@options.overwrite
def command(scenes: tuple[str, ...], models: tuple[Path, ...], out: Path, stack: bool, bands: str | None,
            as_float: bool, area: str | None, **given: Any) -> None:  # fmt: skip
    """Map SCENEs of any size with a trained network.

    SCENEs are files, folders, patterns and addresses as GDAL takes them. Writes NAME.tif (classes with colours and
    names), NAME_confidence.tif, and what else is asked for; with several scenes --out is a folder and the files are
    STEM_map.tif, STEM_confidence.tif and so on.

    \b
    Examples:
      sparsecover predict scene.tif --model result/model.safetensors --out map.tif
      sparsecover predict tiles/*.tif --model result/model.safetensors --out maps --tta
      sparsecover predict scene.tif --model result/model.safetensors --out map.tif --resume
    """
    from sparsecover.cli.console import ConsoleReporter, show_statistics
    from sparsecover.pipeline import predict_files

    encoding: bool | str = "float32" if as_float else True
    for name in ("confidence", "probabilities", "entropy"):
        given[name] = given[name] and encoding
    with ConsoleReporter() as reporter:
        batch = predict_files(
            scenes, models, out, stack=stack, bands=options.parse_numbers(bands) or None, area=_area(area),
            reporter=reporter, **given,
        )  # fmt: skip
    for product in batch.products:
        show_statistics(str(product.map), product.statistics)
        for note in product.notes:
            click.echo(f"Note: {note}")
    for path, problem in batch.failures.items():
        click.echo(f"Error: {path}: {problem}", err=True)
    if batch.failures:
        raise click.exceptions.Exit(2)


def _area(text: str | None) -> Path | tuple[float, ...] | None:
    """Bounds where the option holds four numbers, else a file."""
    if text is None:
        return None
    parts = text.split(",")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        return Path(text)
    if len(numbers) != 4:
        raise click.BadParameter(f"--area {text!r} is neither a file nor four numbers left,bottom,right,top.")
    return numbers
