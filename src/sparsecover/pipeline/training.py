"""Training as a configuration says: data, split, partial labels, fit."""

from collections.abc import Sequence
from pathlib import Path

from sparsecover.checkpoint import Checkpoint
from sparsecover.config import Config
from sparsecover.datasets import Pair, open_dataset, simulate_pairs, split_pairs
from sparsecover.pipeline.files import prepare_folder
from sparsecover.pipeline.inputs import Labels
from sparsecover.progress import Reporter, Silent
from sparsecover.raster import Scene
from sparsecover.training import fit


def train(
    config: Config,
    out: str | Path,
    *,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Checkpoint:
    """Train a network as ``sparsecover train`` does.

    Args:
        config: everything that defines the run.
        out: folder for checkpoints, history and pictures.
        resume: go on where a stopped run left off.
        overwrite: replace the results of an earlier run.
    """
    reporter = reporter or Silent()
    reporter.stage("Reading scenes and labels")
    dataset = open_dataset(config.data, config.classes)
    split = split_pairs(dataset.pairs, config.split, config.seed, len(dataset.scheme))
    for note in (*dataset.notes, *split.notes):
        reporter.note(note)
    partial = split.train if config.data.simulate is None else simulate_pairs(split.train, config.data.simulate)
    folder = prepare_folder(Path(out), "last.safetensors", resume, overwrite)
    reporter.stage("Training")
    return fit(
        _plain(partial), config, folder, scheme=dataset.scheme, validation=_plain(split.validation), device=device,
        resume=resume, reporter=reporter,
    )  # fmt: skip


def _plain(pairs: Sequence[Pair]) -> list[tuple[Scene, Labels]]:
    return [(pair.scene, pair.labels) for pair in pairs]
