"""What every registered loss keeps: unlabelled pixels say nothing, and parts of a batch add up to the whole."""

import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sparsecover.errors import ModelError
from sparsecover.losses import PartialLoss, add_other_processes, create_loss, list_losses

K = 4
WEIGHT = [0.5, 2.0, 1.0, 1.5]
VARIANTS = [(name, weight) for name in list_losses() for weight in (None, WEIGHT)]
IDS = [f"{name}-{'weighted' if weight else 'plain'}" for name, weight in VARIANTS]
every_loss = pytest.mark.parametrize(("name", "weight"), VARIANTS, ids=IDS)


def batch(ignore_index: int = 255, n: int = 3, labelled: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(n, K, 5, 7, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(0, K, (n, 5, 7), generator=generator)
    target[torch.rand(n, 5, 7, generator=generator) > labelled] = ignore_index
    return logits, target


def value_and_gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[float, Tensor]:
    logits = logits.detach().requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert logits.grad is not None
    return value.item(), logits.grad


def by_hand(name: str, logits: Tensor, target: Tensor, weight: list[float] | None, ignore_index: int = 255) -> float:
    """The formulas, pixel by pixel, in plain Python."""
    w = weight or [1.0] * K
    ce = focal = divisor = 0.0
    overlap, predicted, true = np.zeros(K), np.zeros(K), np.zeros(K)
    for n, y, x in np.ndindex(*target.shape):
        k = int(target[n, y, x])
        if k == ignore_index:
            continue
        z = logits[n, :, y, x].numpy()
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        ce += w[k] * -math.log(p[k])
        focal += w[k] * (1 - p[k]) ** 2 * -math.log(p[k])
        divisor += w[k]
        overlap[k] += p[k]
        predicted += p
        true[k] += 1
    ce, focal = (ce / divisor, focal / divisor) if divisor else (0.0, 0.0)
    here = [k for k in range(K) if true[k]]
    dice = sum(w[k] * (1 - (2 * overlap[k] + 1e-5) / (predicted[k] + true[k] + 1e-5)) for k in here)
    dice /= sum(w[k] for k in here) or 1
    # Tversky with alpha = beta = 0.5 and its own smoothing
    tversky = sum(w[k] * (1 - (overlap[k] + 1e-5) / ((predicted[k] + true[k]) / 2 + 1e-5)) for k in here)
    tversky /= sum(w[k] for k in here) or 1
    sums = {"dice_ce": ce + dice, "focal_dice": focal + dice, "combo": ce + dice + focal}
    return {"ce": ce, "dice": dice, "focal": focal, "tversky": tversky, **sums}[name]


@every_loss
@pytest.mark.parametrize("ignore_index", [255, -1, 2])
def test_equals_the_formula_over_labelled_pixels(name: str, weight: list[float] | None, ignore_index: int) -> None:
    logits, target = batch(ignore_index)
    loss = create_loss(name, weight=weight, ignore_index=ignore_index)
    assert loss(logits, target).item() == pytest.approx(by_hand(name, logits, target, weight, ignore_index), abs=1e-9)


@every_loss
def test_logits_of_unlabelled_pixels_change_neither_value_nor_gradient(name: str, weight: list[float] | None) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=weight)
    value, gradient = value_and_gradient(loss, logits, target)
    unlabelled = (target == 255).unsqueeze(1).expand_as(logits)
    other = torch.where(unlabelled, logits.flip(1) * 30 - 5, logits)
    other_value, other_gradient = value_and_gradient(loss, other, target)
    assert other_value == value
    assert torch.equal(other_gradient, gradient)
    assert not gradient[unlabelled].any()
    assert gradient[~unlabelled].any()


@every_loss
def test_wholly_unlabelled_images_change_nothing(name: str, weight: list[float] | None) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=weight)
    value, gradient = value_and_gradient(loss, logits, target)
    more = torch.cat([logits, torch.randn_like(logits)]), torch.cat([target, torch.full_like(target, 255)])
    longer_value, longer_gradient = value_and_gradient(loss, *more)
    assert longer_value == pytest.approx(value, abs=1e-12)
    assert torch.allclose(longer_gradient[:3], gradient, atol=1e-15)
    assert not longer_gradient[3:].any()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_label_is_zero_with_zero_gradient(name: str, weight: list[float] | None, dtype: torch.dtype) -> None:
    logits, target = batch()
    value, gradient = value_and_gradient(
        create_loss(name, weight=weight), logits.to(dtype), torch.full_like(target, 255)
    )
    assert value == 0.0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@every_loss
def test_statistics_of_parts_add_up(name: str, weight: list[float] | None) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=weight)
    parts = sum(loss.statistics(logits[i : i + 1], target[i : i + 1]) for i in range(3))
    assert torch.allclose(parts, loss.statistics(logits, target), rtol=1e-12)
    assert loss.finalise(parts).item() == pytest.approx(loss(logits, target).item(), abs=1e-12)


@every_loss
def test_gradcheck(name: str, weight: list[float] | None) -> None:
    logits, target = batch(n=1)
    logits = logits[:, :, :3, :3].clone().requires_grad_()
    loss = create_loss(name, weight=weight)
    assert torch.autograd.gradcheck(lambda z: loss(z, target[:, :3, :3]), (logits,))


@every_loss
def test_half_precision_logits_are_summed_in_single(name: str, weight: list[float] | None) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=weight)
    for dtype in (torch.float16, torch.bfloat16):
        low = logits.to(dtype)
        assert loss.statistics(low, target).dtype == torch.float32
        assert loss(low, target).item() == pytest.approx(loss(low.double(), target).item(), rel=1e-5)


@every_loss
def test_a_list_of_outputs_has_the_mean_of_their_losses(name: str, weight: list[float] | None) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=weight)
    outputs = [logits, -logits, logits.flip(1)]
    expected = sum(loss(each, target).item() for each in outputs) / 3
    assert loss(outputs, target).item() == pytest.approx(expected, abs=1e-12)


@every_loss
def test_one_logit_is_the_pair_of_zero_and_itself(name: str, weight: list[float] | None) -> None:
    logits, target = batch()
    z, target = logits[:, :1], torch.where(target == 255, 255, target % 2)
    loss = create_loss(name, weight=weight and weight[:2])
    pair = torch.cat([torch.zeros_like(z), z], dim=1)
    assert loss(z, target).item() == loss(pair, target).item()


@every_loss
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_any_integer_target(name: str, weight: list[float] | None, dtype: torch.dtype) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=weight)
    assert loss(logits, target.to(dtype)).item() == loss(logits, target).item()


@pytest.mark.parametrize("name", list_losses())
def test_bad_input(name: str) -> None:
    logits, target = batch()
    loss = create_loss(name)
    with pytest.raises(ModelError, match=r"\[3, 4, 5, 7\] and target \[3, 5, 6\]"):
        loss(logits, target[:, :, :6])
    bad = target.clone()
    bad[0, 0, :3] = torch.tensor([-1, 4, 99])
    with pytest.raises(ModelError, match=r"-1, 4, 99; expected class indices 0 to 3, or 255"):
        loss(logits, bad)
    with pytest.raises(ModelError, match="float32"):
        loss(logits, target.float())
    with pytest.raises(ModelError, match="3 class weights, but the logits have 4"):
        create_loss(name, weight=[1, 2, 3])(logits, target)
    for weight in ([1.0, -1.0], [math.nan], [[1.0]]):
        with pytest.raises(ModelError, match="class weights"):
            create_loss(name, weight=weight)


@pytest.mark.parametrize("name", list_losses())
def test_additive_losses_are_a_sum_over_a_weight(name: str) -> None:
    logits, target = batch()
    loss = create_loss(name, weight=WEIGHT)
    assert isinstance(loss, PartialLoss)
    assert loss.additive == (name in ("ce", "focal"))
    if loss.additive:
        total, weight = loss.statistics(logits, target)
        assert weight.item() == pytest.approx(sum(WEIGHT[k] for k in target[target != 255].tolist()))
        assert (total / weight).item() == pytest.approx(loss(logits, target).item())


class Net(nn.Sequential):
    """Without BatchNorm, whose statistics differ from process to process."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__(nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, K, 1))


def images_and_target() -> tuple[Tensor, Tensor]:
    _, target = batch(n=4)
    target[2:] = torch.where(target[2:] == 1, 255, target[2:])  # the second process sees fewer labels and classes
    target[3] = 255
    return torch.randn(4, 2, 5, 7, generator=torch.Generator().manual_seed(1)), target


def train_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    images, target = (part[2 * rank : 2 * rank + 2] for part in images_and_target())
    results = {}
    for name, weight in VARIANTS:
        loss, network = create_loss(name, weight=weight), DistributedDataParallel(Net())
        value = loss.finalise(add_other_processes(loss.statistics(network(images), target)))
        value.backward()
        results[f"{name}-{weight}"] = value.detach(), [p.grad for p in network.parameters()]
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradient_of_one(tmp_path) -> None:
    multiprocessing.spawn(train_in_process, (str(tmp_path),), nprocs=2)
    images, target = images_and_target()
    for rank in (0, 1):
        results = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, weight in VARIANTS:
            network = Net()
            value = create_loss(name, weight=weight)(network(images), target)
            value.backward()
            other_value, gradients = results[f"{name}-{weight}"]
            assert other_value.item() == pytest.approx(value.item(), rel=1e-5)
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6), name


def test_one_process_alone_keeps_its_statistics() -> None:
    statistics = torch.ones(2)
    assert add_other_processes(statistics) is statistics
