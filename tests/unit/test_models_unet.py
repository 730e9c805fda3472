"""U-Net and U-Net++ as they are meant: levels, variants, padding, deep supervision."""

from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from sparsecover.errors import ModelError
from sparsecover.models import AnySize, UNet, UNetPlusPlus, create_model
from sparsecover.models.network import pad


def kinds(network: nn.Module) -> set[str]:
    return {type(module).__name__ for module in network.modules()}


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("unet-maxpool-transpose", {"MaxPool2d", "ConvTranspose2d"}, {"Upsample"}),
        ("unet-strided-transpose", {"ConvTranspose2d"}, {"MaxPool2d", "Upsample"}),
        ("unet-strided-upsample", {"Upsample"}, {"MaxPool2d", "ConvTranspose2d"}),
        ("unet-maxpool-upsample", {"MaxPool2d", "Upsample"}, {"ConvTranspose2d"}),
    ],
)
def test_the_four_ways_down_and_up(name: str, has: set[str], lacks: set[str]) -> None:
    network = create_model(name, 3, 4, base_channels=2, depth=3)
    assert has <= kinds(network)
    assert not lacks & kinds(network)


def convolution(in_channels: int, out_channels: int, side: int, offset: bool) -> int:
    return in_channels * out_channels * side**2 + (out_channels if offset else 0)


def block(in_channels: int, out_channels: int) -> int:
    """Two convolutions without offset, each with the scale and offset of a normalisation."""
    return sum(convolution(c, out_channels, 3, False) + 2 * out_channels for c in (in_channels, out_channels))


def test_unet_has_the_paper_s_layers() -> None:
    widths = [64, 128, 256, 512, 1024]
    expected = block(3, 64) + sum(block(a, b) for a, b in pairwise(widths))
    expected += sum(convolution(b, a, 2, True) + block(2 * a, a) for a, b in pairwise(widths))
    expected += convolution(64, 6, 1, True)
    with torch.device("meta"):
        network = UNet(in_channels=3, num_classes=6)
    assert sum(p.numel() for p in network.parameters()) == expected
    assert network.stride == 16


def test_unetplusplus_has_a_triangle_of_nodes() -> None:
    with torch.device("meta"):
        network = UNetPlusPlus(in_channels=3, num_classes=2, base_channels=8, depth=5)
    assert sorted(network.nodes) == ["0_1", "0_2", "0_3", "0_4", "1_1", "1_2", "1_3", "2_1", "2_2", "3_1"]
    assert network.nodes["0_3"][0][0].in_channels == 4 * 8
    assert len(network.heads) == 1


def test_deep_supervision_trains_every_column_and_answers_with_the_last() -> None:
    network = UNetPlusPlus(in_channels=2, num_classes=3, base_channels=2, depth=4, deep_supervision=True)
    image = torch.randn(2, 2, 21, 30)
    outputs = network.train()(image)
    assert [tuple(output.shape) for output in outputs] == [(2, 3, 21, 30)] * 3
    seen = []
    network.heads[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    answer = network.eval()(image)
    assert torch.equal(answer, seen[0][..., :21, :30])


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("side", [1, 16])
def test_norms_without_the_batch_train_on_one_small_image(norm: str, side: int) -> None:
    network = UNet(3, 2, base_channels=8, norm=norm).train()
    network(torch.randn(1, 3, side, side)).sum().backward()
    assert "BatchNorm2d" not in kinds(network)


def test_batchnorm_on_one_small_image_says_what_to_do() -> None:
    network = UNet(3, 2, base_channels=2).train()
    with pytest.raises(ModelError, match="norm='group'"):
        network(torch.randn(1, 3, 16, 16))


def test_dropout_by_level() -> None:
    def rates(network: nn.Module) -> list[float]:
        return [module.p for module in network.encoder.modules() if isinstance(module, nn.Dropout2d)]

    assert rates(create_model("unet-dropout", 3, 2, base_channels=2)) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3])
    assert rates(create_model("unet-dropout", 3, 2, base_channels=2, depth=3, dropout=0.5)) == [0.5] * 3
    assert rates(create_model("unet-dropout", 3, 2, base_channels="2", depth="2")) == [0.1, 0.1]
    assert rates(UNet(3, 2, base_channels=2, depth=3, dropout=[0.0, 0.1, 0.4])) == [0.1, 0.4]
    assert not rates(UNet(3, 2, base_channels=2))
    dropped = UNet(3, 2, base_channels=4, depth=2, dropout=0.5)
    image = torch.randn(1, 3, 16, 16)
    assert not torch.equal(dropped.train()(image), dropped(image))
    assert torch.equal(dropped.eval()(image), dropped(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"base_channels": 0}, "base_channels is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": [0.1, 0.2]}, "or 5 of them"),
        ({"dropout": "growng"}, "option 'dropout'.*'growng'"),
        ({"norm": "layer"}, "Unknown norm 'layer'"),
        ({"downsample": "stride"}, "Did you mean 'strided'"),
        ({"upsample": "bilinar"}, "Did you mean 'bilinear'"),
        ({"encoder_weights": "imagenet"}, "no weights 'imagenet'"),
    ],
)
def test_options_that_cannot_be_meant(options: dict, message: str) -> None:
    for name in ("unet", "unetplusplus"):
        with pytest.raises(ModelError, match=message), torch.device("meta"):
            create_model(name, 3, 2, **options)
    with pytest.raises(ModelError, match="at least 2"):
        UNetPlusPlus(depth=1)
    with pytest.raises(ModelError, match="dropout is 'much'; expected shares in"):
        UNet(dropout="much")  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 9), (8, 8), (3, 17), (16, 7)])
def test_padding_reflects_where_it_can_and_replicates_elsewhere(height: int, width: int) -> None:
    image = torch.randn(1, 2, height, width)
    padded = image.numpy()
    for axis, length in ((2, height), (3, width)):
        missing = -length % 8
        width_of = [(0, 0)] * 4
        width_of[axis] = (0, missing)
        padded = np.pad(padded, width_of, mode="reflect" if missing < length else "edge")
    assert np.array_equal(pad(image, 8).numpy(), padded)
    assert pad(image, 8, minimum_px=24).shape[2:] == (24, 24)


@pytest.mark.filterwarnings("ignore")  # of the exporter by tracing
def test_padding_and_cropping_survive_onnx(tmp_path) -> None:
    network = UNet(3, 2, base_channels=2).eval()
    image = torch.randn(1, 3, 37, 50)
    torch.onnx.export(network, (image,), tmp_path / "unet.onnx", dynamo=False, input_names=["image"])
    (logits,) = onnxruntime.InferenceSession(tmp_path / "unet.onnx").run(None, {"image": image.numpy()})
    assert np.allclose(logits, network(image).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("bands", [1, 2, 13])
def test_maps_keep_the_bands_of_a_pixel_side_by_side(bands: int) -> None:
    network = UNet(bands, 3, base_channels=4, depth=3)
    layouts = []
    for module in [*network.encoder, *network.decoder]:
        module.register_forward_hook(
            lambda _, __, output: layouts.append(output.is_contiguous(memory_format=torch.channels_last))
        )
    network(torch.randn(2, bands, 20, 33))
    assert layouts == [True] * 5


class OnlyMultiplesOfFour(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[-1] % 4 == images.shape[-2] % 4 == 0
        return images[:, :1].repeat(1, 3, 1, 1)


def test_any_size_wraps_a_foreign_network() -> None:
    network = AnySize(OnlyMultiplesOfFour(), in_channels=2, num_classes=3, stride=4)
    image = torch.randn(1, 2, 5, 11)
    assert torch.equal(network(image), image[:, :1].repeat(1, 3, 1, 1))
    assert network.encoder_module() is None
