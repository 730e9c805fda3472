"""Convolutions with fewer multiplications give what torch's give, for any size."""

import pytest
import torch
from torch import nn

from sparsecover.models import UNet, prepare_for_cpu, winograd
from sparsecover.models.winograd import WinogradConv2d, suits, use_winograd


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors of any width."""
    monkeypatch.setattr(winograd, "_NARROWEST", 64)


def convolution(bias: bool = True, in_channels: int = 128, out_channels: int = 136) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tiles_at_once", [1, 7, 10_000])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 4), (3, 5, 2), (2, 17, 24), (5, 8, 3)])
def test_equals_the_direct_sum(bias: bool, tiles_at_once: int, shape: tuple[int, int, int], monkeypatch) -> None:
    monkeypatch.setattr(winograd, "_FEWEST_TILES", 0)
    monkeypatch.setattr(winograd, "_BLOCK_TILES", tiles_at_once)
    direct = convolution(bias)
    images = torch.randn(shape[0], 128, *shape[1:])
    expected, given = direct(images), WinogradConv2d(direct)(images)
    assert given.shape == expected.shape
    assert given.is_contiguous(memory_format=torch.channels_last)
    assert (given - expected).abs().max() < 2e-5 * expected.abs().max()


def test_the_direct_sum_is_taken_for_small_maps_and_for_compilers() -> None:
    counted = WinogradConv2d(convolution())
    calls = []
    counted.direct.register_forward_hook(lambda *_: calls.append(1))
    counted(torch.randn(1, 128, 12, 12))
    assert len(calls) == 1
    counted(torch.randn(1, 128, 16, 16))
    assert len(calls) == 1
    program = torch.export.export(WinogradConv2d(convolution()), (torch.randn(1, 128, 16, 16),))
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"] == ["aten.conv2d.default"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (convolution(), True),
        (convolution(in_channels=48), False),
        (convolution(in_channels=1024, out_channels=1024), False),
        (nn.Conv2d(128, 128, 3), False),
        (nn.Conv2d(128, 128, 3, padding=1, stride=2), False),
        (nn.Conv2d(128, 128, 3, padding=2, dilation=2), False),
        (nn.Conv2d(128, 128, 3, padding=1, groups=2), False),
        (nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"), False),
        (nn.Conv2d(128, 128, 1), False),
        (nn.Conv2d(128, 128, 3, padding=1).half(), False),
        (nn.ConvTranspose2d(128, 128, 3, padding=1), False),
        (type("Scaled", (nn.Conv2d,), {})(128, 128, 3, padding=1), False),
    ],
)
def test_only_wide_plain_convolutions_are_replaced(module: nn.Module, expected: bool) -> None:
    assert suits(module) is expected
    network = nn.Sequential(module)
    use_winograd(network)
    assert isinstance(network[0], WinogradConv2d) is expected


def test_a_wide_network_prepared_for_inference() -> None:
    torch.manual_seed(0)
    network = UNet(4, 5, base_channels=64, depth=3)
    network.train()(torch.randn(2, 4, 32, 32))  # statistics unlike those at the start
    network.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.randn(2, 4, 61, 70)
    with torch.inference_mode():
        expected, given = network(images), prepare_for_cpu(network)(images)
    assert sum(isinstance(module, WinogradConv2d) for module in prepare_for_cpu(network).modules()) == 9
    assert (given - expected).abs().max() < 1e-4 * expected.abs().max()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
