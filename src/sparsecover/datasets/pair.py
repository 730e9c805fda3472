"""What a training set is made of, wherever it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sparsecover.classes import ClassScheme
from sparsecover.config import SimulateConfig
from sparsecover.errors import LabelError
from sparsecover.grid import Window
from sparsecover.labels import LabelFile, LabelRaster, check_request, fewer_than_asked, simulate_labels
from sparsecover.labels.arrays import Indices
from sparsecover.raster import Scene

Labels = LabelRaster | LabelFile


@dataclass(frozen=True, eq=False)
class Pair:
    """A scene with its labels.

    ``split`` is the side (train, validation, test) that the dataset itself gives, ``windows`` the samples that a
    published split is made of; labels outside these are already taken away.
    """

    scene: Scene
    labels: Labels
    name: str
    split: str | None = None
    windows: tuple[Window, ...] | None = None

    @property
    def key(self) -> str:
        """The name, with the side where a published split has windows of one scene on several."""
        return f"{self.name} ({self.split})" if self.windows is not None and self.split else self.name

    @property
    def scene_key(self) -> str:
        """The files of the scene, the same for all pairs that it is in."""
        return "\n".join(self.scene.paths) or self.name

    def with_labels(self, labels: Labels) -> "Pair":
        """The same scene with other labels."""
        return replace(self, labels=labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pairs with one scheme of classes, notes on how they were read, and (among these) what was left out and why."""

    pairs: list[Pair]
    scheme: ClassScheme
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def check_sampler(config: SimulateConfig | None) -> None:
    """Refuse what no labels could be drawn by, before any are read; where none are drawn, None, all is well.

    Raises:
        LabelError: an unknown sampler or option, or a budget that the sampler does not take.
    """
    if config is None:
        return
    misplaced = sorted(config.options.keys() & {"sampler", "fraction", "n", "seed"})
    if misplaced:
        raise LabelError(f"data.simulate.options holds {misplaced[0]}, which is data.simulate.{misplaced[0]} itself.")
    check_request(config.sampler, fraction=config.fraction, n=config.n, options=config.options)


def simulate_pairs(pairs: Sequence[Pair], config: SimulateConfig) -> list[Pair]:
    """Pairs that keep only a simulated part of their labels, the same for the same seed and names of the pairs."""
    return [_simulate(pair, config) for pair in pairs]


def simulated_note(pairs: Sequence[Pair], config: SimulateConfig | None, scheme: ClassScheme) -> str | None:
    """Which classes have fewer labelled pixels than ``simulate_pairs`` is to draw of each pair.

    None where none has, or labels are in files, which are not read for a note.
    """
    if config is None or config.n is None or any(isinstance(pair.labels, LabelFile) for pair in pairs):
        return None
    counts = [pair.labels.counts(len(scheme)) for pair in pairs]
    return fewer_than_asked(counts, scheme.names, config.sampler, config.n)


def _simulate(pair: Pair, config: SimulateConfig) -> Pair:
    labels = pair.labels
    if isinstance(labels, LabelFile) and config.sampler == "pixels" and config.fraction is not None:
        return pair.with_labels(replace(labels, fraction=config.fraction, seed=config.seed, scene_id=pair.name))
    return pair.with_labels(labels.with_values(_drawn(labels.values, config, pair.name)))


def _drawn(mask: Indices, config: SimulateConfig, scene_id: str) -> Indices:
    budget = {"fraction": config.fraction, "n": config.n, "seed": config.seed, "scene_id": scene_id}
    return simulate_labels(mask, config.sampler, **budget, **config.options)  # type: ignore[arg-type]
