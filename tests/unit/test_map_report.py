"""What the report of `map` says: which model is better and made the map, the command without its secrets."""

from types import SimpleNamespace

import numpy as np
import pytest

from sparsecover.classes import ClassScheme
from sparsecover.cli.console import show_assessment
from sparsecover.config import Config
from sparsecover.evaluation import Accumulator, Assessment
from sparsecover.pipeline.contest import Contest
from sparsecover.pipeline.mapping import MapResult
from sparsecover.pipeline.provenance import command_line
from sparsecover.pipeline.recipe import choose_recipe, explain_recipe

SCHEME = ClassScheme.from_names(["land", "water"])


def scored(right: float, groups: int = 20, seed: int = 0) -> Assessment:
    """An assessment over groups of labels of which a share is right, the same groups for each seed."""
    gathered = Accumulator(SCHEME)
    random = np.random.default_rng(seed)
    truth = np.tile(np.array([0, 1], np.uint8), (1, 50))
    for number in range(groups):
        wrong = random.random(truth.shape) > right
        gathered.add_map(truth, np.where(wrong, 1 - truth, truth).astype(np.uint8), scene=number)
    return gathered.assessment()


def contest(network: float, forest: float, *, asked_for: bool = False, groups: int = 20) -> Contest:
    scores = {"unet": scored(network, groups), "random-forest": scored(0.5, groups, 1)}
    return Contest(scores | {"random-forest-features": scored(forest, groups, 2)}, asked_for)


def test_the_labels_choose_and_the_verdict_tells_by_how_much() -> None:
    found = contest(0.7, 0.9)
    assert found.rival == found.better == found.maker == "random-forest-features"
    assert found.gain is not None
    assert found.gain < 0
    low, high = found.gain_interval or (0, 0)
    assert low < found.gain < high < 0
    assert found.verdict is not None
    assert "random forest on features is better than the network unet" in found.verdict
    assert "It makes the map" in found.verdict
    assert f"{-high:+.3f} to {-low:+.3f} over 20 groups" in found.verdict
    assert "chance" not in found.verdict
    won = contest(0.9, 0.7)
    assert won.maker == "unet"
    assert "network unet is better" in (won.verdict or "")


def test_a_model_that_was_asked_for_makes_the_map_and_a_better_one_is_told() -> None:
    found = contest(0.7, 0.9, asked_for=True)
    assert (found.maker, found.better) == ("unet", "random-forest-features")
    assert "made by the network unet, as was asked for" in (found.verdict or "")
    for model, advice in (("unet", "Train longer, label more"), ("random-forest-features", "Label more")):
        config = Config.from_dict({"model": {"name": model}})
        alarm = MapResult.alarm.fget(SimpleNamespace(contest=found, config=config))
        assert f". {advice} places, or let the labels choose: leave out --model or --quick." in alarm
    assert MapResult.alarm.fget(SimpleNamespace(contest=contest(0.7, 0.9))) is None
    assert MapResult.alarm.fget(SimpleNamespace(contest=contest(0.9, 0.7, asked_for=True))) is None


def test_a_map_that_is_less_sure_of_itself_than_its_labels_is_told() -> None:
    def said(on_labels: float, *over_maps: float | None) -> str | None:
        products = [SimpleNamespace(statistics={"mean_confidence": value}) for value in over_maps]
        calibration = SimpleNamespace(mean_confidence=on_labels)
        return MapResult.easier_ground.fget(
            SimpleNamespace(assessment=SimpleNamespace(calibration=calibration), products=products)
        )

    assert "49% on average, against 82% on the held-out labels" in said(0.82, 0.49)
    assert "60% on average" in said(0.82, 0.49, 0.71)
    assert said(0.82, 0.73) is None
    assert said(0.82, None) is None


def test_a_class_with_labels_that_the_maps_hardly_show_is_told() -> None:
    inputs = SimpleNamespace(scheme=SCHEME, counts=np.array([5, 1200]))

    def said(*maps: tuple[int, int]) -> str | None:
        products = [
            SimpleNamespace(
                statistics={"classes": [{"name": n, "pixels": p} for n, p in zip(SCHEME.names, pixels, strict=True)]}
            )
            for pixels in maps
        ]
        return MapResult.lost_classes.fget(SimpleNamespace(inputs=inputs, products=products))

    assert f"Hardly on the map: {SCHEME.names[1]} (599 pixels; 1,200 are labelled)." in said((9, 500), (4, 99))
    assert said((9, 500), (4, 100)) is None


def test_how_many_classes_the_headline_is_over_is_said_where_some_have_no_score(capsys: pytest.CaptureFixture) -> None:
    names = ClassScheme.from_names(["dry", "water", "ice"])

    def headline(*classes: int) -> str:
        gathered = Accumulator(names)
        gathered.add_map(np.array([classes], np.uint8), np.array([classes], np.uint8))
        show_assessment(gathered.assessment(), "")
        return capsys.readouterr().out

    assert "mIoU 1.000 over 1 of 3 classes, accuracy 1.000" in headline(0, 0)
    assert "mIoU 1.000, accuracy 1.000" in headline(0, 1, 2)


def test_what_may_be_chance_is_called_so() -> None:
    assert "may be chance" in (contest(0.8, 0.79).verdict or "")
    few = contest(0.7, 0.9, groups=4)
    assert few.gain_interval is None
    assert "4 groups of labels, too few" in (few.verdict or "")


def test_a_tie_is_no_win() -> None:
    tied = Contest({"unet": scored(1.0), "random-forest": scored(1.0)})
    assert "unet is as good as the random forest on pixels (mIoU 1.000 against 1.000" in (tied.verdict or "")
    assert "chance" not in (tied.verdict or "")
    assert tied.maker == "unet"


def test_without_scored_labels_or_rivals_the_trained_model_makes_the_map() -> None:
    nothing = Contest({"unet": Accumulator(SCHEME).assessment(), "random-forest": Accumulator(SCHEME).assessment()})
    for found in (nothing, Contest({"unet": scored(0.6)})):
        assert found.maker == "unet"
        assert found.verdict is None
        assert found.as_dict()["gain"] is None


def test_the_command_makes_the_same_again_and_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = "/vsicurl/https://me:secret@example.org/a.tif?token=abc"
    monkeypatch.setattr("sys.argv", ["/usr/bin/sparsecover", "map", scene, "--resume", "--field", "what?"])
    assert command_line() == "sparsecover map /vsicurl/https://example.org/a.tif --field 'what?'"


def test_a_training_cut_short_is_told_with_the_steps_it_had():
    config = choose_recipe(gpu=False, minutes=1, model="unet")
    planned = config.train.epochs * (config.patches.per_epoch // config.train.batch_size)
    counts = np.array([10, 20])
    assert any(
        f"4 of {planned} steps, to end in 1 minutes" in t for t in explain_recipe(config, counts, gpu=False, steps=4)
    )
    assert any(t.startswith(f"{planned} steps") for t in explain_recipe(config, counts, gpu=False, steps=planned))
