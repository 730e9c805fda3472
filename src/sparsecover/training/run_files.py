"""The files of a run: checkpoints, history, figures, and the state for going on. Each appears whole or not at all."""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from sparsecover import __version__, figures, metrics
from sparsecover.atomic import replacing
from sparsecover.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sparsecover.errors import CheckpointError, ConfigError
from sparsecover.training.board import Board
from sparsecover.training.history import History, as_csv
from sparsecover.training.trainer import Trainer

STATE = "state.pt"
LAST, BEST_LOSS, BEST_IOU = "last.safetensors", "best_loss.safetensors", "best_iou.safetensors"

_RESULTS = (
    LAST, BEST_LOSS, BEST_IOU, "epoch_*.safetensors", "history.csv", "metrics.json", "manifest.json", "diverged.txt",
    "curves.png", "per_class_iou.png", "samples_*.png", "tensorboard/events.*",
)  # fmt: skip
_VERSION = 1
# Settings that change no weight, so that a run may go on with others.
_FREE = {
    "train.workers",
    "train.save_every_minutes",
    "train.save_top_k",
    "train.save_every_epochs",
    "train.samples_every",
    "patches.cache",
}
_SECTIONS = ("patches", "normalize", "augment", "model", "loss", "optim", "schedule", "train", "seed")


@dataclass
class RunFiles:
    """Keeps a run in a folder; the ``Keeper`` of its trainer.

    Attributes:
        out: the folder, made when first written to.
        settings: the configuration as given, plain values.
        digests: of what is trained on.
        checkpoint: makes the checkpoint of a trainer's present network.
        save_every_s: longest time without saving the state.
        top_k: the networks of so many epochs with the best mIoU are kept beside the others.
        every_epochs: the network of every so many epochs is kept; None keeps none.
        sheet: draws validation samples as a network predicts them; a PNG.
        sheet_every: epochs between such sheets, besides one at the end; None draws none.
    """

    out: Path
    settings: Mapping[str, Any]
    digests: Mapping[str, str]
    checkpoint: Callable[[Trainer], Checkpoint]
    save_every_s: float = 300.0
    top_k: int = 0
    every_epochs: int | None = None
    sheet: Callable[[nn.Module], bytes] | None = None
    sheet_every: int | None = None
    _saved: float = field(default_factory=time.monotonic)
    _board: Board = field(init=False)

    def __post_init__(self) -> None:
        self._board = Board(self.out / "tensorboard")

    def clear(self) -> None:
        """Remove the files of an earlier run, so that none is mistaken for one of this."""
        # The state goes first: without it nothing can be resumed from a folder that is half cleared.
        for path in [self.out / STATE, *(path for pattern in _RESULTS for path in self.out.glob(pattern))]:
            path.unlink(missing_ok=True)

    def restore(self) -> dict[str, Any] | None:
        """The saved state: None without one; under ``result`` the name of the checkpoint where the run has ended.

        Raises:
            CheckpointError: a damaged state, or one of another release.
            ConfigError: the settings, scenes or labels are not those that the run was started with.
        """
        path = self.out / STATE
        if not path.is_file():
            return None
        try:
            # weights_only: tensors and plain values, no code.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            version = state["version"]
        except Exception as error:  # torch raises errors of many kinds for files that are not its own
            raise CheckpointError(
                f"{path} is damaged ({type(error).__name__}); start anew without --resume."
            ) from error
        if version != _VERSION:
            release = str(state.get("release", "another release"))[:40]
            raise CheckpointError(f"{path} was written by sparsecover {release}; go on with that one, or start anew.")
        self._check_same(state)
        return state

    def due(self) -> bool:
        """Whether the state was saved too long ago."""
        return time.monotonic() - self._saved >= self.save_every_s

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write what is needed to go on from here."""
        self._write_state({"trainer": dict(state)})
        self._saved = time.monotonic()

    def keep_epoch(self, trainer: Trainer, better: Sequence[str]) -> None:
        """Write the network under the names that it has earned, and the history.

        The state is saved after this, not before: a run killed in between repeats the end of the epoch and writes the
        same files again.
        """
        checkpoint, history = self.checkpoint(trainer), trainer.progress.rows
        earned = {"loss": BEST_LOSS, "iou": BEST_IOU}
        for name in [LAST, *(earned[kind] for kind in better), *self._numbered(history)]:
            save_checkpoint(self.out / name, checkpoint)
        self._write("history.csv", as_csv(history).encode())
        self._board.write(history[-1])
        self._draw_samples(trainer)

    def _draw_samples(self, trainer: Trainer) -> None:
        epoch, ended = trainer.progress.epoch, trainer.progress.done
        if self.sheet is not None and self.sheet_every and (epoch % self.sheet_every == 0 or ended):
            self._write(f"samples_{epoch:04d}.png", self.sheet(trainer.network))

    def finish(self, name: str, history: History) -> Checkpoint:
        """Write metrics and figures about the run's result, the checkpoint ``name``, and mark the run as ended."""
        checkpoint = load_checkpoint(self.out / name)
        self.write_json("metrics.json", checkpoint.metrics)
        confusion = np.asarray(checkpoint.metrics["confusion"], np.int64)
        scheme = checkpoint.scheme
        panels = [panel for panel in get_args(figures.Panel) if figures.panel_columns(history, panel)]
        if panels:  # a forest has none
            self._write("curves.png", figures.curves(history, panels))
        if confusion.any():
            scores = metrics.iou(confusion)
            self._write("per_class_iou.png", figures.per_class_iou(scheme.names, scheme.colors, scores))
        self._write_state({"result": name})
        self._board.close()
        return checkpoint

    def write_text(self, name: str, text: str) -> None:
        """Write a small file."""
        self._write(name, text.encode())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write plain values."""
        self._write(name, json.dumps(content, indent=2).encode())

    def _numbered(self, history: History) -> list[str]:
        """Names of the last epoch's network by number, after removing those that are no longer among the best."""
        epoch = len(history)
        every = bool(self.every_epochs) and epoch % (self.every_epochs or 1) == 0
        if self.top_k:
            scored = [(row["miou"], row["epoch"]) for row in history if row["miou"] is not None]
            best = {number for _, number in sorted(scored, reverse=True)[: self.top_k]}
            for path in self.out.glob("epoch_*_top.safetensors"):
                if int(path.name.split("_")[1]) not in best:
                    path.unlink()
            top = epoch in best
        else:
            top = False
        return [f"epoch_{epoch:04d}.safetensors"] * every + [f"epoch_{epoch:04d}_top.safetensors"] * top

    def _check_same(self, state: Mapping[str, Any]) -> None:
        before, now = _flat(state["settings"]), _flat(self.settings)
        changed = sorted(k for k in {*before, *now} if before.get(k) != now.get(k) and k not in _FREE)
        if changed:
            listed = "; ".join(f"{k} was {before.get(k)!r} and is {now.get(k)!r}" for k in changed[:5])
            raise ConfigError(
                f"The run in {self.out} cannot go on with other settings: {listed}. Put them back, or give another "
                "--out."
            )
        other = [name for name, digest in self.digests.items() if state["digests"].get(name) != digest]
        if other:
            raise ConfigError(
                f"The run in {self.out} was started with other {' and '.join(other)}; to go on exactly, all must be as "
                "it was, the release of sparsecover too. Give another --out for a new training."
            )

    def _write_state(self, content: Mapping[str, Any]) -> None:
        common = {"version": _VERSION, "release": __version__}
        plan = {"settings": dict(self.settings), "digests": dict(self.digests)}
        with replacing(self.out / STATE) as temporary:
            try:
                torch.save({**common, **plan, **content}, temporary)
            except RuntimeError as error:  # torch's word for a full disk
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({str(error).splitlines()[0]})") from error

    def _write(self, name: str, content: bytes) -> None:
        with replacing(self.out / name) as temporary:
            temporary.write_bytes(content)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide about weights, by dotted key; where data lies is told by the digests."""
    flat: dict[str, Any] = {}
    for section in _SECTIONS:
        value = settings.get(section)
        if isinstance(value, Mapping):
            flat |= {f"{section}.{key}": inner for key, inner in value.items()}
        else:
            flat[section] = value
    return flat
