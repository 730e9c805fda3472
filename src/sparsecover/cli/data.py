"""``sparsecover data``: list, get, info, split."""

from pathlib import Path

import click

from sparsecover.cli import options

_LAYOUTS = ("folder", "patches", "table", "landcoverai", "deepglobe", "oxford-pet")

root_option = click.option(
    "--root", type=click.Path(path_type=Path), help="Folder of the dataset.  [default: data/NAME]"
)


@click.group("data")
def command() -> None:
    """Public datasets: list, get, info; split any data into sides."""


@command.command("list")
def list_known() -> None:
    """List the datasets that are known by name."""
    from sparsecover.cli.dataset_views import show_known

    show_known()


@command.command("get")
@click.argument("name")
@root_option
def get(name: str, root: Path | None) -> None:
    """Download the dataset NAME, check it and unpack it; a stopped download goes on where it was.

    Where the licence asks for a login, the steps to take by hand are printed.
    """
    from sparsecover.cli.console import ConsoleReporter
    from sparsecover.pipeline import download_known

    with ConsoleReporter() as reporter:
        folder = download_known(name, root, reporter)
    click.echo(f"{name} is in {folder}. Next: sparsecover data info {name} --root {folder}")


@command.command("info")
@click.argument("name", type=click.Choice(_LAYOUTS), metavar="[NAME]", required=False)
@root_option
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML configuration, instead of NAME.")
@options.settings
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(
    name: str | None, root: Path | None, config_path: Path | None, settings: tuple[str, ...], as_json: bool
) -> None:
    """Describe a dataset: pairs, sizes, class shares, problems.

    NAME is a layout: folder, patches, table, landcoverai, deepglobe or oxford-pet. Ends with exit code 2 where files
    cannot be used; they are listed, and the rest is described.
    """
    import json

    from sparsecover.cli.dataset_views import show_dataset
    from sparsecover.config import Config
    from sparsecover.pipeline import describe_data, describe_layout

    if (name is None) == (config_path is None):
        raise click.UsageError("Give either the NAME of a layout, or --config FILE.")
    if config_path is not None:
        given = [f"data.root={root}"] if root else []
        described = describe_data(Config.from_yaml(config_path, [*given, *settings]))
    else:
        described = describe_layout(str(name), root, settings)
    if as_json:
        click.echo(json.dumps(described))
    else:
        show_dataset(described)
    if described["left_out"]:
        raise click.exceptions.Exit(2)


@command.command("split")
@options.config_file
@options.settings
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Plan to write, for example split.json.")
@options.overwrite
def split(config_path: Path, settings: tuple[str, ...], out: Path, overwrite: bool) -> None:
    """Divide the labels of a configuration into training, validation and test, and write the plan.

    The plan lists the side of every scene, block or polygon. Name it in split.plan of a configuration to use it again.
    """
    from sparsecover.cli.dataset_views import show_split
    from sparsecover.config import Config
    from sparsecover.pipeline import write_split

    divided, dataset = write_split(Config.from_yaml(config_path, settings), out, overwrite=overwrite)
    show_split(divided, dataset.scheme)
    click.echo(f"Written: {out}, SHA-256 {divided.plan.digest}")
