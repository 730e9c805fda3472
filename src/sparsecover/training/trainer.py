"""The loop: epochs of steps, validation, averages, saving and going on."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sparsecover.classes import UNLABELLED
from sparsecover.errors import ConfigError, DataError
from sparsecover.patches import Augmenter, Batch
from sparsecover.progress import Reporter, Silent
from sparsecover.training import processes
from sparsecover.training.compiling import try_compile
from sparsecover.training.device import PRECISIONS, resolve_device, resolve_precision
from sparsecover.training.ema import WeightAverage
from sparsecover.training.failures import Diverged, explained
from sparsecover.training.history import History, score_columns
from sparsecover.training.interrupts import Interrupts
from sparsecover.training.loader import Batches
from sparsecover.training.memory import used_bytes
from sparsecover.training.objective import as_classes, as_objective
from sparsecover.training.plain_loader import as_batches
from sparsecover.training.randomness import random_states, set_random_states
from sparsecover.training.regularisers import Regulariser
from sparsecover.training.schedule import Schedule
from sparsecover.training.state import Clock, Progress
from sparsecover.training.stepper import Stepper
from sparsecover.training.terms import Terms, term_columns
from sparsecover.training.time_limit import fitting_steps
from sparsecover.training.validation import Scores, validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Keeper(Protocol):
    """Writes files on the loop's behalf."""

    def due(self) -> bool:
        """Whether it is time to save the state."""

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Keep what is needed to go on from here."""

    def keep_epoch(self, trainer: "Trainer", better: Sequence[str]) -> None:
        """Write the weights after an epoch; ``better`` holds ``loss`` and ``iou`` where these were the best so far."""


class Trainer:
    """Trains any network on any loader of images and labels.

    Example:
        >>> trainer = Trainer(model, loss, optimizer)                            # doctest: +SKIP
        >>> history = trainer.fit(train_loader, val_loader, epochs=12)           # doctest: +SKIP

    Args:
        model: float [N, C, h, w] to logits [N, K, h, w], or a list of such in training (deep supervision).
        loss: called as ``loss(logits, target)`` with int64 targets [N, h, w]; a mean over labelled pixels.
        optimizer: over the model's parameters, with the full learning rate.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto`` (what a timing of the network itself shows to be fast), ``fp32``, ``bf16`` or ``fp16``.
        schedule: of the learning rate; its total steps are set here. Default: constant.
        augmenter: varies the training batches on the device.
        ema: average the weights; validation uses the average then.
        clip: largest gradient norm.
        accumulate: batches in one optimiser step.
        compile: try torch.compile; where it fails the network runs as it is.
        seed: of the augmentation.
        class_names: for the columns of the history.
        before_epoch: called with the number of each epoch, from 0, before it starts or goes on; for freezing.
        devices: processes on each machine, one a device. Each takes its own loader's batches, of which together one
            step is made: the gradient is that over all labelled pixels of all processes.
        nodes: machines.
        regularisers: terms of the loss on pixels without a label, by a name for the history.
        reporter: listens.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        device: str = "auto",
        precision: str = "auto",
        *,
        schedule: Schedule | None = None,
        augmenter: Augmenter | None = None,
        ema: bool = False,
        clip: float | None = None,
        accumulate: int = 1,
        compile: bool = False,
        seed: int = 0,
        class_names: Sequence[str] = (),
        before_epoch: Callable[[int], None] | None = None,
        devices: int = 1,
        nodes: int = 1,
        regularisers: Mapping[str, Regulariser] | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        if accumulate < 1:
            raise ConfigError(f"accumulate is {accumulate}; expected at least 1 batch a step.")
        self._regularisers = {name: part for name, part in (regularisers or {}).items() if part.weight}
        _check_regularisers(self._regularisers, ema, accumulate)
        self.device = resolve_device(device)
        self.model: nn.Module = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = loss.to(self.device) if isinstance(loss, nn.Module) else loss
        self.optimizer = optimizer
        self.precision = precision
        self.schedule = schedule or Schedule()
        self.progress = Progress()
        self.reporter = reporter or Silent()
        self.scores: Scores | None = None
        self.average = WeightAverage(self.model) if ema else None
        self._augmenter, self._clip, self._accumulate, self._seed = augmenter, clip, accumulate, seed
        self._compile, self._names, self._before_epoch = compile, tuple(class_names), before_epoch
        self._devices, self._nodes = devices, nodes
        self._compiled = self.model
        self._objective = as_objective(loss)
        self._ignored: int = getattr(loss, "ignore_index", UNLABELLED)
        self._stepper: Stepper | None = None
        self._restored = False
        self._sums: Tensor | None = None
        self._term_sums: Tensor | None = None
        self._shape = torch.Size()
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    @property
    def network(self) -> nn.Module:
        """The network whose weights are validated and kept: the average where there is one."""
        return self.average.model if self.average is not None else self.model

    @property
    def fabric(self) -> "Fabric | None":
        """Device, precision and processes; None before ``prepare``."""
        return None if self._stepper is None else self._stepper.fabric

    def fit(
        self,
        train_loader: Batches | Iterable[Any],
        val_loader: Batches | Iterable[Any] | None = None,
        epochs: int = 12,
        *,
        validate_every: int = 1,
        early_stopping: int | None = None,
        minutes: float | None = None,
        keeper: Keeper | None = None,
    ) -> History:
        """Train, and validate after epochs; called again, it goes on for as many epochs.

        Args:
            train_loader: yields (images float [N, C, h, w], labels integer [N, h, w]) or ``Batch``; must have a length.
            val_loader: the same; each labelled pixel once.
            epochs: passes over the loader.
            validate_every: epochs between validations; the last epoch is always validated.
            early_stopping: validations without a better loss or mIoU before training ends.
            minutes: training is shortened, with its schedule, to end in this time.
            keeper: writes files.

        Returns:
            One row an epoch: epoch, step, losses, mIoU, accuracy, IoU by class, learning rate, seconds and speed.

        Raises:
            TrainingError: the loss is not finite, or memory is short.
            KeyboardInterrupt, Terminated: on Ctrl-C and SIGTERM, after the state was saved.
        """
        train, validation = as_batches(train_loader), None if val_loader is None else as_batches(val_loader)
        self._check(train, validation, early_stopping)
        progress = self.progress
        if not self._restored:
            progress.total_steps = progress.step + epochs * -(-len(train) // self._accumulate)
        self._restored = False
        self.schedule.total_steps = progress.total_steps
        clock = Clock(progress)
        with Interrupts() as interrupts:
            while not self._ended(early_stopping):
                self._begin_epoch()
                for group in self._groups(train):
                    self._step(group)
                    clock.tick()
                    if minutes is not None and not progress.fitted:
                        self._fit_to(minutes * 60, len(train), 0 if validation is None else len(validation), keeper)
                    self._rest(interrupts, keeper)
                due = (progress.epoch + 1) % validate_every == 0 or progress.step >= progress.total_steps
                scores = self._validated(validation, interrupts, keeper) if validation is not None and due else None
                clock.tick()
                better = self._close_epoch(scores)
                if keeper is not None and not processes.rank():
                    keeper.keep_epoch(self, better)
                self._save(keeper)
            interrupts.raise_received()  # one that came while the last files were written
        return progress.rows

    def prepare(self, images: Tensor) -> None:
        """Choose the precision with the help of some images [N, C, h, w]; ``fit`` does this with its first batch."""
        if self._stepper is not None:
            return
        with explained(images.shape):
            self._set_up(images.to(self.device, memory_format=torch.channels_last))

    def _set_up(self, images: Tensor) -> None:
        self._shape = images.shape
        alone = self._devices * self._nodes == 1
        precision, reason = resolve_precision(self.precision, self.device, self.model, images, timed=alone)
        tf32 = precision == "fp32" and self.device == "cuda"
        self.reporter.note(f"Training in {precision}{' with TF32 products' if tf32 else ''}, channels last: {reason}.")
        self.precision = precision
        if tf32:
            torch.set_float32_matmul_precision("high")  # the rounding of bf16 in products only, sums in fp32
        with _quiet("lightning_fabric"):  # it announces the precision once more
            fabric = processes.make_fabric(self.device, PRECISIONS[precision], self._devices, self._nodes)
        if processes.rank():
            self.reporter = Silent()
            torch.manual_seed(self._seed + processes.rank())  # dropout of its own
        self._compiled = try_compile(self.model, images, self.reporter) if self._compile else self.model
        network, optimizer = fabric.setup(self._compiled, self.optimizer)
        if self.average is not None:
            processes.spread_first(self.average.model.state_dict().values())
        self._stepper = Stepper(fabric, network, optimizer, self._objective, self._clip)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly; tensors and plain values only. A collective of all processes."""
        assert self._stepper is not None
        state: dict[str, Any] = {
            "progress": asdict(self.progress),
            "schedule": asdict(self.schedule),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision,
            "scaler": self._stepper.fabric.strategy.precision.state_dict(),
            "random": processes.gathered(random_states(self.device)),
            "sums": self._sums,
            "term_sums": self._term_sums,
        }
        if self.average is not None:
            state["average"] = self.average.model.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any], images: Tensor) -> None:
        """Stand where the trainer that gave ``state`` stood; ``images`` as in ``prepare``."""
        self.precision = state["precision"]  # what was chosen then; a probe might choose otherwise now
        self.prepare(images)
        assert self._stepper is not None
        count = self._devices * self._nodes
        if len(state["random"]) != count:
            raise ConfigError(
                f"The run was started with {len(state['random'])} processes; given {count}. Go on with as many."
            )
        self.progress, self._restored = Progress(**state["progress"]), True
        self.schedule = Schedule(**state["schedule"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._stepper.fabric.strategy.precision.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self._sums, self._term_sums = state["sums"], state.get("term_sums")
        set_random_states(state["random"][processes.rank()])

    def _check(self, train: Batches, validation: Batches | None, early_stopping: int | None) -> None:
        if not len(train) or (validation is not None and not len(validation)):
            raise DataError("A loader is empty: there is nothing to train or to validate on. Check folders and split.")
        if validation is None and (early_stopping is not None or self.schedule.name == "reduce_plateau"):
            what = "Early stopping" if early_stopping is not None else "The schedule reduce_plateau"
            raise ConfigError(f"{what} needs validation labels, and there are none. Give some, or leave it out.")

    def _ended(self, early_stopping: int | None) -> bool:
        """Whether all steps are done and the last epoch is closed, or validations have not become better for long."""
        progress = self.progress
        if early_stopping is not None and progress.stale >= early_stopping and not progress.batch:
            self.reporter.note(f"Stopped early: no better validation in {progress.stale} validations.")
            return True
        return progress.done

    def _begin_epoch(self) -> None:
        """Training mode, and frozen what is to be frozen in this epoch."""
        self.model.train()
        if self._before_epoch is None:
            return
        before = _trained(self.model)
        self._before_epoch(self.progress.epoch)
        if self._stepper is not None and self._devices * self._nodes > 1 and _trained(self.model) != before:
            # Processes settle whose gradients they exchange when a network is set up, and wait for each of these.
            self._stepper.network = self._stepper.fabric.setup(self._compiled)

    def _groups(self, train: Batches) -> Iterator[list[Batch]]:
        """The remaining batches of the epoch, those of one step together; ends early with the last step."""
        batches = train.epoch(self.progress.epoch, self.progress.batch)
        try:
            while self.progress.step < self.progress.total_steps:
                with explained(self._shape):
                    group = list(islice(batches, self._accumulate))
                if not group:
                    return
                yield group
        finally:
            if hasattr(batches, "close"):
                batches.close()

    def _step(self, batches: list[Batch]) -> None:
        progress = self.progress
        with explained(batches[0].images.shape):
            self.prepare(batches[0].images)
            assert self._stepper is not None
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.schedule(progress.step)
            placed = [self._augmented(self._placed(b), progress.batch + i) for i, b in enumerate(batches)]
            terms = self._terms(placed[0]) if self._regularisers else None
            statistics, finite = self._stepper([b.channels_last() for b in placed], terms)
        loss = float(self._objective.finalise(statistics))
        if not finite:
            raise self._diverged(batches, loss)
        if self.average is not None:
            self.average.update(self.model, progress.step)
        self._sums = statistics if self._sums is None else self._sums + statistics
        if terms is not None:
            self._term_sums = terms.sums if self._term_sums is None else self._term_sums + terms.sums
        progress.step += 1
        progress.batch += len(batches)
        progress.windows += sum(map(len, batches)) * self._devices * self._nodes
        self._tell(loss)

    def _diverged(self, batches: Sequence[Batch], loss: float) -> Diverged:
        names = [name for batch in batches for name in batch.names]
        windows = [name for part in processes.gathered(names) for name in part]
        rate = float(self.optimizer.param_groups[0]["lr"])
        return Diverged(loss, self.progress.step + 1, self.progress.epoch + 1, rate, windows)

    def _tell(self, loss: float) -> None:
        """Show how the step went."""
        progress = self.progress
        figures = {"loss": loss}
        if self.scores is not None and self.scores.miou is not None:
            figures["mIoU"] = self.scores.miou
        if progress.speed:
            figures["img/s"] = progress.speed
        self.reporter.progress(progress.step, progress.total_steps, **figures)
        if progress.step == 1:
            self.reporter.note(f"Memory after the first step: {used_bytes(self.device) / 2**20:,.0f} MiB.")

    def _placed(self, batch: Batch) -> Batch:
        return batch.to(torch.device(self.device))

    def _augmented(self, batch: Batch, number: int) -> Batch:
        """The batch varied by a generator of its own, so that a stopped training goes on with the same one."""
        return batch if self._augmenter is None else self._augmenter(batch, self._generator(number))

    def _generator(self, number: int, *purpose: int) -> torch.Generator:
        """Random numbers of a batch of the present epoch alone, in this process."""
        key = (self._seed, self.progress.epoch, number, processes.rank(), *purpose)
        seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed >> np.uint64(1)))

    def _terms(self, batch: Batch) -> Terms:
        """The regularisers on a batch."""
        progress = self.progress
        done = progress.step / max(1, progress.total_steps)
        generator = self._generator(progress.batch, 1)
        return Terms.prepare(list(self._regularisers.values()), batch.channels_last(), done, self._teach, generator)

    @torch.no_grad()
    def _teach(self, images: Tensor) -> Tensor:
        """Logits of the averaged network."""
        assert self.average is not None
        assert self._stepper is not None
        with self._stepper.fabric.autocast():
            return as_classes(self.average.model(images))

    def _rest(self, interrupts: Interrupts, keeper: Keeper | None) -> None:
        """Between steps: save where it is time, and leave where that was asked for."""
        received = processes.gathered((interrupts.received, keeper is not None and keeper.due()))
        asked = next((signal for signal, _ in received if signal is not None), None)
        if asked is not None or received[0][1]:
            self._save(keeper)
        if asked is None:
            return  # a signal that came while all waited for each other is passed on next time
        interrupts.received = asked
        if keeper is not None:
            step = f"step {self.progress.step} of {self.progress.total_steps}"
            self.reporter.note(f"Interrupted after {step}. The state is saved; go on with --resume.")
        interrupts.raise_received()

    def _save(self, keeper: Keeper | None) -> None:
        if keeper is not None:
            state = self.state_dict()
            if not processes.rank():
                keeper.save_state(state)
            processes.gathered(None)  # none may leave, and so end the others, before the file is whole

    def _validated(self, validation: Batches, interrupts: Interrupts, keeper: Keeper | None) -> Scores:
        assert self._stepper is not None

        def watched() -> Iterator[Batch]:
            for batch in validation.epoch(0):
                yield batch
                self._rest(interrupts, keeper)

        # Running statistics of norms are each process's own; those that are kept are validated.
        processes.spread_first(self.network.buffers())
        with explained(self._shape):
            return validate(
                self.network,
                self._objective,
                watched(),
                self._placed,
                ignore_index=self._ignored,
                autocast=self._stepper.fabric.autocast,
                add=processes.summed,
            )

    def _close_epoch(self, scores: Scores | None) -> list[str]:
        """Write the epoch's row and move on to the next; returns in what it was the best so far."""
        progress = self.progress
        assert self._sums is not None
        progress.rows.append(
            {
                "epoch": progress.epoch + 1,
                "step": progress.step,
                "train_loss": float(self._objective.finalise(self._sums)),
                **term_columns(list(self._regularisers), self._term_sums),
                **score_columns(scores, self._names),
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "seconds": round(progress.epoch_seconds, 3),
                "images_per_second": round(progress.speed, 3),
            }
        )
        better: list[str] = []
        if scores is not None and scores.loss is not None:
            self.scores = scores
            better = progress.judge(scores)
            self.schedule.validated(scores.loss, progress.step)
        progress.next_epoch()
        self._sums = self._term_sums = None
        return better

    def _fit_to(self, seconds: float, batches: int, validations: int, keeper: Keeper | None) -> None:
        """Shorten training to the time given.

        The decision is saved at once: a training that goes on must not decide otherwise.
        """
        progress = self.progress
        progress.seconds = processes.of_first(progress.seconds)
        steps = fitting_steps(progress, seconds, batches, validations, self._accumulate)
        if steps is None:
            return
        progress.fitted = True
        if steps < progress.total_steps:
            text = f"Training is shortened from {progress.total_steps} to {steps} steps"
            step_s = progress.seconds / progress.step
            self.reporter.note(f"{text} of {step_s:.2g} s, to end in {seconds / 60:g} minutes.")
            progress.total_steps = steps
            self.schedule.shorten(steps)
        self._save(keeper)


def _trained(network: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in network.parameters()]


def _check_regularisers(parts: Mapping[str, Regulariser], ema: bool, accumulate: int) -> None:
    asking = [name for name, part in parts.items() if part.needs_average]
    if asking and not ema:
        raise ConfigError(f"{asking[0]} asks the averaged network: give train.ema: true.")
    if parts and accumulate > 1:
        raise ConfigError(
            f"Regularisers ({', '.join(parts)}) take each batch as a step of its own, but accumulate is {accumulate}. "
            "Set it to 1, with a larger batch where memory allows."
        )


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Only warnings from a library's logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
