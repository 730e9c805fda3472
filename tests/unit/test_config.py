"""The configuration: defaults, files, settings, and mistakes that name the way out."""

from pathlib import Path

import pytest
import yaml

from sparsecover.config import AugmentConfig, Config, apply_setting
from sparsecover.errors import ConfigError


def test_defaults_survive_yaml() -> None:
    config = Config.from_dict({"model": {"name": "unet", "base_channels": 8}})
    assert Config.from_dict(yaml.safe_load(config.to_yaml())) == config
    assert config.model.options == {"base_channels": 8}


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({"modl": {}}, "Did you mean 'model'"),
        ({"optim": {"lrr": 1}}, "Unknown key optim.lrr. Did you mean 'lr'"),
        ({"data": {"simulate": {"fractio": 0.1}}}, "Unknown key data.simulate.fractio. Did you mean 'fraction'"),
        ({"train": {"epochs": 0}}, "train.epochs"),
        ({"split": {"by": "pattern"}}, "split.pattern is missing"),
        ({"model": {"unfreeze": "stages"}}, "nothing is frozen"),
        ({"split": {"fractions": [0.5, 0.2, 0.2]}}, "must sum to 1"),
        ({"data": {"resize": [0, 64]}}, "data.resize.0: expected a number at least 1; given 0"),
        ({"data": {"bands": 3}}, "data.bands: expected a list such as [a, b]; given 3"),
        ({"model": "unet"}, "model: expected keys below it, such as model.name; given 'unet'"),
        ({"split": {"block_px": "x"}}, "split.block_px: expected a whole number or 'auto'; given 'x'"),
        ({"classes": {"a": "b"}}, "classes.a: expected a whole number; given 'a'"),
        ({"classes": 7}, "classes: expected a list such as [a, b] or keys with values or a path; given 7"),
        (
            {"split": {"fractions": [0.5, 0.5]}},
            "split.fractions.2: a value is missing (shares for train, validation and test",
        ),
        ({"data": {"skip_unpaired": "perhaps"}}, "data.skip_unpaired: expected true or false; given 'perhaps'"),
        ({"optim": {"lr": -1}}, "optim.lr: expected a number above 0; given -1"),
        ({"train": {"epochs": 1.5}}, "train.epochs: expected a whole number; given 1.5"),
        ({"split": {"buffer_px": -5}}, "split.buffer_px: expected a number at least 0 or 'auto'; given -5"),
        ({"patches": {"per_epoch": -3}}, "patches.per_epoch: expected a number at least 1 or 'auto'; given -3"),
        ({"split": {"fractions": [float("nan"), 1, 0]}}, "split.fractions.0: expected a finite number; given nan"),
        ({"optim": {"lr": float("inf")}}, "optim.lr: expected a finite number; given inf"),
    ],
)
def test_mistakes_are_refused_with_a_hint(data: dict, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(data)
    assert hint in str(caught.value)
    assert "Input should" not in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict({"optim": {"lr": -1}, "train": {"epochs": "many"}})
    assert "optim.lr" in str(caught.value)
    assert "train.epochs" in str(caught.value)


def test_settings_are_read_as_yaml_and_make_missing_sections() -> None:
    data: dict = {"train": {"epochs": 3}}
    apply_setting(data, "train.epochs=5")
    apply_setting(data, "data.bands=[1, 2]")
    assert data == {"train": {"epochs": 5}, "data": {"bands": [1, 2]}}
    with pytest.raises(ConfigError, match=r"dotted\.key=value"):
        apply_setting(data, "train.epochs")


def test_a_setting_of_a_part_that_is_named_in_one_word_keeps_the_name(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("augment: strong\n")
    augment = Config.from_yaml(file, ["augment.noise=0.2"]).augment
    assert isinstance(augment, AugmentConfig)
    assert (augment.name, augment.options) == ("strong", {"noise": 0.2})
    changed = Config.from_dict({"augment": "light"}).with_changes({"augment.cutmix": 0.1, "augment.blur": 0.3}).augment
    assert changed == AugmentConfig.model_validate({"name": "light", "cutmix": 0.1, "blur": 0.3})


def test_paths_in_a_file_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "classes.csv").write_text("code,name\n1,water\n")
    file = tmp_path / "run.yaml"
    file.write_text("data: {root: data}\nclasses: classes.csv\n")
    config = Config.from_yaml(file, ["seed=3"])
    assert config.data.root == tmp_path / "data"
    assert config.classes == tmp_path / "classes.csv"
    assert config.seed == 3


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Config.from_yaml(tmp_path / "missing.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds a list"):
        Config.from_yaml(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="is not YAML"):
        Config.from_yaml(tmp_path / "broken.yaml")
    (tmp_path / "study.yaml").write_text("title: Ours\nbase: {}\ngrid: {}\n")
    with pytest.raises(ConfigError, match=r"several configurations; run it by: sparsecover experiment .*study"):
        Config.from_yaml(tmp_path / "study.yaml")


def test_changes_are_validated() -> None:
    assert Config().with_changes({"train.epochs": 7}).train.epochs == 7
    with pytest.raises(ConfigError, match="Unknown key"):
        Config().with_changes({"train.epoch": 7})
