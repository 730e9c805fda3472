"""The labels of a dataset on their sides, as a configuration or a plan says."""

from pathlib import Path

from sparsecover.config import Config
from sparsecover.datasets import Dataset, Split, open_dataset, simulated_note, split_folds, split_pairs
from sparsecover.errors import OutputError
from sparsecover.patches import auto_size_px

PLAN = "split.json"


def split_dataset(dataset: Dataset, config: Config) -> Split:
    """Training, validation and test side; the automatic buffer between them is a training window wide.

    Classes that have fewer labels for training than ``data.simulate`` asks for are noted.
    """
    split = split_pairs(
        dataset.pairs, config.split, config.seed, len(dataset.scheme), patch_px=_patch_px(dataset, config)
    )
    if short := simulated_note(split.train, config.data.simulate, dataset.scheme):
        split.notes.append(short)
    return split


def split_dataset_folds(dataset: Dataset, config: Config) -> list[Split]:
    """The splits of a cross-validation; buffers and notes are as in ``split_dataset``, the latter of one fold."""
    splits = split_folds(
        dataset.pairs, config.split, config.seed, len(dataset.scheme), patch_px=_patch_px(dataset, config)
    )
    for number, split in enumerate(splits, start=1):
        if short := simulated_note(split.train, config.data.simulate, dataset.scheme):
            split.notes.append(f"Fold {number}: {short[0].lower()}{short[1:]}")
            break  # the other folds are much alike
    return splits


def write_split(config: Config, out: Path, *, overwrite: bool = False) -> tuple[Split, Dataset]:
    """Divide a configuration's labels and write the plan, for ``split.plan`` of other configurations.

    Raises:
        OutputError: the file is there already, or cannot be written.
    """
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already. Name another file, or give --overwrite.")
    dataset = open_dataset(config.data, config.classes)
    split = split_dataset(dataset, config)
    split.plan.write(out)
    return split, dataset


def _patch_px(dataset: Dataset, config: Config) -> int:
    size = config.patches.size_px
    return auto_size_px([pair.scene.grid for pair in dataset.pairs]) if size == "auto" else size
