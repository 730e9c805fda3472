"""Every encoder of segmentation-models-pytorch, and families of timm, in one architecture."""

import pytest
import torch

from sparsecover.errors import ModelError
from sparsecover.models import EncoderFreezer, create_model
from sparsecover.models.torchvision_pairing import import_beside_torchvision

FAMILIES = ["resnet18", "efficientnet-b0", "mobilenet_v2", "densenet121", "vgg11_bn", "tu-convnext_atto"]
TIMM = [
    "tu-resnet10t",
    "tu-efficientnet_b0",
    "tu-mobilenetv3_small_050",
    "tu-regnetx_002",
    "tu-swin_tiny_patch4_window7_224",
    "tu-swinv2_tiny_window8_256",
    "tu-pvt_v2_b0",
    "tu-hrnet_w18_small",
    "tu-maxvit_rmlp_pico_rw_256",
]


def check(encoder: str) -> None:
    network = create_model("smp-unet", 5, 3, encoder=encoder, allow_restricted_licence=True).eval()
    with torch.no_grad():
        for height, width in ((1, 1), (35, 70)):
            logits = network(torch.randn(1, 5, height, width))
            assert logits.shape == (1, 3, height, width)
            assert logits.isfinite().all()
    assert 3 <= len(EncoderFreezer(network).stages) <= 8


@pytest.mark.parametrize("encoder", FAMILIES)
def test_families_of_encoders(encoder: str) -> None:
    check(encoder)


@pytest.mark.long
@pytest.mark.parametrize("encoder", TIMM)
def test_encoders_of_timm(encoder: str) -> None:
    check(encoder)


def test_an_encoder_for_images_of_one_size_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be made with the encoder 'tu-hiera_tiny_224'"):
        create_model("smp-unet", 3, 2, encoder="tu-hiera_tiny_224")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated")
def test_all_encoders_of_smp() -> None:
    smp = import_beside_torchvision("segmentation_models_pytorch", extra="smp")
    # The largest need gigabytes; their smaller sisters have the same layers.
    names = [n for n in smp.encoders.encoders if not n.endswith(("32d", "48d", "-l2", "-b7", "-b8", "131", "107"))]
    for encoder in names:
        check(encoder)
