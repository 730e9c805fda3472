"""The verb ``fit``: pairs of scenes and labels in, a checkpoint and the files of a run out."""

from collections.abc import Iterable
from pathlib import Path

from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.errors import ConfigError
from sparsecover.patches import Pair, check_pairs
from sparsecover.progress import Reporter, Silent
from sparsecover.training.device import resolve_device
from sparsecover.training.run import Run, seeded


def fit(
    pairs: Iterable[Pair],
    config: Config,
    out: str | Path,
    *,
    scheme: ClassScheme | None = None,
    validation: Iterable[Pair] | None = None,
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
            with validation also best_loss.safetensors and best_iou.safetensors. An earlier run in it is replaced.
        scheme: classes by index; default: that of the labels, else ``config.classes``.
        validation: labels that score the network while it trains; None or empty: none do.
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
    with seeded(config, device):
        run = Run.prepare(check_pairs(pairs), list(validation or ()), config, scheme, device, reporter or Silent())
        run.devices, run.nodes = devices, nodes
        files = run.files(Path(out))
        state = files.restore() if resume else None
        if state is not None and "result" in state:
            run.reporter.note(f"The run in {out} has ended already.")
            return load_checkpoint(files.out / state["result"])
        if state is None:
            files.clear()
        if not hasattr(run.model, "fit_pixels"):
            return run.train(files, state)
        if devices * nodes > 1:
            raise ConfigError(f"{config.model.name} is fitted in one process; give one device.")
        return run.fit_pixels(files)
