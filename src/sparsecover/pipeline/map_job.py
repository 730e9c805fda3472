"""The steps of a map: train, compare with forests on the same held-out labels, predict."""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsecover.checkpoint import Checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.evaluation import Accumulator, Assessment
from sparsecover.inference import MapProduct, predict
from sparsecover.pipeline.contest import FORESTS, title
from sparsecover.pipeline.files import prepare_folder, unique_names
from sparsecover.pipeline.holding_out import Split
from sparsecover.pipeline.inputs import Inputs, Pair
from sparsecover.pipeline.predicting import listen_to_prediction
from sparsecover.pipeline.scoring import budget, gather_scores, score_checkpoint
from sparsecover.progress import Reporter
from sparsecover.training import fit
from sparsecover.training.history import trained_seconds

BASELINE = "random-forest"

_Train = Callable[[Sequence[Pair], Sequence[Pair], str], Checkpoint]
"""Labels to train on, labels that score, and a folder below the job's own, to a trained model."""

Models = dict[str, tuple[Assessment, Checkpoint]]
"""Scores on the held-out labels and the model itself, by its name; the configured one comes first."""


class Clock:
    """Seconds by stage, in ``seconds``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str, earlier: float = 0.0) -> None:
        """The time since the last lap belongs to this stage, and ``earlier`` seconds before a stop."""
        now = time.monotonic()
        self.seconds[stage], self._last = earlier + now - self._last, now


@dataclass(frozen=True)
class MapJob:
    """The steps of one run, and what they share.

    Attributes:
        out: folder of the results; those of several scenes lie in folders below it.
        inputs, config: what is mapped from which labels, and how the model is made.
        device: of training and prediction; forests take the CPU.
        resume, overwrite: whether to go on with a stopped run, and whether earlier maps may be replaced.
        reporter, clock: are told of stages, and of their time.
    """

    out: Path
    inputs: Inputs
    config: Config
    device: str
    resume: bool
    overwrite: bool
    reporter: Reporter
    clock: Clock

    def begin(self, told: Iterable[str]) -> None:
        """Make the folders of the maps and tell what there is to know before the work.

        Raises:
            OutputError: a folder that cannot be written to, or maps in it that are not to be replaced.
        """
        if not self.resume and (self.out / "state.pt").exists() and not (self.out / "report.html").exists():
            self.reporter.note(
                f"{self.out} holds a run that was stopped. It starts anew; --resume would have gone on with it."
            )
        for folder in self.folders():
            prepare_folder(folder, "map.tif", self.resume, self.overwrite)
        for text in told:
            self.reporter.note(text)
        self.clock.lap("reading")

    def models(self, split: Split, *, baseline: bool) -> Models:
        """The configured model and, with ``baseline``, the forests to compare it with."""
        name, earlier = self.config.model.name, _trained_before(self.out) if self.resume else 0.0
        models = {name: self._network(split)}
        self.clock.lap("training and scoring", earlier)
        if baseline and name != BASELINE:
            models |= {forest: self._forest(forest, split) for forest in FORESTS if forest != name}
        self.clock.lap("baselines")
        return models

    def _network(self, split: Split) -> tuple[Assessment, Checkpoint]:
        """The configured model; it is the one of the last step, so that no label steers unseen."""

        def train(pairs: Sequence[Pair], held: Sequence[Pair], folder: str) -> Checkpoint:
            self.reporter.stage("Training")
            return fit(
                pairs, self.config, self.out / folder, scheme=self.inputs.scheme, apart=held,
                ground=self.inputs.scenes, device=self.device, resume=self.resume, reporter=self.reporter,
            )  # fmt: skip

        return self._scored(split, train, self.device)

    def _forest(self, name: str, split: Split) -> tuple[Assessment, Checkpoint]:
        """A random forest on the same labels, scored on the same held-out labels."""

        def train(pairs: Sequence[Pair], held: Sequence[Pair], folder: str) -> Checkpoint:
            self.reporter.stage(f"To compare: {title(name)}")
            with tempfile.TemporaryDirectory(dir=self.out, prefix=".baseline.") as place:
                return fit_baseline(pairs, self.inputs.scheme, self.config, Path(place), name)

        return self._scored(split, train, "cpu")

    def _scored(self, split: Split, train: _Train, device: str) -> tuple[Assessment, Checkpoint]:
        """Scores on the held-out labels, and the model for the map; of folds one trained on all labels."""
        if len(split.folds) == 1:
            checkpoint = train(split.train, split.held, "")
            self.reporter.stage("Scoring held-out labels")
            return score_checkpoint(checkpoint, split.held, device=device, train=split.train), checkpoint
        gathered = Accumulator(self.inputs.scheme)
        for number, (pairs, held) in enumerate(split.folds, start=1):
            checkpoint = train(pairs, held, f"folds/{number}")
            self.reporter.stage(f"Scoring fold {number} of {len(split.folds)}")
            gather_scores(gathered, checkpoint, held, device=device)
        sides = {"train": self.inputs.pairs, "held_out": [pair for _, held in split.folds for pair in held]}
        return gathered.assessment(budget(len(self.inputs.scheme), sides)), train(self.inputs.pairs, (), "")

    def predict(self, checkpoint: Checkpoint) -> tuple[MapProduct, ...]:
        """Map every scene; several scenes get a folder each."""
        listener, overwrite = listen_to_prediction(self.reporter), self.overwrite or self.resume
        products = tuple(
            predict(
                scene, checkpoint, folder / "map.tif", confidence=folder / "confidence.tif", device=self.device,
                resume=self.resume, overwrite=overwrite, reporter=listener,
            )
            for scene, folder in zip(self.inputs.to_map, self.folders(), strict=True)
        )  # fmt: skip
        self.clock.lap("mapping")
        return products

    def folders(self) -> list[Path]:
        """The folder of each scene's map: the job's own for one scene, else one by name; equal names are numbered."""
        if len(self.inputs.scenes) == 1:
            return [self.out]
        return [self.out / name for name in unique_names([scene.name for scene in self.inputs.scenes])]


def fit_baseline(
    pairs: Sequence[Pair], scheme: ClassScheme, config: Config, folder: Path, name: str = BASELINE
) -> Checkpoint:
    """A random forest, pixel-wise by default, on some labels, normalised as the network is."""
    values = {"model": {"name": name}, "normalize": config.normalize, "seed": config.seed}
    return fit(pairs, Config.from_dict(values), folder, scheme=scheme, device="cpu")


def _trained_before(out: Path) -> float:
    """Seconds that the job's own trainings took before it was stopped; below its folder other runs may lie, too."""
    runs = [out, *out.glob("folds/*")]
    return sum(trained_seconds(run) for run in runs)
