"""Encoder weights: local files, first layers for any bands, downloads that fail, licences."""

import logging
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from sparsecover.errors import ModelError
from sparsecover.models import create_model, encoder_parameters
from sparsecover.models.licences import check_licence
from sparsecover.models.pretrained import adapt_first_layer, load_encoder, read_weights
from sparsecover.models.torchvision_pairing import import_beside_torchvision


def test_three_bands_keep_the_rgb_filters(caplog) -> None:
    filters = torch.randn(8, 3, 7, 7)
    with caplog.at_level(logging.INFO):
        wider = adapt_first_layer(filters, 5, "conv1.weight")
    assert torch.equal(wider[:, :3], filters)
    assert not wider[:, 3:].any()
    assert "conv1.weight: bands 1 to 3 keep the RGB filters, the other 2 of 5 start at 0" in caplog.text


@pytest.mark.parametrize("bands", [1, 2])
def test_a_grey_image_gives_what_it_gave(bands: int) -> None:
    filters, grey = torch.randn(8, 3, 7, 7), torch.randn(1, 1, 9, 9)
    expected = torch.nn.functional.conv2d(grey.repeat(1, 3, 1, 1), filters)
    fewer = adapt_first_layer(filters, bands)
    assert torch.allclose(torch.nn.functional.conv2d(grey.repeat(1, bands, 1, 1), fewer), expected, atol=1e-4)


def encoders_agree(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = list(zip(encoder_parameters(one), encoder_parameters(other), strict=True))
    return torch.equal(pairs[0][0], pairs[0][1][:, :3]) and all(torch.equal(a, b) for a, b in pairs[1:])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet", {"base_channels": 4}),
        ("unetplusplus", {"base_channels": 4, "depth": 3}),
        ("smp-fpn", {"encoder": "resnet18"}),
        ("smp-pspnet", {"encoder": "resnet18"}),
        ("smp-unet", {"encoder": "tu-resnet10t"}),
        ("torchvision-deeplabv3", {}),
    ],
)
def test_a_checkpoint_of_the_same_network_fills_the_encoder(name: str, options: dict, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    trained = create_model(name, 3, 4, **options)
    save_file(trained.state_dict(), tmp_path / "a.safetensors")
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "a.pth")
    for file in ("a.safetensors", "a.pth"):
        network = create_model(name, 5, 2, encoder_weights=str(tmp_path / file), **options)
        assert encoders_agree(trained, network)
        assert f"The encoder starts from the weights '{tmp_path / file}'" in caplog.text


def test_a_command_shows_what_the_package_logs() -> None:
    code = "from sparsecover.cli import run; import logging; run(['--version']); run(['--version']); "
    code += "logging.getLogger('sparsecover.models.pretrained').info('bands 1 to 3'); logging.info('foreign')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "  bands 1 to 3\n"


def test_a_file_of_the_encoder_s_own_library(tmp_path) -> None:
    smp = import_beside_torchvision("segmentation_models_pytorch", extra="smp")
    timm = import_beside_torchvision("timm", extra="smp")
    models = import_beside_torchvision("torchvision.models", extra="torchvision")
    path = tmp_path / "weights.safetensors"

    encoder = smp.encoders.get_encoder("resnet18", weights=None)
    save_file(encoder.state_dict(), path)
    network = create_model("smp-linknet", 3, 2, encoder="resnet18", encoder_weights=str(path))
    assert torch.equal(network.network.encoder.layer4[1].conv2.weight, encoder.layer4[1].conv2.weight)

    classifier = timm.create_model("resnet10t")
    save_file(classifier.state_dict(), path)
    network = create_model("smp-unet", 4, 2, encoder="tu-resnet10t", encoder_weights=str(path))
    assert torch.equal(network.network.encoder.model.layer4[0].conv2.weight, classifier.layer4[0].conv2.weight)

    resnet = models.resnet50()
    save_file(resnet.state_dict(), path)
    network = create_model("torchvision-deeplabv3", 3, 2, encoder_weights=str(path))
    assert torch.equal(network.network.backbone.conv1.weight, resnet.conv1.weight)


def test_files_that_do_not_fit(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ModelError, match="do not exist"):
        read_weights(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="not a file of weights"):
        read_weights(path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="expected tensors by name"):
        read_weights(tmp_path / "list.pth")
    encoder = torch.nn.Conv2d(4, 8, 3)
    with pytest.raises(ModelError, match=r"1 of 2 tensors are missing, such as 'bias'"):
        load_encoder(encoder, {"weight": torch.zeros(8, 3, 3, 3)}, "w")
    with pytest.raises(ModelError, match=r"\[8, 3, 5, 5\], but the encoder's is \[8, 4, 3, 3\]"):
        load_encoder(encoder, {"weight": torch.zeros(8, 3, 5, 5), "bias": torch.zeros(8)}, "w")


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code of the file ran",)


def test_files_cannot_run_code(tmp_path, capsys) -> None:
    torch.save(Code(), tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="not a file of weights"):
        read_weights(tmp_path / "evil.pth")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options", "address"),
    [
        (
            "smp-unet",
            {"encoder": "resnet18"},
            "huggingface.co/smp-hub/resnet18.imagenet/resolve/[0-9a-f]{40}/model.safetensors",
        ),
        ("smp-unet", {"encoder": "tu-resnet18"}, "huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"),
        ("torchvision-deeplabv3", {}, "download.pytorch.org/models/resnet50-"),
    ],
)
def test_without_a_connection_the_error_says_what_to_fetch(name: str, options: dict, address: str, monkeypatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no connection")

    smp = import_beside_torchvision("segmentation_models_pytorch", extra="smp")
    import_beside_torchvision("timm", extra="smp")
    monkeypatch.setattr(smp.encoders, "hf_hub_download", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ModelError, match=f"no connection.*fetch https://{address}.*encoder_weights"):
        create_model(name, 4, 2, encoder_weights="imagenet", **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("smp-unet", {"encoder": "resnet18", "encoder_weights": "imagenett"}),
        ("smp-unet", {"encoder": "tu-resnet18", "encoder_weights": "a1_in1k"}),
        ("torchvision-deeplabv3", {"encoder_weights": "coco"}),
    ],
)
def test_unknown_weights(name: str, options: dict) -> None:
    with pytest.raises(ModelError, match=options["encoder_weights"]):
        create_model(name, 3, 2, **options)


@pytest.mark.parametrize(
    ("encoder", "weights", "reason"),
    [
        ("mit_b0", None, "NVIDIA"),
        ("mobileone_s0", None, "Apple"),
        ("resnet18", "swsl", "CC BY-NC"),
        ("tu-convnextv2_atto.fcmae", "imagenet", "cc-by-nc"),
        ("tu-fastvit_t8", "imagenet", "fastvit-license"),
    ],
)
def test_restrictive_licences_are_refused_with_the_reason(encoder: str, weights: str | None, reason: str) -> None:
    with pytest.raises(ModelError, match=f"{reason}.*allow_restricted_licence"):
        create_model("smp-fpn", 3, 2, encoder=encoder, encoder_weights=weights)


def test_a_licence_can_be_accepted() -> None:
    assert create_model("smp-segformer", 3, 2, encoder="mit_b0", allow_restricted_licence=True).stride == 32
    assert create_model("smp-unet", 3, 2, encoder="tu-mobileone_s0").stride == 32  # open code, without the weights


def test_open_and_unstated_licences_pass() -> None:
    for stated in ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "unknown", "", None):
        check_licence("tu-any", "imagenet", stated, allowed=False)
