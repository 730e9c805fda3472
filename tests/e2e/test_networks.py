"""Networks and losses as configurations name them: trained for a few steps and used for a map, by the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine
from rasterio.crs import CRS
from safetensors.torch import load_file, save_file

from sparsecover.cli import run
from sparsecover.config import Config
from sparsecover.grid import Grid
from sparsecover.losses import create_loss
from sparsecover.models import create_model
from sparsecover.raster import MapWriter

from .conftest import Command, assert_users_mistake

BANDS = 13


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 13 bands and two classes, a tenth of the pixels labelled; one epoch of two steps."""
    folder = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(2, dtype=np.uint8), 32)[None].repeat(64, 0)
    grid = Grid(64, 64, CRS.from_epsg(32632).to_wkt(), Affine(2, 0, 500_000, 0, -2, 5_400_000))
    for scene in ("a", "b"):
        image = (60 + 100 * truth[None] + rng.normal(0, 9, (BANDS, 64, 64))).clip(1, 255).astype(np.uint8)
        labels = np.where(rng.random(truth.shape) < 0.1, truth, 255).astype(np.uint8)
        for kind, values, nodata in (("images", image, 0), ("labels", labels[None], 255)):
            (folder / kind).mkdir(exist_ok=True)
            with MapWriter(folder / kind / f"{scene}.tif", grid, count=len(values), nodata=nodata) as writer:
                writer.write(grid.window, values)
    values = {
        "data": {"root": str(folder), "images": "images/*.tif", "labels": "labels/*.tif"},
        "classes": ["water", "land"],
        "split": {"by": "pattern", "pattern": "([ab])", "train": ["a"], "validation": ["b"]},
        "patches": {"size_px": 32, "per_epoch": 4},
        "train": {"epochs": 1, "batch_size": 2, "precision": "fp32", "workers": 0},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return folder / "run.yaml"


def train_arguments(config: Path, out: Path, *settings: str) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["train", "--config", str(config), "--out", str(out), *sets]


@pytest.mark.parametrize(
    "settings",
    [
        ("model={name: torchvision-deeplabv3, freeze_encoder_epochs: 1}", "loss={name: dice_ce, dice_weight: 0.5}"),
        ("model={name: unetplusplus, base_channels: 4, depth: 3, deep_supervision: true}", "loss={name: combo}"),
        ("model={name: unet, base_channels: 4, norm: instance}", "train.batch_size=1"),
        ("model={name: unet, base_channels: 4, norm: group}", "train.batch_size=1", "loss={name: focal, alpha: 0.3}"),
        ("model={name: unet-dropout, base_channels: 4, binary_head: true}", "loss={name: ce, pos_weight: 3}"),
        ("model={name: unet-strided-upsample, base_channels: 4}", "loss={name: tversky, beta: 0.7, smooth: 1e-4}"),
    ],
    ids=["torchvision", "deep-supervision", "instance-norm", "group-norm", "one-logit", "strided-tversky"],
)
def test_a_configuration_trains_and_maps(settings: tuple[str, ...], config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(train_arguments(config, out, *settings)) == 0
    loss = json.loads((out / "metrics.json").read_text())["loss"]
    assert np.isfinite(loss)
    scene = config.parent / "images" / "b.tif"
    assert run(["predict", str(scene), "--model", str(out / "last.safetensors"), "--out", str(tmp_path / "m.tif")]) == 0
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.shape == (64, 64)
        assert dataset.read(1).max() <= 1


def test_a_frozen_pretrained_encoder_of_13_bands(config: Path, cli: Command, tmp_path: Path) -> None:
    weights = tmp_path / "resnet18.safetensors"
    rgb = create_model("smp-unet", 3, 2, encoder="resnet18").network.encoder.state_dict()
    save_file(rgb, weights)
    model = f"{{name: smp-unet, encoder: resnet18, encoder_weights: {weights}, freeze_encoder_epochs: 1}}"
    out = tmp_path / "run"
    result = cli(*train_arguments(config, out, f"model={model}", "loss={name: focal_dice, gamma: 2}"))
    assert result.returncode == 0, result.stderr
    assert "conv1.weight: bands 1 to 3 keep the RGB filters, the other 10 of 13 start at 0." in result.stderr

    state = load_file(out / "last.safetensors")
    trained = {key.split(".encoder.")[-1]: value for key, value in state.items() if ".encoder." in key}
    first = trained.pop("conv1.weight")
    assert torch.allclose(first[:, :3], rgb["conv1.weight"])
    assert first.shape[1] == BANDS
    assert not first[:, 3:].any()
    for name in trained:
        assert torch.allclose(trained[name].float(), rgb[name].float()), name

    weights.unlink()  # a checkpoint needs no file but itself
    scene = config.parent / "images" / "b.tif"
    result = cli("predict", scene, "--model", out / "last.safetensors", "--out", tmp_path / "map.tif")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model={name: smp-unt}", "Did you mean 'smp-unet'"),
        ("model={name: smp-unet, encoder: mit_b0}", "NVIDIA"),
        ("model={name: smp-unet, encoder_weights: none.pth}", "none.pth do not exist"),
        ("model={name: unet, depth: 2.5}", "valid integer"),
        ("loss={name: dicece}", "Did you mean 'dice_ce'"),
        ("loss={name: focal, gama: 2}", "Did you mean 'gamma'"),
        ("loss={name: ce, class_weights: [1, 2, 3]}", "3 class weights given for 2 classes"),
        ("loss={name: ce, class_weights: inverse, pos_weight: 3}", "class_weights: none"),
        ("loss={name: ce, weight: [1, 2]}", "loss.class_weights"),
        ("model={name: unet, in_channels: 4}", "data.bands"),
        ("model={name: hypercolumns, encoder_weights: null}", "leave out model.encoder_weights"),
        ("model={name: random-forest, freeze_encoder_epochs: 2}", "leave out model.freeze_encoder_epochs (given: 2)"),
        ("model={name: random-forest, encoder_lr_factor: 0.1}", "model.encoder_lr_factor (given: 0.1)"),
    ],
)
def test_what_cannot_be_meant_ends_without_results(
    setting: str, words: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train_arguments(config, tmp_path / "run", setting)) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("part", ["model={name: unt}", "loss={name: dicece}", "data.simulate.sampler=pixel"])
@pytest.mark.parametrize(
    "command",
    [
        ("train", "--out", "run"),
        ("train", "--out", "run", "--find-lr"),
        ("train", "--out", "run", "--set", "split.folds=2"),
        ("check",),
    ],
    ids=["train", "rate", "folds", "check"],
)
def test_names_are_checked_before_scenes_are_read(
    command: tuple[str, ...], part: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path / word) if word == "run" else word for word in command]
    assert run([*words, "--config", str(config), "--set", "data.root=/nowhere", "--set", part]) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [("--model", "unt"), ("--set", "loss.name=dicece"), ("--set", "train.epoch=3")])
def test_map_looks_at_what_to_train_before_it_reads(
    wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["map", "/nowhere.tif", "--labels", "/nowhere.gpkg", *wrong, "--out", str(tmp_path / "map")]) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_diverging_loss_names_step_and_learning_rate(config: Path, cli: Command, tmp_path: Path) -> None:
    settings = ("model.base_channels=4", "optim.lr=1e20", "train.epochs=2")
    result = cli(*train_arguments(config, tmp_path / "run", *settings))
    assert_users_mistake(result, "at step", "learning rate", "Lower optim.lr")


def test_the_table_of_models_has_whole_names_and_figures(cli: Command) -> None:
    result = cli("models", "--bands", 13, "--num-classes", 2, COLUMNS="80")
    assert result.returncode == 0, result.stderr
    rows = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("│ ")}
    assert {"unet-strided-transpose", "random-forest-features", "torchvision-deeplabv3"} <= rows.keys()
    bands = 10 * 9 * 64  # the filters of ten more bands than three
    assert f"{31_037_893 + bands - 3 * 65:,}" in rows["unet"]


def test_the_page_on_networks_and_losses_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models-and-losses.md").read_text(encoding="utf-8")
    # In a fresh process, without the names that other tests have registered.
    code = "import sparsecover.losses as l, sparsecover.models as m; print(*m.list_models(), *l.list_losses())"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"unet", "ce"} <= set(names)
    assert [name for name in names if f"`{name}`" not in page] == []
    examples = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert examples
    for example in examples:
        made = Config.from_dict(yaml.safe_load(example))
        create_model(made.model.name, 4, 3, **made.model.options)
        create_loss(made.loss.name, **made.loss.options)
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(code, {})
