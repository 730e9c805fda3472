"""Frozen encoders stay as they are in training; the folding of BatchNorm checks itself."""

import copy

import pytest
import torch
from torch import nn

from sparsecover.errors import ModelError
from sparsecover.models import AnySize, EncoderFreezer, UNet, create_model, encoder_parameters, fold_batchnorm


def train_one_step(network: nn.Module) -> None:
    network.train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("name", "options"), [("unet", {"base_channels": 4, "depth": 3}), ("smp-unet", {"encoder": "resnet18"})]
)
def test_training_leaves_frozen_weights_and_statistics(name: str, options: dict) -> None:
    network = create_model(name, 3, 2, **options)
    EncoderFreezer(network).freeze()
    before = copy.deepcopy(network.state_dict())
    train_one_step(network)
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert not any("encoder" in key for key in changed)
    assert any("running_mean" in key for key in changed)


def test_the_deepest_stage_trains_first() -> None:
    network = UNet(3, 2, base_channels=4, depth=3)
    freezer = EncoderFreezer(network)
    freezer.unfreeze(1)
    before = copy.deepcopy(network.state_dict())
    train_one_step(network)
    changed = {key.split(".")[1] for key, value in network.state_dict().items()
               if key.startswith("encoder") and not torch.equal(value, before[key])}  # fmt: skip
    assert changed == {"2"}
    freezer.unfreeze()
    assert all(p.requires_grad for p in network.parameters())


def test_stages_of_a_resnet_and_of_long_lists_of_layers() -> None:
    def sizes(encoder: str) -> list[int]:
        return [len(stage) for stage in EncoderFreezer(create_model("smp-unet", 3, 2, encoder=encoder)).stages]

    assert sizes("resnet18") == [3, 12, 15, 15, 15]  # the stem's convolution and normalisation, then four layers
    assert len(sizes("efficientnet-b0")) == 5
    assert len(sizes("vgg11")) >= 4
    assert len(sizes("tu-convnext_atto")) == 5


def test_networks_without_encoder_say_so() -> None:
    plain = nn.Conv2d(3, 2, 1)
    assert encoder_parameters(plain) == []
    for network in (plain, AnySize(plain, 3, 2, stride=1)):
        with pytest.raises(ModelError, match="has no encoder to freeze"):
            EncoderFreezer(network)


class SharedConvolution(nn.Module):
    """Its convolution's output is read before BatchNorm as well, so that folding would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.convolution(images)
        return self.norm(x) + x


def test_a_network_that_cannot_be_folded_is_left_alone() -> None:
    shared = SharedConvolution()
    shared.norm.running_mean += 3
    network = AnySize(shared, 3, 2, stride=1).eval()
    folded = fold_batchnorm(network)
    image = torch.randn(1, 3, 8, 8)
    assert torch.allclose(folded(image), network(image), atol=1e-6)
    assert isinstance(folded.network.norm, nn.BatchNorm2d)


def test_other_modules_are_copied_for_inference() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    folded = fold_batchnorm(network)
    assert folded is not network
    assert not folded.training
