"""``sparsecover train``."""

from pathlib import Path
from typing import Any

import click

from sparsecover.cli import options


@click.command("train")
@options.config_file
@options.settings
@options.out_dir
@click.option("--find-lr", is_flag=True, help="Try learning rates, draw the loss over them, and train nothing.")
@options.device
@click.option(
    "--devices", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Processes on this machine, one a GPU; each takes batches of train.batch_size.",
)  # fmt: skip
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Machines.")
@click.option("--deterministic", is_flag=True, help="The same bits on a GPU each time; slower.")
@click.option(
    "--on-read-error", type=click.Choice(["stop", "skip"]), help="At a scene that cannot be read; default: stop."
)
@options.resume
@options.overwrite
def command(
    config_path: Path,
    settings: tuple[str, ...],
    out: Path,
    find_lr: bool,
    deterministic: bool,
    on_read_error: str | None,
    **given: Any,
) -> None:
    """Train a network as a configuration says.

    Writes last.safetensors, history.csv, metrics.json, curves.png, per_class_iou.png, config.yaml and manifest.json
    into the folder given by --out; epochs with validation also leave best_loss.safetensors and best_iou.safetensors.
    With split.folds in the configuration it cross-validates, each fold in a folder of its own.

    \b
    Examples:
      sparsecover train --config run.yaml --out run
      sparsecover train --config run.yaml --out run --resume      # after a stop, however it came
      sparsecover train --config run.yaml --set split.folds=5 --out folds
    """
    from sparsecover.cli.console import ConsoleReporter, show_folds, show_rate_test, show_training
    from sparsecover.config import Config
    from sparsecover.pipeline import cross_validate, find_rate, train
    from sparsecover.progress import Silent
    from sparsecover.training.processes import is_helper

    chosen = [*settings, *(["train.deterministic=true"] if deterministic else [])]
    chosen += [f"data.on_read_error={on_read_error}"] if on_read_error else []
    config = Config.from_yaml(config_path, chosen)
    if is_helper():  # one of several processes does the talking
        (cross_validate if config.split.folds else train)(config, out, reporter=Silent(), **given)
        return
    with ConsoleReporter() as reporter:
        if find_lr:
            show_rate_test(find_rate(config, out, device=given["device"], reporter=reporter), out)
        elif config.split.folds:
            show_folds(cross_validate(config, out, reporter=reporter, **given), out)
        else:
            show_training(train(config, out, reporter=reporter, **given), out)
