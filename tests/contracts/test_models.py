"""What every registered network keeps: any bands, any size, each image for itself, all parameters trained."""

import functools
import io

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from sparsecover.errors import ModelError
from sparsecover.models import (
    EncoderFreezer,
    SegmentationNetwork,
    create_model,
    encoder_parameters,
    list_models,
    prepare_for_cpu,
)

K = 5
SIZES = [(1, 1), (3, 2), (37, 50)]


def small(name: str) -> dict[str, object]:
    """Options that make a network small enough to try many."""
    if name.startswith("unet"):
        return {"base_channels": 4, "depth": 4}
    if name == "hypercolumns":
        return {"hidden": 8, "encoder_weights": None}
    return {"encoder": "resnet18"} if name.startswith("smp-") else {}


# Forests are no networks trained by gradients; they have tests of their own.
NETWORKS = [(name, small(name)) for name in list_models() if not name.startswith("random-forest")]
VARIANTS = [
    *NETWORKS,
    ("unet", {"base_channels": 4, "depth": 1}),
    ("unet", {"base_channels": 4, "depth": 3, "norm": "group", "upsample": "nearest"}),
    ("unet", {"base_channels": 4, "depth": 3, "norm": "instance"}),
    ("unetplusplus", {"base_channels": 4, "depth": 3, "deep_supervision": True}),
    ("unetplusplus", {"base_channels": 4, "depth": 3, "downsample": "strided", "upsample": "bilinear"}),
    ("unet", {"base_channels": 4, "depth": 3, "features": True}),
]


def ids(variants: list[tuple[str, dict[str, object]]]) -> list[str]:
    return ["-".join([name, *(str(v) for k, v in options.items() if k != "encoder")]) for name, options in variants]


every_network = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=ids(VARIANTS))


@functools.cache
def made(index: int) -> SegmentationNetwork:
    """One network of four bands for all tests that leave it as it is."""
    name, options = VARIANTS[index]
    torch.manual_seed(0)
    network = create_model(name, 4, K, **options)
    assert isinstance(network, SegmentationNetwork)
    return network.eval()


def network_of(name: str, options: dict[str, object]) -> SegmentationNetwork:
    return made(VARIANTS.index((name, options))).eval()


def images(n: int, height: int, width: int, bands: int = 4) -> Tensor:
    return torch.randn(n, bands, height, width, generator=torch.Generator().manual_seed(height))


@every_network
@pytest.mark.parametrize("bands", [1, 3, 4, 13])
def test_any_bands_and_any_size(name: str, options: dict[str, object], bands: int) -> None:
    with torch.device("meta"):
        network = create_model(name, bands, K, **options).eval()
    for height, width in SIZES:
        with torch.no_grad():
            assert network(torch.empty(2, bands, height, width, device="meta")).shape == (2, K, height, width)


@every_network
def test_logits_are_finite_and_each_image_stands_for_itself(name: str, options: dict[str, object]) -> None:
    network = network_of(name, options)
    with torch.no_grad():
        for height, width in SIZES:
            batch = images(3, height, width)
            logits = network(batch)
            assert logits.shape == (3, K, height, width)
            assert logits.isfinite().all()
            assert torch.equal(network(batch), logits)
            scale = logits.abs().max()
            assert torch.allclose(network(batch[1:2]), logits[1:2], rtol=1e-4, atol=1e-4 * float(scale))
    assert not torch.equal(logits[0], logits[1])


@every_network
def test_gradient_reaches_every_parameter(name: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = create_model(name, 3, K, **options).train()
    output = network(images(2, 64, 64, bands=3))
    outputs = [output] if isinstance(output, Tensor) else output
    for logits in outputs:
        (logits * torch.randn_like(logits)).sum().backward(retain_graph=True)
    unreached = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not unreached
    zero = [key for key, p in network.named_parameters() if not p.grad.any()]
    # An offset before BatchNorm has none; the foreign networks have a few of those.
    assert not zero or (name.startswith("smp-") and all(key.endswith("bias") for key in zero))


@every_network
def test_state_saves_and_loads(name: str, options: dict[str, object]) -> None:
    network = network_of(name, options)
    torch.manual_seed(1)
    other = create_model(name, 4, K, **options).eval()
    batch = images(1, 33, 20)
    with torch.no_grad():
        assert not torch.equal(other(batch), network(batch))
        other.load_state_dict(load(save({k: v.contiguous() for k, v in network.state_dict().items()})))
        assert torch.equal(other(batch), network(batch))


# Tracing takes seconds; the first few show all layers that our own networks are made of.
TRACED = [variant for variant in VARIANTS if variant[0] in ("unet", "unet-strided-upsample", "unetplusplus")]
OTHERS = [variant for variant in VARIANTS if variant not in TRACED]


@pytest.mark.parametrize(
    ("name", "options"),
    [*TRACED, *(pytest.param(*other, marks=pytest.mark.long) for other in OTHERS)],
    ids=ids(TRACED + OTHERS),
)
def test_torch_export(name: str, options: dict[str, object]) -> None:
    network = network_of(name, options)
    batch = images(2, 37, 50)
    program = torch.export.export(network, (batch,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    restored = torch.export.load(buffer).module()
    more = images(3, 37, 50)
    with torch.no_grad():
        expected = network(more)
        assert torch.allclose(restored(more), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@every_network
def test_a_network_prepared_for_inference_gives_the_same_logits(name: str, options: dict[str, object]) -> None:
    network = network_of(name, options)
    folded = prepare_for_cpu(network)
    count = sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    left = sum(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert left == bool(options.get("features"))  # features are standardised before the first convolution
    assert count > 0 or "norm" in options
    batch = images(2, 37, 50)
    with torch.no_grad():
        expected = network(batch)
        assert torch.allclose(folded(batch), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert all(p.requires_grad for p in network.parameters())


@every_network
def test_encoder_freezes_and_unfreezes_from_the_deep_end(name: str, options: dict[str, object]) -> None:
    network = create_model(name, 4, K, **options)
    freezer = EncoderFreezer(network)
    encoder = encoder_parameters(network)
    assert {id(p) for stage in freezer.stages for p in stage} == {id(p) for p in encoder}
    assert len(freezer.stages) >= options.get("depth", 3)
    freezer.freeze()
    network.train()
    assert not any(p.requires_grad for p in encoder)
    rest = {id(p) for p in network.parameters()} - {id(p) for p in encoder}
    assert rest
    assert all(p.requires_grad for p in network.parameters() if id(p) in rest)
    assert not any(m.training for m in network.encoder_module().modules() if isinstance(m, torch.nn.BatchNorm2d))
    for deepest in range(len(freezer.stages) + 1):
        freezer.unfreeze(deepest)
        trained = [all(p.requires_grad for p in stage) for stage in freezer.stages]
        assert trained == [False] * (len(trained) - deepest) + [True] * deepest
    assert all(m.training for m in network.modules())


@every_network
def test_wrong_input_says_what_is_expected(name: str, options: dict[str, object]) -> None:
    network = network_of(name, options)
    with pytest.raises(ModelError, match=r"\[N, 4, H, W\], but got \[1, 3, 8, 8\]"):
        network(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ModelError, match="uint8"):
        network(torch.zeros(1, 4, 8, 8, dtype=torch.uint8))
    with pytest.raises(ModelError, match=r"\[4, 8, 8\]"):
        network(torch.zeros(4, 8, 8))


@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=ids(NETWORKS))
def test_one_logit_head(name: str, options: dict[str, object]) -> None:
    with torch.device("meta"):
        both, one = create_model(name, 3, 2, **options), create_model(name, 3, 2, binary_head=True, **options)
    assert sum(p.numel() for p in one.parameters()) < sum(p.numel() for p in both.parameters())
    network = create_model(name, 3, 2, binary_head=True, **options).eval()
    with torch.no_grad():
        logits = network(images(1, 20, 30, bands=3))
    assert logits.shape == (1, 2, 20, 30)
    assert not logits[:, 0].any()
    assert logits[:, 1].any()
    with pytest.raises(ModelError, match="num_classes=2, not 3"):
        create_model(name, 3, 3, binary_head=True, **options)
