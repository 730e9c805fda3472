"""Labels choose the network where the user names none, and the reason is told."""

import numpy as np
import pytest

from sparsecover.config import Config
from sparsecover.errors import ConfigError, MissingPartError, ModelError
from sparsecover.models import check_model, list_models
from sparsecover.pipeline.network_choice import (
    _FITTED_ALONE,
    CONTEXT_PX,
    MANY_PX,
    choose_network,
    named_by_options,
    settle_network,
)
from sparsecover.pipeline.recipe import choose_recipe, explain_recipe, network_in

FEW, MANY = np.array([10, 30, 0]), np.array([MANY_PX // 2, MANY_PX // 2, 0])


def test_few_labels_go_to_the_pretrained_encoder_and_many_train_all_layers():
    assert choose_network(FEW)[0] == "hypercolumns"
    assert choose_network(MANY)[0] == "unet"
    assert choose_network(MANY - [1, 0, 0])[0] == "hypercolumns"
    assert f"the 40 labelled pixels are below {MANY_PX:,}" in choose_network(FEW)[1]


@pytest.mark.parametrize("said", [{"model": {}}, {"loss": {}}, {"optim": {}}, {"train": {"epochs": 2}}])
def test_a_configuration_that_says_how_to_train_is_left_alone(said):
    config = Config.from_dict(said)
    counted: list[np.ndarray] = []
    assert settle_network(config, lambda: counted.append(FEW) or FEW) == (config, None)
    assert not counted  # which reads all labels


def test_a_configuration_of_data_alone_gets_the_network_the_labels_call_for():
    config, why = settle_network(Config.from_dict({"seed": 3}), lambda: FEW)
    assert (config.model.name, config.patches.size_px, config.seed) == ("hypercolumns", CONTEXT_PX, 3)
    assert "below" in (why or "")
    own = Config.from_dict({"patches": {"size_px": 64}})
    assert settle_network(own, lambda: FEW)[0].patches.size_px == 64
    assert settle_network(own, lambda: MANY)[0].model.name == "unet"
    running = Config.from_dict({"train": {"deterministic": True, "workers": 2}, "patches": {"cache": "none"}})
    assert settle_network(running, lambda: FEW)[0].model.name == "hypercolumns"
    assert settle_network(running, lambda: FEW)[0].patches.size_px == CONTEXT_PX
    lit = Config.from_dict({"augment": "strong"})  # whose colours both networks take
    assert settle_network(lit, lambda: FEW)[0].model.name == "hypercolumns"


def test_options_that_only_one_network_has_name_it():
    own = {"smooth_px": 4}
    config = named_by_options(Config.from_dict({"model": own}))
    assert config == Config.from_dict({"model": {"name": "hypercolumns", **own}})  # so that labels are divided alike
    for said in ({"model": {"name": "unet", **own}}, {"model": {"dropout": 0.2}}, {"seed": 1}):
        config = Config.from_dict(said)
        assert named_by_options(config) == config


@pytest.mark.parametrize("name", list_models())
def test_the_options_that_name_a_network_are_its_own_alone(name):
    options = {"hidden": 16, "smooth_px": 4, "edge_variance": 0.1, "estimate_shares": True}
    assert {f"model.{option}" for option in options} == _FITTED_ALONE
    if name == "hypercolumns":
        check_model(name, options)
        return
    for option, value in options.items():
        with pytest.raises((ModelError, MissingPartError), match=rf"{option}|not installed"):
            check_model(name, {option: value})


@pytest.mark.parametrize(
    ("settings", "name"),
    [(["model.name = unet"], "unet"), (["model={name: unet, depth: 3}"], "unet"), (["model.name='fpn'"], "fpn"),
     (["model.name=unet", "model.name=fpn"], "fpn"), (["model.depth=3", "seed=1"], None), (["model=null"], None)],
)  # fmt: skip
def test_settings_may_name_a_network_in_any_form(settings, name):
    assert network_in(settings) == name


@pytest.mark.parametrize("setting", ["loss=dice", "model=unet", "loss=null"])
def test_a_value_where_a_section_belongs_is_told(setting):
    with pytest.raises(ConfigError, match="expected keys below it"):
        choose_recipe(gpu=False, settings=[setting])


def test_map_takes_what_the_labels_call_for_unless_told_otherwise():
    def chosen(counts, **given):
        return choose_recipe(gpu=False, counts=counts, **given).model.name

    assert (chosen(FEW), chosen(MANY)) == ("hypercolumns", "unet")
    assert chosen(FEW, model="unet") == chosen(FEW, settings=["model.name=unet"]) == "unet"
    assert chosen(FEW, settings=["train.epochs=2"]) == "unet"
    assert chosen(FEW, settings=["train={epochs: 2, workers: 0}"]) == "unet"
    for running in ("train.deterministic=true", "train={workers: 0}", "train.precision=bf16", "train.minutes=3"):
        assert chosen(FEW, settings=[running]) == "hypercolumns"
    assert chosen(FEW, settings=["data.on_read_error=skip"]) == "hypercolumns"
    assert chosen(FEW, settings=["model.name=hypercolumns", "model.smooth_px=0"]) == "hypercolumns"
    for counts in (None, FEW, MANY):
        assert chosen(counts, settings=["model.estimate_shares=true"]) == "hypercolumns"
        assert chosen(counts, settings=["model.hidden=64"], minutes=3) == "hypercolumns"
        assert chosen(counts, settings=["model={hidden: 64}"]) == "hypercolumns"
    assert chosen(FEW, settings=["model.name=unet", "model.hidden=64"]) == "unet"
    assert chosen(MANY, quick=True) == chosen(MANY, quick=True, model="random-forest-features")
    assert chosen(MANY, quick=True) == "random-forest-features"
    with pytest.raises(ConfigError, match="--quick maps with random-forest-features, but the model unet is asked for"):
        chosen(MANY, quick=True, settings=["model.name=unet"])
    told = explain_recipe(choose_recipe(gpu=False, counts=FEW), FEW, gpu=False)
    assert told[0] == "40 labelled pixels in 2 classes, 10 to 30 each"
    assert chosen(FEW, minutes=3) == "hypercolumns"
    assert explain_recipe(choose_recipe(gpu=False), np.array([2, 2, 0]), gpu=False)[0].endswith("2 classes, 2 each")
    assert any(reason.startswith("hypercolumns, as the 40 labelled pixels are below") for reason in told)
    named = explain_recipe(choose_recipe(gpu=False, counts=FEW, model="hypercolumns"), FEW, gpu=False, by_labels=False)
    assert not any("below" in reason for reason in named)
    other = explain_recipe(choose_recipe(gpu=False, counts=FEW, model="unet"), FEW, gpu=False)
    assert not any("below" in reason for reason in other)
