"""Everything that a training is made of, put together from pairs and a configuration."""

import contextlib
import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sparsecover import __version__, metrics
from sparsecover.checkpoint import Checkpoint, ModelSpec, load_checkpoint, save_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.errors import ConfigError, DataError
from sparsecover.labels import class_weights
from sparsecover.losses import create_loss
from sparsecover.models import EncoderFreezer
from sparsecover.normalize import Normalizer, fit_normalizer
from sparsecover.patches import Augmenter, Pair, Patch, PatchPlan, PatchReader, cache_pairs, check_pairs, plan_patches
from sparsecover.progress import Reporter
from sparsecover.raster import Scene
from sparsecover.training.loader import PatchLoader
from sparsecover.training.memory import estimate_bytes
from sparsecover.training.optimizer import build_optimizer
from sparsecover.training.processes import gathered, rank
from sparsecover.training.run_files import BEST_IOU, LAST, RunFiles, describe_failure
from sparsecover.training.schedule import Schedule
from sparsecover.training.trainer import Diverged, Trainer
from sparsecover.training.validation import Scores

_PREVIEW_PX = 1024  # scenes are read this small for band statistics
_PREVIEWS = 200  # and at most this many of them


@dataclass
class Run:
    """Everything that a training is made of.

    Attributes:
        config: with ``auto`` values resolved.
        scheme: classes by index.
        pairs: that train, cached where that was chosen.
        plan: windows of the training.
        held: windows of the validation; None without labels for it.
        held_pairs: that are validated on.
        normalizer: fitted on the training scenes.
        device: ``cpu``, ``cuda`` or ``mps``.
        reporter: listens.
        devices, nodes: processes a machine, and machines.
        unreadable: why windows were left out.
    """

    config: Config
    scheme: ClassScheme
    pairs: Sequence[Pair]
    plan: PatchPlan
    held: PatchPlan | None
    held_pairs: Sequence[Pair]
    normalizer: Normalizer
    device: str
    reporter: Reporter
    devices: int = 1
    nodes: int = 1
    unreadable: set[str] = field(default_factory=set)

    @classmethod
    def prepare(
        cls,
        pairs: list[Pair],
        held_pairs: list[Pair],
        config: Config,
        scheme: ClassScheme | None,
        device: str,
        reporter: Reporter,
    ) -> "Run":
        """Plan windows, fit the normaliser, and resolve what the configuration leaves open."""
        scheme = scheme or pairs[0][1].scheme or _scheme_of(config)
        check_pairs([*pairs, *held_pairs])
        patches = config.patches
        plan = plan_patches(
            [labels for _, labels in pairs],
            num_classes=len(scheme),
            size_px=patches.size_px,
            per_epoch=patches.per_epoch,
            sampling=patches.sampling,
            seed=config.seed,
        )
        reporter.note(f"{plan.reason}.")
        held = _held_plan(held_pairs, plan, len(scheme))
        normalizer = _fit_normalizer(config, [scene for scene, _ in pairs])
        pairs, how = cache_pairs(pairs, patches.cache)
        held_pairs, _ = cache_pairs(held_pairs, patches.cache)
        reporter.note(f"{how[0].upper()}{how[1:]}.")
        resolved = config.with_changes(
            {"patches.size_px": plan.size_px, "patches.per_epoch": plan.per_epoch, "patches.sampling": plan.sampling}
        )
        return cls(resolved, scheme, pairs, plan, held, held_pairs, normalizer, device, reporter)

    @cached_property
    def spec(self) -> ModelSpec:
        """The network by name, as a checkpoint holds it."""
        model = self.config.model
        return ModelSpec(model.name, len(self.pairs[0][0].bands), len(self.scheme), model.options)

    @cached_property
    def model(self) -> nn.Module:
        """The network to train, with fresh or pretrained weights."""
        return self.spec.build()

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of what is trained and validated on."""
        scenes = hashlib.sha256(repr(self.normalizer.as_dict()).encode())
        for scene, _ in [*self.pairs, *self.held_pairs]:
            scenes.update(
                f"{scene.name}|{scene.grid.height}|{scene.grid.width}|{scene.dtype}|{len(scene.bands)}".encode()
            )
        validation = "" if self.held is None else self.held.digest()
        return {"scenes": scenes.hexdigest(), "labels": self.plan.digest(), "validation labels": validation}

    def files(self, out: Path) -> RunFiles:
        """The folder of the run."""
        train = self.config.train
        return RunFiles(
            out,
            self.config.to_dict(),
            self.digests,
            lambda trainer: self.checkpoint(trainer.network, trainer.scores),
            60 * train.save_every_minutes,
            train.save_top_k,
            train.save_every_epochs,
        )

    def train(self, files: RunFiles, state: dict[str, Any] | None) -> Checkpoint:
        """Run the loop from the start or from a saved state."""
        config = self.config.train
        trainer = self.trainer()
        images = torch.zeros(config.batch_size, self.spec.in_channels, self.plan.size_px, self.plan.size_px)
        if state is None:
            trainer.prepare(images)
        else:
            trainer.load_state_dict(state["trainer"], images)
            self.reporter.note(f"Going on after step {trainer.progress.step} of {trainer.progress.total_steps}.")
        self.config = self.config.with_changes({"train.precision": trainer.precision})
        if not rank():
            files.write_text("config.yaml", self.config.to_yaml())
        try:
            history = trainer.fit(
                self.loader(self.plan, self.pairs),
                None if self.held is None else self.loader(self.held, self.held_pairs),
                config.epochs,
                validate_every=config.validate_every,
                early_stopping=config.early_stopping,
                minutes=config.minutes,
                keeper=files,
            )
        except Diverged as error:
            if not rank():
                files.write_text("diverged.txt", describe_failure(error))
            raise
        if self.unreadable:
            self.reporter.note(
                f"Windows were left out, as they could not be read: {'; '.join(sorted(self.unreadable))}."
            )
        stopped_early = trainer.progress.step < trainer.progress.total_steps
        name = BEST_IOU if stopped_early else LAST
        result = files.finish(name, history) if not rank() else None
        gathered(None)  # the others wait for the files
        return result or load_checkpoint(files.out / name)

    def fit_pixels(self, files: RunFiles) -> Checkpoint:
        """Fit a model that takes labelled pixels and needs no loop: each labelled pixel is given once."""
        loader = PatchLoader(self._reader(self.pairs), self._surroundings(), 1)

        def windows() -> Iterator[tuple[Tensor, Tensor]]:
            for number, batch in enumerate(loader.epoch(0), start=1):
                yield batch.images, batch.labels.long()
                self.reporter.progress(number, len(loader))

        files.write_text("config.yaml", self.config.to_yaml())
        total = int(self.plan.class_counts.sum())
        grow = cast(Callable[..., dict[str, int]], self.model.fit_pixels)
        options = grow(windows(), total, self.config.seed)
        save_checkpoint(files.out / LAST, self.checkpoint(self.model.eval(), None, options))
        return files.finish(LAST, [])

    def _surroundings(self) -> list[Patch]:
        """Each tile with labels and as much around it as the model's features see."""
        halo = int(getattr(self.model, "halo_px", 0))
        tiles = ((patch, patch.own or patch.window) for patch in self.plan.tiling())
        return [
            Patch(patch.pair, own.expand(halo).intersect(self.plan.grids[patch.pair].window), own)
            for patch, own in tiles
        ]

    def checkpoint(
        self, network: nn.Module, scores: Scores | None, found: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        """The network as it is now, with all that prediction needs; ``found`` are options that training decided."""
        options = {**self.spec.options, **(found or {})}
        if options.get("encoder_weights") is not None:
            options["encoder_weights"] = None  # they are in the state; restoring must not download anything
        first = self.pairs[0][0]
        size = first.grid.pixel_size_m
        return Checkpoint(
            config=self.config.to_dict(),
            scheme=self.scheme,
            bands=tuple(band.name for band in first.bands),
            normalizer=self.normalizer,
            model_spec=ModelSpec(self.spec.name, self.spec.in_channels, self.spec.num_classes, options),
            patch_size_px=self.plan.size_px,
            state=network.state_dict(),
            resolution_m=None if size is None else float(np.mean(size)),
            metrics=self._metrics(scores),
            versions=_versions(),
            digests=self.digests,
        )

    def _metrics(self, scores: Scores | None) -> dict[str, Any]:
        """Scores on the validation labels (None where there are none), and how many labels were used."""
        classes = len(self.scheme)
        confusion = np.zeros((classes, classes), np.int64) if scores is None else scores.confusion
        sides = {"train": self.plan.class_counts}
        if self.held is not None:
            sides["validation"] = self.held.class_counts
        names = self.scheme.names
        return {
            **metrics.summary(confusion, names),
            "loss": None if scores is None else scores.loss,
            "labelled_pixels": {side: int(counts.sum()) for side, counts in sides.items()},
            "labelled_pixels_by_class": {
                side: dict(zip(names, counts.tolist(), strict=True)) for side, counts in sides.items()
            },
            "classes": self.scheme.as_dicts(),
        }

    def trainer(self) -> Trainer:
        """The loop, its parts chosen as configured."""
        config = self.config
        optimizer = build_optimizer(
            self.model,
            config.optim.name,
            config.optim.lr,
            config.optim.weight_decay,
            encoder_lr_factor=config.model.encoder_lr_factor,
        )
        steps = -(-len(self.loader(self.plan, self.pairs)) // config.train.accumulate)
        schedule = Schedule(
            config.schedule.name,
            steps * config.train.epochs,
            round(config.schedule.warmup_epochs * steps),
            config.schedule.warmup_start,
            config.schedule.patience,
            config.schedule.factor,
        )
        self._note_memory()
        return Trainer(
            self.model,
            create_loss(config.loss.name, weight=self._class_weights(), **config.loss.options),
            optimizer,
            self.device,
            config.train.precision,
            schedule=schedule,
            augmenter=None if config.augment == "none" else Augmenter.preset(config.augment),
            ema=config.train.ema,
            clip=config.train.clip,
            accumulate=config.train.accumulate,
            compile=config.train.compile,
            seed=config.seed,
            class_names=self.scheme.names,
            before_epoch=self._thawing(),
            devices=self.devices,
            nodes=self.nodes,
            reporter=self.reporter,
        )

    def _thawing(self) -> Callable[[int], None] | None:
        """Freezes the encoder for the first epochs; a function of the epoch alone, so that it survives a resume."""
        frozen, way = self.config.model.freeze_encoder_epochs, self.config.model.unfreeze
        if not frozen:
            return None
        if self.devices * self.nodes > 1:
            raise ConfigError("model.freeze_encoder_epochs works in one process only; set it to 0 or use one device.")
        freezer = EncoderFreezer(self.model)

        def thaw(epoch: int) -> None:
            everything = None if way == "all" else epoch - frozen + 1
            freezer.unfreeze(0 if epoch < frozen else everything)

        return thaw

    def _class_weights(self) -> list[float] | None:
        counts, kind = self.plan.class_counts, self.config.loss.class_weights
        missing = [name for name, count in zip(self.scheme.names, counts, strict=True) if not count]
        if missing:
            self.reporter.note(
                f"No labelled training pixel: {', '.join(missing)}. The map will not show these classes."
            )
        if kind == "none":
            return None
        return [float(weight) for weight in class_weights(counts, kind)]

    def loader(self, plan: PatchPlan, pairs: Sequence[Pair]) -> PatchLoader:
        """Batches of the training plan, or each window of a validation plan once."""
        return PatchLoader(
            self._reader(pairs),
            plan if plan is self.plan else plan.tiling(),
            self.config.train.batch_size,
            self.config.train.workers,
            pin=self.device == "cuda",
            rank=rank(),
            world=self.devices * self.nodes,
        )

    def _reader(self, pairs: Sequence[Pair]) -> PatchReader:
        skipped = self.unreadable if self.config.data.on_read_error == "skip" else None
        return PatchReader(pairs, self.normalizer, skipped)

    def _note_memory(self) -> None:
        train = self.config.train
        size = estimate_bytes(
            self.model,
            self.spec.in_channels,
            self.plan.size_px,
            train.batch_size,
            optimizer=self.config.optim.name,
            ema=train.ema,
        )
        self.reporter.note(f"Training takes about {size / 2**20:,.0f} MiB beside the scenes.")


@contextlib.contextmanager
def seeded(config: Config, device: str) -> Iterator[None]:
    """Random numbers of torch from the seed, and its algorithms as configured, without disturbing the caller's."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(config.seed)
        torch.use_deterministic_algorithms(config.train.deterministic or before[0])
        torch.backends.cudnn.benchmark = not config.train.deterministic  # all windows have one size
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.backends.cudnn.benchmark = before[1]


def _scheme_of(config: Config) -> ClassScheme:
    if config.classes is None:
        raise DataError(
            "The labels carry no classes. Give fit(..., scheme=ClassScheme.from_names([...])), or classes: in the "
            "configuration."
        )
    return ClassScheme.from_config(config.classes)


def _held_plan(pairs: Sequence[Pair], plan: PatchPlan, num_classes: int) -> PatchPlan | None:
    """Windows over the validation labels; None where there are none."""
    labels = [raster for _, raster in pairs]
    if not any(raster.counts(num_classes).any() for raster in labels):
        return None
    return plan_patches(labels, num_classes=num_classes, size_px=plan.size_px, sampling="grid")


def _fit_normalizer(config: Config, scenes: Sequence[Scene]) -> Normalizer:
    """Statistics of small versions of the scenes; of many scenes, some drawn by the seed."""
    order = np.random.default_rng(config.seed).permutation(len(scenes))[:_PREVIEWS]
    samples = (scenes[i].preview(_PREVIEW_PX) for i in sorted(order.tolist()))
    return fit_normalizer(config.normalize, samples, scenes[0].dtype, len(scenes[0].bands))


def _versions() -> dict[str, str]:
    names = ("torch", "numpy", "lightning-fabric")
    return {
        "sparsecover": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }
