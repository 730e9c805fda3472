"""``sparsecover train``."""

from pathlib import Path

import click

from sparsecover.cli import options


@click.command("train")
@options.config_file
@options.settings
@options.out_dir
@options.device
@options.resume
@options.overwrite
def command(
    config_path: Path, settings: tuple[str, ...], out: Path, device: str, resume: bool, overwrite: bool
) -> None:
    """Train a network as a configuration says.

    Writes last.safetensors, with validation also best_loss.safetensors and best_iou.safetensors, and history.csv,
    metrics.json, curves.png, per_class_iou.png and config.yaml into the folder given by --out.
    """
    from sparsecover.cli.console import ConsoleReporter, show_training
    from sparsecover.config import Config
    from sparsecover.pipeline import train

    config = Config.from_yaml(config_path, settings)
    with ConsoleReporter() as reporter:
        checkpoint = train(config, out, device=device, resume=resume, overwrite=overwrite, reporter=reporter)
    show_training(checkpoint, out)
