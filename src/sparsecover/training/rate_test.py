"""The learning-rate range test (Smith 2017): a short training at rising rates shows how high the rate may be."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from sparsecover import figures
from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.errors import ConfigError, DataError
from sparsecover.patches import Pair, check_pairs
from sparsecover.progress import Reporter, Silent
from sparsecover.training.device import resolve_device
from sparsecover.training.failures import Diverged
from sparsecover.training.randomness import seeded
from sparsecover.training.run import Run
from sparsecover.training.schedule import Schedule

_LOWEST, _HIGHEST = 1e-6, 1.0
_DIVERGED = 3.0  # the test ends where the smoothed loss is so many times the best
_SMOOTHING = 0.85
_FEWEST = 10
_WIDTH = 0.03  # of the curve: standard deviation of the smoothing before its slope is taken


@dataclass(frozen=True)
class RateTest:
    """Learning rates, the smoothed loss at each, and the rate at which the loss fell fastest."""

    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]

    @property
    def suggestion(self) -> float:
        """The rate of steepest descent on the way to the lowest loss, single batches smoothed out."""
        losses = gaussian_filter1d(self.losses, _WIDTH * len(self.losses), mode="nearest")
        end = max(3, int(losses.argmin()) + 1)
        slope = np.gradient(losses[:end], np.log(self.rates[:end]))
        return float(self.rates[int(slope.argmin())])

    def plot(self) -> bytes:
        """The loss over the rate as a PNG, with the suggestion marked."""
        return figures.rate_curve(self.rates, self.losses, self.suggestion)


def find_learning_rate(
    pairs: Iterable[Pair],
    config: Config,
    *,
    scheme: ClassScheme | None = None,
    device: str = "auto",
    steps: int = 100,
    reporter: Reporter | None = None,
) -> RateTest:
    """Train for some steps at rates rising from 1e-6 to 1, and throw the network away.

    Args:
        pairs: scenes with labels on their grids.
        config: the run; its network, loss, optimiser and windows are used.
        scheme: classes by index, as in ``fit``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        steps: at most; fewer where the loss has grown to three times its best.
        reporter: listens.

    Raises:
        ConfigError: a model that is not trained by steps.
        DataError: the loss diverged at once, so that there is nothing to see.
    """
    config = config.with_changes({"train.regularisers": []})  # the rate is that of the labels
    device, listener = resolve_device(device), _Listener(steps, reporter or Silent())
    with seeded(config.seed, device, deterministic=config.train.deterministic):
        run = Run.prepare(check_pairs(pairs), [], config, scheme, device, listener)
        if hasattr(run.model, "fit_pixels"):
            raise ConfigError(
                f"{config.model.name} is fitted at once and has no learning rate. Name a network that learns in epochs "
                "(model.name: unet), or leave the test out."
            )
        trainer = run.trainer()
        trainer.average, trainer.schedule = None, _Rising(config.optim.lr, steps)
        loader = run.loader(run.plan, run.pairs)
        with contextlib.suppress(_Enough, Diverged):
            trainer.fit(loader, epochs=-(-steps // len(loader)))
    count = len(listener.losses)
    if count < _FEWEST:
        raise DataError(
            f"The loss diverged after {count} steps at the lowest rates; check the labels and normalisation."
        )
    return RateTest(_rates(steps)[:count], np.array(listener.losses))


def _rates(steps: int) -> npt.NDArray[np.float64]:
    return np.geomspace(_LOWEST, _HIGHEST, steps)


class _Rising(Schedule):
    """Factors on the configured rate that lead through the tested rates."""

    def __init__(self, lr: float, steps: int) -> None:
        super().__init__()
        self._factors = _rates(steps) / lr

    def __call__(self, step: int) -> float:
        return float(self._factors[step])


class _Enough(Exception):
    """The test has seen what it came for."""


class _Listener(Silent):
    """Smooths the losses of the steps and ends the test."""

    def __init__(self, steps: int, reporter: Reporter) -> None:
        self.losses: list[float] = []
        self._mean, self._steps, self._reporter = 0.0, steps, reporter

    def progress(self, done: float, total: float, **values: float | str) -> None:
        """Take in the loss of a step."""
        self._mean = _SMOOTHING * self._mean + (1 - _SMOOTHING) * float(values["loss"])
        self.losses.append(self._mean / (1 - _SMOOTHING ** (len(self.losses) + 1)))
        self._reporter.progress(done, self._steps, **values)
        diverged = len(self.losses) > _FEWEST and self.losses[-1] > _DIVERGED * min(self.losses)
        if diverged or len(self.losses) == self._steps:
            raise _Enough
