"""How long work tells what it is doing; the command line shows it, a library caller may listen or not."""

from typing import Protocol


class Reporter(Protocol):
    """Listens to a run."""

    def stage(self, title: str) -> None:
        """A new part of the work begins."""

    def progress(self, done: float, total: float, **values: float | str) -> None:
        """So much of the stage is done; values are figures to show, such as loss or mpix_s."""

    def note(self, text: str) -> None:
        """Something to know."""


class Silent:
    """Listens to nothing."""

    def stage(self, title: str) -> None:
        """Ignore."""

    def progress(self, done: float, total: float, **values: float | str) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""
