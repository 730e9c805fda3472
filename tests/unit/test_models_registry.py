"""Names, options and errors of create_model; the table of models."""

import pytest
import torch
from torch import nn

from sparsecover.errors import ModelError
from sparsecover.models import UNet, check_model, create_model, list_models, model_table, register_model

SMP = ["unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "pan", "deeplabv3", "deeplabv3plus", "upernet"]


def test_every_architecture_has_a_name() -> None:
    names = list_models()
    assert names == sorted(names)
    assert {f"smp-{name}" for name in [*SMP, "segformer"]} <= set(names)
    assert {"unet", "unet-dropout", "unetplusplus", "torchvision-deeplabv3", "random-forest"} <= set(names)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unett", {}, "Unknown model 'unett'. Did you mean 'unet'"),
        ("smp-unt", {}, "Did you mean 'smp-unet'"),
        ("unet", {"base_chanels": 8}, "Did you mean 'base_channels'"),
        ("unet-dropout", {"base_chanels": 8}, "Did you mean 'base_channels'"),
        ("unet", {"depth": 2.5}, "option 'depth' of the model 'unet' is 2.5. Input should be a valid integer"),
        ("smp-unet", {"encoder": 18}, "option 'encoder' of the model 'smp-unet' is 18"),
        ("smp-unet", {"decoder_chanels": 8}, "Did you mean 'decoder_channels'"),
        ("smp-unet", {"encoder": "resnet35"}, "Did you mean .*'resnet34'"),
        ("smp-unet", {"encoder": "tu-convnext_ato"}, "Did you mean 'tu-convnext_atto'"),
        (
            "smp-unetplusplus",
            {"encoder": "mit_b0", "allow_restricted_licence": True},
            "cannot be made with the encoder",
        ),
        ("smp-unet", {"encoder": "tu-vit_tiny_patch16_224"}, "cannot be made with the encoder"),
        ("smp-deeplabv3", {"encoder_output_stride": 7}, "cannot be made with the encoder"),
    ],
)
def test_errors_list_near_matches(name: str, options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_model(name, 3, 2, **options)
    with pytest.raises(ModelError, match=message):
        check_model(name, options)


@pytest.mark.parametrize("name", ["smp-unet", "random-forest"])
def test_hints_name_only_what_a_user_can_give(name: str) -> None:
    with pytest.raises(ModelError, match="Unknown option 'base_channels'") as caught:
        create_model(name, 3, 2, base_channels=8)
    assert "in_channels" not in str(caught.value)


def test_a_configuration_s_network_is_checked_without_bands_or_weights() -> None:
    check_model("smp-unet", {"encoder": "resnet18", "encoder_weights": "not-there.pth"})
    check_model("random-forest", {"trees": 3})
    with pytest.raises(ModelError, match=r"'in_channels' is no option of a model.*data\.bands"):
        check_model("unet", {"in_channels": 4})
    register_model("only-of-four-bands", lambda in_channels, num_classes: [][in_channels - 4])
    check_model("only-of-four-bands", {})  # a registered one is made with the data's own bands alone


@pytest.mark.parametrize("bands", [0, -1, 2.0, True, "3"])
def test_bands_are_counted(bands: object) -> None:
    with pytest.raises(ModelError, match="in_channels is"):
        create_model("unet", bands, 2)  # type: ignore[arg-type]


def test_one_class_is_two() -> None:
    with pytest.raises(ModelError, match="num_classes=2, binary_head=True"):
        create_model("unet", 3, 1)


def test_registered_networks_are_found_by_name() -> None:
    def factory(in_channels: int, num_classes: int, width: int = 3) -> nn.Module:
        return nn.Conv2d(in_channels, num_classes, width, padding=width // 2)

    register_model("mine-for-the-test", factory)
    assert "mine-for-the-test" in list_models()
    assert create_model("mine-for-the-test", 4, 2, width=5).kernel_size == (5, 5)
    with pytest.raises(ModelError, match="Unknown option 'widht'"):
        create_model("mine-for-the-test", 4, 2, widht=5)
    with pytest.raises(ModelError, match="exists already"):
        register_model("mine-for-the-test", factory)
    register_model("mine-for-the-test", UNet, replace=True)
    assert isinstance(create_model("mine-for-the-test", 4, 2, base_channels=2), UNet)
    row, *_ = model_table(["mine-for-the-test"])
    assert row.stride == 16


def test_table_counts_parameters_and_operations() -> None:
    small, large, other = model_table(["unet", "unetplusplus", "smp-fpn"], in_channels=3, num_classes=6)
    # By hand for 256 x 256 pixels of level 0 and its halvings: 9 a b multiplications and additions a pixel of each
    # 3 x 3 convolution, 4 a b a pixel below of each transposed one.
    widths = [64, 128, 256, 512, 1024]
    per_pixel = 9 * (3 * 64 + 64 * 64) + 6 * 64
    for level in range(1, 5):
        a, b = widths[level - 1], widths[level]
        per_pixel += (9 * (a * b + b * b) + 4 * a * b) / 4**level + 9 * (2 * a * a + a * a) / 4 ** (level - 1)
    assert small.gflop_per_megapixel == pytest.approx(2 * per_pixel / 1000, rel=1e-9)
    with torch.device("meta"):
        assert small.parameters == sum(p.numel() for p in UNet(3, 6).parameters())
    assert (small.stride, large.stride, other.stride) == (16, 16, 32)
    assert large.parameters > small.parameters
    assert other.note == ""


def test_table_with_other_bands() -> None:
    (row,) = model_table(["smp-unet"], in_channels=13)
    assert row.parameters == model_table(["smp-unet"])[0].parameters + 10 * 64 * 49


def test_networks_are_made_alike_where_gradients_are_off() -> None:
    with torch.inference_mode():
        network = create_model("smp-pspnet", 3, 2, encoder="resnet18")
    assert network.state_dict().keys() == create_model("smp-pspnet", 3, 2, encoder="resnet18").state_dict().keys()


def test_a_missing_part_is_named(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ImportError, match=r"pip install 'sparsecover\[smp\]'"):
        create_model("smp-unet", 3, 2)
    (row,) = model_table(["smp-unet"])
    assert row.parameters is None
    assert "segmentation_models_pytorch" in row.note


@pytest.mark.parametrize("name", ["hypercolumns", "random-forest", "random-forest-features"])
def test_features_are_for_networks_that_learn_in_epochs(name: str) -> None:
    with pytest.raises(ModelError, match="networks that learn in epochs"):
        check_model(name, {"features": True})
