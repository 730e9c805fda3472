"""``sparsecover extract``: single, batch, info, show."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsecover.cli import options

if TYPE_CHECKING:
    from sparsecover.patches import Extraction, ExtractOptions
    from sparsecover.pipeline.extracting import SourceOptions

_FILE = click.Path(path_type=Path)

_patch_options = options.combine(
    click.option("--out", type=_FILE, required=True, help="Folder in which Patch/ is made."),
    click.option("--size", "size_px", type=click.IntRange(1), default=256, show_default=True,
                 help="Side of a patch in pixels."),
    click.option("--stride", "stride_px", type=click.IntRange(1), metavar="PX",
                 help="Step of the regular grid.  [default: the size]"),
    click.option("--bands", help="Band numbers from 1, e.g. 3,2,1.  [default: all]"),
    click.option("--resolution", type=click.FloatRange(0, min_open=True), metavar="M",
                 help="Pixel size of the patches in metres.  [default: the scene's]"),
    click.option("--ratios", default="0.8,0.1,0.1", show_default=True, help="Training, validation, test; sum 1."),
    click.option("--split", type=click.Choice(["random", "block", "scene"]), default="random", show_default=True,
                 help="Divide patch by patch, by square blocks, or by whole scenes; the last two do not leak."),
    click.option("--block", "block_px", type=click.IntRange(1), metavar="PX",
                 help="Side of a block.  [default: four patches, less in small scenes]"),
    click.option("--max-nodata", type=click.FloatRange(0, 1), default=0.5, show_default=True,
                 help="Largest share of a patch without data."),
    click.option("--min-labelled", type=click.FloatRange(0, 1), default=0.0, show_default=True,
                 help="Smallest labelled share of a patch."),
    click.option("--unlabelled", help="Codes of a label raster that mean 'not labelled', e.g. 0 or 0,9; in a colour "
                 "mask '#9B9B9B'."),
    click.option("--field", help="Attribute of vector labels that holds the class."),
    click.option("--classes", type=_FILE, help="Codes, names, colours: .csv or QGIS .qml."),
    options.seed,
    options.overwrite,
)  # fmt: skip


@click.group("extract")
def command() -> None:
    """Cut scenes and labels into patches on disk."""


@command.command("single")
@click.argument("scenes", nargs=-1, required=True, type=_FILE, metavar="SCENE...")
@click.option("--labels", required=True, type=_FILE, metavar="LABELS", help="Vector file or label raster.")
@click.option("--grid", type=_FILE, help="Polygons; each gives one patch around its centre.")
@click.option("--mask", type=_FILE, help="Raster that is not 0 where the scene counts as nodata (clouds).")
@_patch_options
def single(scenes: tuple[Path, ...], labels: Path, grid: Path | None, mask: Path | None, **given: Any) -> None:
    """Cut one SCENE into georeferenced patches; several files are its bands.

    Writes OUT/Patch/{train,validation,test}/{images,labels}, manifest.csv and classes.csv. The same call again goes on
    where a stopped one was.
    """
    from sparsecover.pipeline import extract_scene

    _run(lambda reporter, cut, read: extract_scene(
        scenes, labels, given["out"], cut, read, grid=grid, mask=mask, overwrite=given["overwrite"], reporter=reporter,
    ), given)  # fmt: skip


@command.command("batch")
@click.argument("folder", type=_FILE)
@click.option(
    "--image",
    default="image_*",
    show_default=True,
    help="Names of images, or images/* where each kind has its own folder; * is what the names share.",
)
@click.option("--label", default="label_*", show_default=True, help="Names of labels, vectors or rasters.")
@click.option("--grid", default="grid_*", show_default=True, help="Names of vector grids, where there are any.")
@click.option("--mask", help="Names of rasters that are not 0 where images count as nodata (clouds), e.g. mask_*.")
@click.option("--no-grid", is_flag=True, help="Use regular grids even where there are vector ones.")
@click.option("--recursive", is_flag=True, help="Look in folders below, too.")
@click.option("--skip-unpaired", is_flag=True, help="Leave out files without a partner instead of stopping.")
@_patch_options
def batch(folder: Path, image: str, label: str, grid: str, mask: str | None, no_grid: bool, recursive: bool,
          skip_unpaired: bool, **given: Any) -> None:  # fmt: skip
    """Cut all scenes in FOLDER: Image_1 with Label_1 and Grid_1, and so on; upper and lower case are the same.

    Files that cannot be read are listed at the end, with exit code 2; the rest is done.
    """
    from sparsecover.pipeline import extract_folder

    _run(lambda reporter, cut, read: extract_folder(
        folder, given["out"], cut, read, patterns=(image, label, None if no_grid else grid, mask), recursive=recursive,
        skip_unpaired=skip_unpaired, overwrite=given["overwrite"], reporter=reporter,
    ), given)  # fmt: skip


@command.command("info")
@click.argument("folder", type=_FILE)
def info(folder: Path) -> None:
    """Count the patches in FOLDER by side and class."""
    from sparsecover.cli.dataset_views import show_patches
    from sparsecover.patches import describe_patches

    show_patches(describe_patches(folder))


@command.command("show")
@click.argument("folder", type=_FILE)
@click.option("--out", type=_FILE, help="Picture to write.  [default: FOLDER/patches.png]")
@click.option("-n", "--number", type=click.IntRange(min=1), default=8, show_default=True, help="How many patches.")
@options.seed
def show(folder: Path, out: Path | None, number: int, seed: int) -> None:
    """Write a PNG sheet of some patches in FOLDER: image, labels, labels over the image."""
    from sparsecover.patches import patch_sheet

    path = out or folder / "patches.png"
    patch_sheet(folder, path, number, seed)
    click.echo(f"Written: {path}")


def _run(job: Callable[[Any, "ExtractOptions", "SourceOptions"], "Extraction"], given: dict[str, Any]) -> None:
    """Understand the options, run the job, and show what it did."""
    from sparsecover.cli.console import ConsoleReporter
    from sparsecover.cli.dataset_views import show_extraction
    from sparsecover.patches import ExtractOptions
    from sparsecover.pipeline.extracting import SourceOptions

    names = ("size_px", "stride_px", "split", "seed", "block_px", "max_nodata", "min_labelled")
    cut = ExtractOptions(ratios=_ratios(given["ratios"]), **{name: given[name] for name in names})
    read = SourceOptions(
        options.parse_numbers(given["bands"]) or None,
        options.parse_codes(given["unlabelled"]),
        given["field"],
        given["classes"],
        given["resolution"],
    )
    with ConsoleReporter() as reporter:
        extraction = job(reporter, cut, read)
    show_extraction(extraction)
    if extraction.failures:
        raise click.exceptions.Exit(2)


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not three numbers such as 0.8,0.1,0.1.", param_hint="--ratios") from None
    return train, validation, test
