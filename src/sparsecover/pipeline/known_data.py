"""``data``: fetch a public dataset, and tell what a dataset holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsecover.config import Config
from sparsecover.datasets import describe_dataset, find_known, get_dataset, open_dataset
from sparsecover.progress import Reporter, Silent


def download_known(name: str, root: Path | None = None, reporter: Reporter | None = None) -> Path:
    """Download and unpack a known dataset, by default into ``data/NAME``; a stopped download goes on.

    Returns:
        The folder, for ``data.root``.

    Raises:
        DataError: an unknown name; a licence that asks for a login (the message lists the steps); a server that fails.
        OutputError: the disk is full.
    """
    reporter = reporter or Silent()
    known = find_known(name)
    if known.files:
        reporter.stage(f"Downloading {known.name} (MB)")
    return get_dataset(
        known, root or _default_root(name), lambda done, total: reporter.progress(done / 1e6, total / 1e6)
    )


def describe_layout(layout: str, root: Path | None = None, settings: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the dataset in a folder of a known layout; settings are as in a configuration."""
    given = [f"data.dataset={layout}", f"data.root={root or _default_root(layout)}"]
    return describe_data(Config.from_settings([*given, *settings]))


def describe_data(config: Config) -> dict[str, Any]:
    """Open the data of a configuration and describe it (``describe_dataset``); files that cannot be used are listed.

    Raises:
        DataError: nothing can be used.
    """
    tolerant = config.data.model_copy(update={"skip_unpaired": True, "on_read_error": "skip"})
    return describe_dataset(open_dataset(tolerant, config.classes))


def _default_root(name: str) -> Path:
    """The folder of a dataset where none is given."""
    return Path("data") / name
