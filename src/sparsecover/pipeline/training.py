"""Training as a configuration says: data, split, partial labels, fit."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sparsecover.atomic import write_file
from sparsecover.checkpoint import Checkpoint
from sparsecover.config import Config
from sparsecover.datasets import Pair, Split, open_dataset, simulate_pairs
from sparsecover.errors import ConfigError
from sparsecover.pipeline.files import results_in
from sparsecover.pipeline.inputs import Labels, count_labels
from sparsecover.pipeline.network_choice import named_by_options, settle_network
from sparsecover.pipeline.splitting import PLAN, split_dataset
from sparsecover.progress import Reporter, Silent
from sparsecover.raster import Scene
from sparsecover.training import RateTest, check_parts, find_learning_rate, fit
from sparsecover.training.processes import is_helper, layout

LabelledScenes = list[tuple[Scene, Labels]]


class TrainingSides(NamedTuple):
    """What a training is given of a split.

    Attributes:
        train: what it learns from, with partial labels where these are simulated.
        validation: what watches it, with all of its labels.
        apart: what does neither: no regulariser infers labels there.
    """

    train: LabelledScenes
    validation: LabelledScenes
    apart: LabelledScenes


def train(
    config: Config,
    out: str | Path,
    *,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Checkpoint:
    """Train a network as ``sparsecover train`` does.

    Args:
        config: everything that defines the run.
        out: folder for checkpoints, history and pictures.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices, nodes: processes on each machine, and machines; see ``fit``.
        resume: go on where a stopped run left off.
        overwrite: replace the results of an earlier run.

    Raises:
        ConfigError: the configuration asks for folds; ``cross_validate`` trains these.
    """
    if config.split.folds:
        raise ConfigError(f"split.folds is {config.split.folds}: take cross_validate, or leave it out.")
    reporter = reporter or Silent()
    config = named_by_options(config)
    check_parts(config)
    reporter.stage("Reading scenes and labels")
    dataset = open_dataset(config.data, config.classes)
    split = split_dataset(dataset, config)
    for note in (*dataset.notes, *split.notes):
        reporter.note(note)
    ours = not is_helper()
    with results_in(Path(out), "last.safetensors", resume=resume, overwrite=overwrite, ours=ours) as folder:
        if ours:
            split.plan.write(folder / PLAN)
        reporter.note(f"The split is in {PLAN}, SHA-256 {split.plan.digest[:16]}.")
        sides = training_sides(split, config)
        if math.prod(layout(devices, nodes)) == 1:  # several processes share a loop
            config = settled(config, sides.train, len(dataset.scheme), reporter)
        reporter.stage("Training")
        return fit(
            sides.train, config, folder, scheme=dataset.scheme, validation=sides.validation, apart=sides.apart,
            device=device, devices=devices, nodes=nodes, resume=resume, reporter=reporter,
        )  # fmt: skip


def settled(config: Config, pairs: LabelledScenes, classes: int, reporter: Reporter) -> Config:
    """The configuration with the network that the labels call for, where it names none; the reason is told."""
    config, why = settle_network(config, lambda: count_labels(pairs, classes))
    if why:
        reporter.note(f"{why}.")
    return config


def training_sides(split: Split, config: Config, *, validate: bool = True) -> TrainingSides:
    """The sides of a split as a training takes them; without ``validate`` the validation side is kept apart as well."""
    simulate = config.data.simulate
    train = _plain(split.train if simulate is None else simulate_pairs(split.train, simulate))
    validation, test = _plain(split.validation), _plain(split.test)
    return TrainingSides(train, validation, test) if validate else TrainingSides(train, [], validation + test)


def find_rate(config: Config, out: str | Path, *, device: str = "auto", reporter: Reporter | None = None) -> RateTest:
    """Look for a learning rate as ``sparsecover train --find-lr`` does; nothing is trained for keeps.

    Args:
        config: everything that defines the run; with folds, the first one's labels are trained on.
        out: folder for learning_rate.png and learning_rate.csv.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """
    reporter = reporter or Silent()
    config = named_by_options(config)
    check_parts(config)
    reporter.stage("Reading scenes and labels")
    dataset = open_dataset(config.data, config.classes)
    split = split_dataset(dataset, config)
    with results_in(Path(out), "learning_rate.png", overwrite=True) as folder:
        reporter.stage("Trying learning rates")
        train = training_sides(split, config).train
        test = find_learning_rate(train, config, scheme=dataset.scheme, device=device, reporter=reporter)
        write_file(folder / "learning_rate.png", test.plot())
        write_file(folder / "learning_rate.csv", _as_csv(test))
        return test


def _as_csv(test: RateTest) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("learning_rate", "loss"))
    writer.writerows(zip(test.rates.tolist(), test.losses.tolist(), strict=True))
    return text.getvalue()


def _plain(pairs: Sequence[Pair]) -> LabelledScenes:
    return [(pair.scene, pair.labels) for pair in pairs]
