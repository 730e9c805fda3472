"""Fixtures that all tests share."""

import os
import signal
from pathlib import Path

import pytest

# Test processes run side by side; with several threads each they would wait for one another at every step.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background ignores Ctrl-C, and so would every process that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real imagery; tests on it are skipped where it is absent."""
    folder = Path(os.environ.get("SPARSECOVER_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real imagery is not at {folder}; set SPARSECOVER_DATA to its folder")
    return folder
