"""The learning-rate range test."""

import numpy as np
import pytest
import torch
from test_training_fit import PAIRS, StopAt, make_config

from sparsecover.errors import ConfigError, DataError
from sparsecover.training import RateTest, find_learning_rate


def test_it_finds_a_rate_that_trains_and_leaves_nothing_behind() -> None:
    random = torch.get_rng_state()
    result = find_learning_rate(PAIRS, make_config(), steps=60)
    assert torch.equal(torch.get_rng_state(), random)
    assert len(result.rates) == len(result.losses) <= 60
    assert result.rates[0] == pytest.approx(1e-6)
    assert (np.diff(result.rates) > 0).all()
    assert 1e-4 < result.suggestion < 1
    assert result.plot().startswith(b"\x89PNG")


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    losses = 2 - 1 / (1 + np.exp(-3 * (np.log10(rates) + 3))) + 50 * np.maximum(0, np.log10(rates) + 1) ** 2
    assert RateTest(rates, losses).suggestion == pytest.approx(1e-3, rel=0.3)


def test_it_stops_where_the_loss_explodes() -> None:
    config = make_config(**{"optim.name": "sgd", "train.clip": None})
    result = find_learning_rate(PAIRS, config.with_changes({"optim.lr": 1e-3}), steps=80, reporter=StopAt(-1))
    assert result.losses.min() > 0
    assert result.suggestion <= result.rates[-1]


def test_labels_that_blow_up_at_once_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.training.stepper.Stepper._gradients", lambda *_: torch.tensor([float("nan"), 1.0]))
    with pytest.raises(DataError, match="diverged"):
        find_learning_rate(PAIRS, make_config(), steps=20)


@pytest.mark.parametrize("name", ["random-forest", "hypercolumns"])
def test_a_model_without_steps_has_no_rate(name: str) -> None:
    with pytest.raises(ConfigError, match="fitted at once and has no learning rate"):
        find_learning_rate(PAIRS, make_config(model={"name": name}), steps=20)
