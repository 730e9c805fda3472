"""The command line: one file a command, thin. Commands are imported when called, so that help is quick."""

import importlib
import logging
import signal
import sys
from types import FrameType

import click

from sparsecover import __version__

# name: (module below this package, one line for the list). The module has a click command of the same name.
COMMANDS: dict[str, tuple[str, str]] = {
    "map": ("map", "Scene and a few labels in; land-cover map, confidence, accuracy and report out."),
    "demo": ("demo", "The same on a small scene that is made here, with known truth."),
    "check": ("check", "Find what would spoil a training, and how to mend it."),
    "train": ("train", "Train a network from a configuration."),
    "predict": ("predict", "Map scenes of any size with a trained network."),
    "evaluate": ("evaluate", "Score a network or a map against labels."),
    "experiment": ("experiment", "A grid of configurations, seeds and folds to tables, plots and a report."),
    "labels": ("labels", "Burn vectors, simulate partial labels, count labels."),
    "extract": ("extract", "Cut scenes and labels into patches on disk."),
    "data": ("data", "Public datasets: list, get, info; split any data."),
    "models": ("models", "List the networks that can be trained."),
    "export": ("export", "Write a network as ONNX, for QGIS' Deepness and others."),
    "doctor": ("doctor", "Versions, devices, formats, optional parts."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports each only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sparsecover.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest known names where there is no such command."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from sparsecover.errors import nearest

            ctx.fail(f"No such command {args[0]!r}. {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: sparsecover demo",
)
@click.version_option(__version__, prog_name="sparsecover")
def root() -> None:
    """Land-cover maps from sparse labels.

    A scene and a few clicked points, scribbles or polygons become a georeferenced map with confidence, an honest
    accuracy and a report.
    """


def main() -> None:
    """Run the command line and leave with 0, 2 (a user's mistake), 1 (our own fault), 130 or 143 (interrupted)."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    from sparsecover.errors import SparseCoverError

    _show_log()
    try:
        return int(root.main(arguments, prog_name="sparsecover", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return 2
    except SparseCoverError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort) as stop:
        # click turns an interrupt into an Abort that says nothing; how to go on is in what caused it.
        cause = stop.__cause__ or stop
        _show_stop(str(cause), cause)
        return 130
    except SystemExit as stop:  # SIGTERM
        _show_stop("", stop)
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; there is nobody left to tell
        return 0


def _show_stop(message: str, stop: BaseException) -> None:
    """Say that the command was stopped, and how to go on where what stopped it knows."""
    click.echo(" ".join(filter(None, ("Stopped.", message, *getattr(stop, "__notes__", ())))), err=True)


def _show_log() -> None:
    """Show what the package logs, such as how pretrained filters were fitted to the bands."""
    logger = logging.getLogger("sparsecover")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.handlers[0].setFormatter(logging.Formatter("  %(message)s"))
        logger.setLevel(logging.INFO)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)  # runs the `finally` clauses, so that nothing half-written stays
