"""Everything that a training is made of, put together from pairs and a configuration."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import nn

from sparsecover.checkpoint import ModelSpec
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.errors import ConfigError
from sparsecover.labels import LabelRaster, class_weights
from sparsecover.losses import create_loss
from sparsecover.models import EncoderFreezer
from sparsecover.normalize import Normalizer
from sparsecover.patches import (
    Augmenter,
    Pair,
    PatchPlan,
    PatchReader,
    ResidentReader,
    check_bands,
    check_pairs,
    fits_device,
    plan_patches,
)
from sparsecover.progress import Reporter
from sparsecover.raster import Scene
from sparsecover.training.failures import explained
from sparsecover.training.hints import check_class_count, held_out_hints, with_suggestions
from sparsecover.training.loader import PatchLoader
from sparsecover.training.memory import estimate_bytes, free_bytes
from sparsecover.training.optimizer import build_optimizer
from sparsecover.training.preparing import (
    check_classes,
    check_parts,
    chosen_regularisers,
    configured_scheme,
    held_plan,
    in_memory,
    scene_normalizer,
)
from sparsecover.training.processes import rank
from sparsecover.training.regularisers import Ground, Regulariser, Suggester
from sparsecover.training.schedule import Schedule
from sparsecover.training.trainer import Trainer


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
        resident: whether scenes and labels are held on the device.
        regularisers: by name.
        hints: what they know of each training pair beside its labels; see ``sparsecover.training.hints``.
        ground: scenes to be mapped, as far as that is known: those that train, or more.
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
    resident: bool = False
    regularisers: Mapping[str, Regulariser] = field(default_factory=dict)
    hints: Sequence[LabelRaster] | None = None
    ground: Sequence[Scene] = ()

    @classmethod
    def prepare(
        cls,
        pairs: list[Pair],
        held_pairs: list[Pair],
        config: Config,
        scheme: ClassScheme | None,
        device: str,
        reporter: Reporter,
        apart: Sequence[Pair] = (),
        ground: Sequence[Scene] = (),
    ) -> "Run":
        """Plan windows, fit the normaliser, and resolve what the configuration leaves open.

        ``apart`` are further labels where nothing is to be inferred; ``ground`` is to be mapped, by default ``pairs``.
        """
        check_parts(config)
        scheme = scheme or pairs[0][1].scheme or configured_scheme(config)
        check_classes(scheme)
        check_pairs([*pairs, *held_pairs])
        check_bands([*(scene for scene, _ in pairs), *ground])
        Augmenter.from_config(config.augment).check_bands(len(pairs[0][0].bands))
        patches = config.patches
        plan = plan_patches(
            [labels for _, labels in pairs],
            num_classes=len(scheme),
            size_px=patches.size_px,
            per_epoch=patches.per_epoch,
            sampling=patches.sampling,
            seed=config.seed,
        )
        held = held_plan(held_pairs, plan, len(scheme))
        normalizer = scene_normalizer([scene for scene, _ in pairs], plan, config)
        regularisers = chosen_regularisers(config)
        if regularisers:
            check_class_count(len(scheme))
        hints = held_out_hints(pairs, [*held_pairs, *apart]) if regularisers else None
        ground = ground or [scene for scene, _ in pairs]
        given, (pairs, how) = pairs, in_memory(pairs, config)
        held_there = {id(scene): kept for (scene, _), (kept, _) in zip(given, pairs, strict=True)}
        held_pairs, _ = in_memory(held_pairs, config)
        resident = fits_device([*pairs, *held_pairs], patches.cache, device)
        reporter.note(f"{how[0].upper()}{how[1:]}{', and on the device' if resident else ''}.")
        resolved = config.with_changes(
            {"patches.size_px": plan.size_px, "patches.per_epoch": plan.per_epoch, "patches.sampling": plan.sampling}
        )
        return cls(
            resolved, scheme, pairs, plan, held, held_pairs, normalizer, device, reporter, resident=resident,
            regularisers=regularisers, hints=hints, ground=[held_there.get(id(scene), scene) for scene in ground],
        )  # fmt: skip

    def infer_labels(self, network: nn.Module | None) -> None:
        """Let regularisers suggest labels; ``network`` comes from a first round of training, where one asks for it."""
        for part in self.regularisers.values():
            if isinstance(part, Suggester) and part.weight:
                read = self.window_reader(self.pairs)
                ground = Ground(self.pairs, read, len(self.scheme), self.plan.size_px, network, self.device)
                suggested, what = part.suggest(ground)
                self.hints = with_suggestions(self.hints, self.pairs, suggested)
                self.reporter.note(f"{what}.")

    @cached_property
    def spec(self) -> ModelSpec:
        """The network by name, as a checkpoint holds it."""
        model = self.config.model
        return ModelSpec(model.name, len(self.pairs[0][0].bands), len(self.scheme), model.options)

    @cached_property
    def model(self) -> nn.Module:
        """The network to train on its device, with fresh or pretrained weights."""
        network = self.spec.build().to(self.device)
        if not self.config.train.sync_batchnorm or self.devices * self.nodes == 1:
            return network
        if self.device != "cuda":
            raise ConfigError("train.sync_batchnorm works on GPUs; on a CPU take model.norm=group instead.")
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call, no-any-return]

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of what is trained and validated on, and looked at besides."""
        scenes = hashlib.sha256(repr(self.normalizer.as_dict()).encode())
        looked_at = self.ground if getattr(self.model, "estimate_shares", False) else ()
        for scene in [*(scene for scene, _ in [*self.pairs, *self.held_pairs]), *looked_at]:
            scenes.update(
                f"{scene.name}|{scene.grid.height}|{scene.grid.width}|{scene.dtype}|{len(scene.bands)}".encode()
            )
        validation = "" if self.held is None else self.held.digest()
        return {"scenes": scenes.hexdigest(), "labels": self.plan.digest(), "validation labels": validation}

    def trainer(self) -> Trainer:
        """The loop, its parts chosen as configured; which windows it takes is told."""
        config = self.config
        self.reporter.note(f"{self.plan.reason}.")
        optimizer = build_optimizer(
            self.model,
            config.optim.name,
            config.optim.lr,
            config.optim.weight_decay,
            encoder_lr_factor=config.model.encoder_lr_factor,
        )
        steps = -(-len(self.loader(self.plan, self.pairs)) // config.train.accumulate)
        warmup = config.schedule.warmup_steps
        schedule = Schedule(
            config.schedule.name,
            steps * config.train.epochs,
            round(config.schedule.warmup_epochs * steps) if warmup is None else warmup,
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
            augmenter=None if config.augment == "none" else Augmenter.from_config(config.augment),
            ema=config.train.ema,
            clip=config.train.clip,
            accumulate=config.train.accumulate,
            compile=config.train.compile,
            seed=config.seed,
            class_names=self.scheme.names,
            before_epoch=self._thawing(),
            devices=self.devices,
            nodes=self.nodes,
            regularisers=self.regularisers,
            reporter=self.reporter,
        )

    def _thawing(self) -> Callable[[int], None] | None:
        """Freezes the encoder for the first epochs; a function of the epoch alone, so that it survives a resume."""
        frozen, way = self.config.model.freeze_encoder_epochs, self.config.model.unfreeze
        if not frozen:
            return None
        freezer = EncoderFreezer(self.model)

        def thaw(epoch: int) -> None:
            everything = None if way == "all" else epoch - frozen + 1
            freezer.unfreeze(0 if epoch < frozen else everything)

        return thaw

    def note_absent_classes(self) -> None:
        """Tell which classes nothing can be learned of."""
        counts = self.plan.class_counts
        missing = [name for name, count in zip(self.scheme.names, counts, strict=True) if not count]
        if missing:
            self.reporter.note(
                f"No labelled training pixel: {', '.join(missing)}. The map will not show these classes."
            )

    def note_unreadable(self) -> None:
        """Tell which windows were left out."""
        if self.unreadable:
            self.reporter.note(
                f"Windows were left out, as they could not be read: {'; '.join(sorted(self.unreadable))}."
            )

    def _class_weights(self) -> list[float] | None:
        self.note_absent_classes()
        counts, kind = self.plan.class_counts, self.config.loss.class_weights
        if kind == "none":
            return None
        return [float(weight) for weight in class_weights(counts, kind)]

    def loader(self, plan: PatchPlan, pairs: Sequence[Pair]) -> PatchLoader:
        """Batches of the training plan, or each window of a validation plan once."""
        return PatchLoader(
            self.reader(pairs),
            plan if plan is self.plan else plan.tiling(),
            self.config.train.batch_size,
            self.config.train.workers,
            pin=self.device == "cuda",
            rank=rank(),
            world=self.devices * self.nodes,
        )

    def reader(self, pairs: Sequence[Pair]) -> PatchReader | ResidentReader:
        """Reads windows of the training or the validation pairs."""
        if self.resident:
            return self._resident_training if pairs is self.pairs else self._resident_validation
        return self.window_reader(pairs)

    def window_reader(self, pairs: Sequence[Pair]) -> PatchReader:
        """Reads windows one by one, on the processor."""
        skipped = self.unreadable if self.config.data.on_read_error == "skip" else None
        return PatchReader(pairs, self.normalizer, skipped, self.hints if pairs is self.pairs else None)

    @cached_property
    def _resident_training(self) -> ResidentReader:
        return ResidentReader(self.pairs, self.normalizer, self.device, self.hints)

    @cached_property
    def _resident_validation(self) -> ResidentReader:
        return ResidentReader(self.held_pairs, self.normalizer, self.device)

    def _note_memory(self) -> None:
        train = self.config.train
        with explained((1, self.spec.in_channels, self.plan.size_px, self.plan.size_px)):
            size = estimate_bytes(
                self.model,
                self.spec.in_channels,
                self.plan.size_px,
                train.batch_size,
                optimizer=self.config.optim.name,
                ema=train.ema,
            )
        there = free_bytes(self.device)
        warning = ". That will hardly do: lower train.batch_size" if size > there else ""
        text = f"Training takes about {size / 2**20:,.0f} MiB beside the scenes"
        self.reporter.note(f"{text}; {there / 2**20:,.0f} MiB are free{warning}.")
