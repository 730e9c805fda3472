"""Options that several commands share, each with one meaning everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU where there is one.",
)
seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same result.")
resume = click.option("--resume", is_flag=True, help="Go on where a stopped run left off.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
config_file = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), required=True, help="YAML configuration."
)
settings = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the configuration, e.g. optim.lr=0.001."
)
out_dir = click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")


def combine(*options: Decorator) -> Decorator:
    """Several options as one decorator, listed in the help in the order given."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


label_options = combine(
    click.option("--field", help="Attribute of vector labels that holds the class. "
        "Without it the only attribute; with none, or with --background, all features are one class, named "
        "after the file."),
    click.option("--unlabelled", help="Codes of a label raster that mean 'not labelled', e.g. 0 or 0,9; "
        "in a colour mask '#9B9B9B'."),
    click.option("--classes", type=click.Path(path_type=Path), help="Codes, names, colours: .csv or QGIS .qml."),
    click.option("--background", metavar="NAME", help="Class of everything inside --labelled-area that has no label."),
    click.option("--labelled-area", metavar="FILE", help="Polygons inside which everything not labelled is background; "
                 "'scene' takes all valid pixels."),
    click.option("--width", "width_m", type=float, metavar="M", help="Width in metres to which lines are burnt."),
    click.option("--radius", "radius_m", type=float, metavar="M", help="Radius in metres to which points are burnt."),
    click.option("--conflict", type=click.Choice(["unlabelled", "raise", "last"]), default="unlabelled",
                 show_default=True, help="What a pixel under labels of different classes becomes."),
)  # fmt: skip

scene_options = combine(
    click.option("--stack", is_flag=True, help="The SCENEs are bands of one scene on one grid."),
    click.option("--bands", help="Band numbers from 1, e.g. 1,2,3; default: all."),
    click.option("--mask", metavar="FILE", help="Raster that is not 0 where the scene counts as nodata (clouds)."),
    click.option("--resolution", type=click.FloatRange(0, min_open=True), metavar="M",
                 help="Work at this pixel size in metres."),
)  # fmt: skip


def parse_numbers(text: str | None) -> tuple[int, ...]:
    """Comma-separated integers from an option, such as band numbers or seeds."""
    try:
        return tuple(map(int, _parts(text)))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of integers such as 3 or 1,2,3.") from None


def parse_codes(text: str | None) -> tuple[int, ...]:
    """As `parse_numbers` for codes of a label raster; colours ``#RRGGBB`` become the codes that colour masks have."""
    from sparsecover.config import color_code

    try:
        return tuple(int(color_code(part)) for part in _parts(text))
    except ValueError:
        colors = ", or of colours such as '#9B9B9B'" if "#" in (text or "") else ""
        raise click.BadParameter(f"{text!r} is not a list of integers such as 0 or 0,9{colors}.") from None


def _parts(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
