"""The verb ``fit``: pairs of scenes and labels in, a checkpoint and the files of a run out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.patches import Pair, check_pairs
from sparsecover.progress import Reporter, Silent
from sparsecover.raster import Scene
from sparsecover.training import processes
from sparsecover.training.device import resolve_device
from sparsecover.training.failures import Diverged
from sparsecover.training.fitting_pixels import check_needs_no_loop, fit_pixels
from sparsecover.training.history import FIRST_ROUND
from sparsecover.training.manifest import manifest
from sparsecover.training.preparing import asks_first_round, without_first_round
from sparsecover.training.randomness import seeded
from sparsecover.training.record import make_checkpoint
from sparsecover.training.run import Run
from sparsecover.training.run_files import BEST_IOU, LAST, RunFiles
from sparsecover.training.sheet import SampleSheet
from sparsecover.training.trainer import Trainer


def fit(
    pairs: Iterable[Pair],
    config: Config,
    out: str | Path,
    *,
    scheme: ClassScheme | None = None,
    validation: Iterable[Pair] | None = None,
    apart: Iterable[Pair] = (),
    ground: Iterable[Scene] = (),
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Checkpoint:
    """Train a network on scenes and their labels.

    Args:
        pairs: scenes with labels on their grids; they replace ``config.data``.
        config: the run; ``auto`` values are resolved and written so.
        out: folder for last.safetensors, history.csv, metrics.json, config.yaml, figures and the state for resuming;
            epochs with validation also leave best_loss.safetensors and best_iou.safetensors, models that need no
            epochs (forests, hypercolumns) do not. An earlier run in it is replaced.
        scheme: classes by index; default: that of the labels, else ``config.classes``.
        validation: labels that score the network while it trains; None or empty: none do.
        apart: labels that score the network later; like those of ``validation``, they lie where no regulariser infers.
        ground: scenes that will be mapped, looked at by ``model.estimate_shares``; default: those of ``pairs``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: processes on each machine, one a device; ``train.batch_size`` is that of each. They are started here,
            by running the present script again, unless torchrun has started them.
        nodes: machines.
        resume: go on exactly where a stopped run in ``out`` left off; without one there, start.
        reporter: listens.

    Returns:
        The last checkpoint (averaged weights with ``train.ema``); after early stopping the one with the best mIoU.

    Raises:
        DataError: nothing to train on, or scenes that do not fit together.
        ConfigError: settings that cannot be met, or other settings than those of the run to be resumed.
        TrainingError: the loss diverged, or memory is short.
        KeyboardInterrupt, Terminated: on Ctrl-C and SIGTERM, after the state was saved.

    Example:
        >>> checkpoint = fit([(scene, labels)], Config(), "run/")        # doctest: +SKIP
    """
    device = resolve_device(device)
    devices, nodes = processes.layout(devices, nodes)
    pairs, held, apart, reporter = check_pairs(pairs), list(validation or ()), list(apart), reporter or Silent()
    first = None
    if asks_first_round(config):
        reporter.note("Self-training begins with a round without its labels.")
        first = fit(
            pairs, without_first_round(config), Path(out) / FIRST_ROUND, scheme=scheme, validation=held, apart=apart,
            device=device, devices=devices, nodes=nodes, resume=resume, reporter=reporter,
        )  # fmt: skip
    with seeded(config.seed, device, deterministic=config.train.deterministic):
        run = Run.prepare(pairs, held, config, scheme, device, reporter, apart, list(ground))
        run.devices, run.nodes = devices, nodes
        files = _files(run, Path(out))
        state = files.restore() if resume else None
        if state is not None and "result" in state:
            run.reporter.note(f"The run in {out} has ended already.")
            return load_checkpoint(files.out / state["result"])
        if not hasattr(run.model, "fit_pixels"):
            run.infer_labels(None if first is None else first.model().to(device))
            return _train(run, files, state)
        check_needs_no_loop(run)
        if config.train.minutes:
            run.reporter.note(f"{config.model.name} is fitted at once: no time for epochs (minutes) is needed.")
        files.clear()
        _describe(run, files)
        return fit_pixels(run, files)


def _files(run: Run, out: Path) -> RunFiles:
    """The folder of the run."""
    train = run.config.train
    return RunFiles(
        out,
        _deciding(run),
        run.digests,
        lambda trainer: make_checkpoint(run, trainer.network, trainer.scores),
        60 * train.save_every_minutes,
        train.save_top_k,
        train.save_every_epochs,
        _sheet(run),
        train.samples_every,
    )


def _deciding(run: Run) -> dict[str, Any]:
    """The settings that decide about weights; those of the loop only where there is one."""
    settings = run.config.to_dict()
    if not hasattr(run.model, "fit_pixels"):
        return settings
    looked_at = {key: settings["train"][key] for key in ("precision", "deterministic")}
    return settings | {"train": looked_at} | dict.fromkeys(("loss", "optim", "schedule"))


def _sheet(run: Run) -> Callable[[nn.Module], bytes] | None:
    """What draws validation samples; None without validation labels."""
    if run.held is None:
        return None
    return SampleSheet.choose(run.held, run.held_pairs, run.window_reader(run.held_pairs), run.scheme, run.device)


def _describe(run: Run, files: RunFiles) -> None:
    """Write the configuration as resolved, and what the run stands on."""
    files.write_text("config.yaml", run.config.to_yaml())
    files.write_json("manifest.json", manifest(run))


def _train(run: Run, files: RunFiles, state: dict[str, Any] | None) -> Checkpoint:
    """Run the loop from the start or from a saved state."""
    trainer = run.trainer()
    if state is None:
        files.clear()
    with processes.together():
        _start(run, trainer, state)
        if not processes.rank():
            _describe(run, files)
        _loop(run, trainer, files)
        stopped_early = trainer.progress.step < trainer.progress.total_steps
        name = BEST_IOU if stopped_early else LAST
        result = files.finish(name, trainer.progress.rows) if not processes.rank() else None
        processes.gathered(None)  # the others wait for the files
        return result or load_checkpoint(files.out / name)


def _start(run: Run, trainer: Trainer, state: dict[str, Any] | None) -> None:
    """Stand at the beginning or where a stopped run stood; the precision is known then."""
    size = run.plan.size_px
    # On no device: only the shape counts, until a batch is needed to time steps with.
    images = torch.zeros(1).expand(run.config.train.batch_size, run.spec.in_channels, size, size)
    if state is None:
        trainer.prepare(images)
    else:
        trainer.load_state_dict(state["trainer"], images)
        run.reporter.note(f"Going on after step {trainer.progress.step} of {trainer.progress.total_steps}.")
    run.config = run.config.with_changes({"train.precision": trainer.precision})


def _loop(run: Run, trainer: Trainer, files: RunFiles) -> None:
    config = run.config.train
    try:
        trainer.fit(
            run.loader(run.plan, run.pairs),
            None if run.held is None else run.loader(run.held, run.held_pairs),
            config.epochs,
            validate_every=config.validate_every,
            early_stopping=config.early_stopping,
            minutes=config.minutes,
            keeper=files,
        )
    except Diverged as error:
        if not processes.rank():
            files.write_text("diverged.txt", error.report())
        raise
    run.note_unreadable()
