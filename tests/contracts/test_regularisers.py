"""What every registered regulariser keeps: labels rule, nodata and held-out ground stay silent, a seed decides."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparsecover.errors import ConfigError, ModelError
from sparsecover.models import create_model
from sparsecover.patches import HELD_OUT, Batch
from sparsecover.training.regularisers import (
    Regulariser,
    Suggester,
    create_regulariser,
    free_pixels,
    list_regularisers,
)
from sparsecover.training.regularisers.gated_crf import pair_energy
from sparsecover.training.terms import Terms

K, SIZE = 3, 12
every_regulariser = pytest.mark.parametrize("name", list_regularisers())


def make(name: str, **options: object) -> Regulariser:
    return create_regulariser(name, **({"threshold": 0.0} if name == "consistency" else {}), **options)


def make_batch(labelled: float = 0.2) -> Batch:
    """Windows with labels, suggestions, nodata and held-out ground."""
    random = torch.Generator().manual_seed(3)
    labels = torch.randint(0, K, (2, SIZE, SIZE), generator=random).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=random) >= labelled] = 255
    hints = torch.randint(0, K, labels.shape, generator=random).to(torch.uint8)
    hints[:, 8:] = 255
    hints[:, :2] = HELD_OUT
    valid = torch.ones(labels.shape, dtype=torch.bool)
    valid[:, :, :3] = False
    images = torch.randn(2, 3, SIZE, SIZE, generator=random) * valid[:, None]
    return Batch(images, labels.masked_fill(~valid, 255), valid, hints=hints)


def network(images: Tensor) -> Tensor:
    """Each pixel for itself, so that an influence shows where it comes from."""
    weight = torch.linspace(-1, 1, 3 * K).reshape(K, 3, 1, 1)
    return torch.nn.functional.conv2d(images, 2 * weight)


def at_work(part: Regulariser, batch: Batch, done: float = 0.5, seed: int = 0) -> tuple[float, Tensor, Terms]:
    """The term, its gradient by the logits of all that is looked at, and the terms."""
    terms = Terms.prepare([part], batch, done, network, torch.Generator().manual_seed(seed))
    logits = network(terms.images).requires_grad_()
    loss = terms.loss(logits)
    gradient = torch.autograd.grad(loss, logits, allow_unused=True)[0] if loss.requires_grad else None
    return loss.item(), torch.zeros_like(logits) if gradient is None else gradient, terms


@every_regulariser
def test_it_acts_and_its_gradient_is_finite(name: str) -> None:
    value, gradient, terms = at_work(make(name), make_batch())
    assert value > 0
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
    assert (terms.sums[:, 1] > 0).all()


@every_regulariser
@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_weight_0_does_nothing_and_is_not_even_asked(name: str, done: float) -> None:
    batch = make_batch()
    value, gradient, terms = at_work(make(name, weight=0.0), batch, done)
    assert value == 0
    assert not gradient.any()
    assert terms.images is batch.images
    assert not terms.sums.any()


@every_regulariser
def test_without_a_free_pixel_nothing_changes(name: str) -> None:
    batch = make_batch(labelled=1.1)
    value, gradient, terms = at_work(make(name), batch)
    assert value == 0
    assert not gradient.any()
    assert terms.images is batch.images  # statistics of norms stay as they are


@every_regulariser
def test_nodata_has_no_influence(name: str) -> None:
    batch = make_batch()
    other = batch.images.clone()
    other[(~batch.valid)[:, None].expand_as(other)] = 9.0
    value, gradient, _ = at_work(make(name), batch)
    changed, other_gradient, _ = at_work(make(name), replace(batch, images=other))
    assert changed == pytest.approx(value, rel=1e-6)
    assert not other_gradient[:2][(~batch.valid)[:, None].expand(2, K, SIZE, SIZE)].any()
    torch.testing.assert_close(other_gradient[2:], gradient[2:])


@every_regulariser
def test_nothing_is_inferred_on_held_out_ground(name: str) -> None:
    part, batch = make(name), make_batch()
    all_held = replace(batch, hints=torch.full_like(batch.labels, HELD_OUT))
    value, gradient, _ = at_work(part, all_held)
    assert value == 0
    assert not gradient.any()
    assert not free_pixels(batch)[:, :2].any()


@every_regulariser
def test_the_true_label_rules_where_there_is_one(name: str) -> None:
    """No target of a term lies on a labelled pixel of the window that it looks at."""
    batch = make_batch()
    part = make(name, cutmix=0.0) if name == "consistency" else make(name)
    terms = Terms.prepare([part], batch, 0.5, network, torch.Generator())
    view = terms.views[0]
    assert view is not None
    labelled = batch.labels != 255
    if name == "consistency":
        assert (view.labels[labelled] == 255).all()
        assert not view.hints[labelled].any()
    elif isinstance(part, Suggester):
        _, gradient, _ = at_work(part, batch)
        assert not gradient[labelled[:, None].expand_as(gradient)].any()
    else:
        assert not free_pixels(view)[labelled].any()


@every_regulariser
def test_the_seed_decides(name: str) -> None:
    batch = make_batch()
    first, again, other = (at_work(make(name), batch, seed=seed) for seed in (1, 1, 2))
    assert first[0] == again[0]
    assert torch.equal(first[1], again[1])
    if name == "consistency":
        assert other[0] != first[0]


@every_regulariser
def test_the_weight_stays_within_0_and_what_was_asked_for(name: str) -> None:
    part = make(name, weight=0.7)
    weights = [part.weight_at(done) for done in np.linspace(0, 1, 11)]
    assert all(0 <= weight <= 0.7 for weight in weights)
    assert max(weights) == pytest.approx(0.7)


@every_regulariser
def test_the_batch_of_a_process_may_be_empty_of_ground(name: str) -> None:
    batch = make_batch()
    blind = replace(batch, valid=torch.zeros_like(batch.valid), labels=torch.full_like(batch.labels, 255))
    value, gradient, _ = at_work(make(name), blind)
    assert value == 0
    assert not gradient.any()


@every_regulariser
def test_options_that_cannot_be_meant_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="weight is -1"):
        create_regulariser(name, weight=-1)
    with pytest.raises(ModelError, match="Unknown option 'wieght'"):
        create_regulariser(name, wieght=1)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="consistency"):
        create_regulariser("consistancy")


def crf_by_loops(p: np.ndarray, image: np.ndarray, valid: np.ndarray, gate: np.ndarray, radius: int) -> float:
    """The definition, pixel by pixel, with sigma_xy 6 and sigma_rgb 0.1."""
    count, _, height, width = p.shape
    total = 0.0
    for n, y, x in np.ndindex(count, height, width):
        for v, u in np.ndindex(height, width):
            near = abs(v - y) <= radius and abs(u - x) <= radius and (v, u) != (y, x)
            if not (near and gate[n, y, x] and valid[n, v, u]):
                continue
            colour = ((image[n, :, y, x] - image[n, :, v, u]) ** 2).sum() / (2 * 0.1**2)
            kernel = np.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * 6.0**2) - colour)
            total += kernel * (1 - (p[n, :, y, x] * p[n, :, v, u]).sum())
    return total


@pytest.mark.parametrize(("radius", "shape"), [(1, (5, 6)), (2, (7, 5)), (5, (4, 9))])
def test_the_gated_crf_is_its_definition(radius: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(radius)
    p = rng.dirichlet(np.ones(K), (2, *shape)).transpose(0, 3, 1, 2)
    image = rng.random((2, 3, *shape)) * 0.3
    valid = rng.random((2, *shape)) > 0.2
    gate = valid & (rng.random((2, *shape)) > 0.3)
    probabilities = torch.from_numpy(p).requires_grad_()
    arguments = (torch.from_numpy(image), torch.from_numpy(valid), torch.from_numpy(gate), radius)
    assert pair_energy(probabilities, *arguments).item() == pytest.approx(crf_by_loops(p, image, valid, gate, radius))
    assert torch.autograd.gradcheck(lambda z: pair_energy(z, *arguments), (probabilities,))


def test_a_single_logit_stands_for_two_classes() -> None:
    part, batch = make("gated_crf"), make_batch()
    terms = Terms.prepare([part], batch, 0.5, network, torch.Generator())
    z = torch.randn(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert terms.loss(z).item() == pytest.approx(terms.loss(torch.cat([torch.zeros_like(z), z], 1)).item())
    assert terms.loss(z).item() > 0


def test_cutmix_moves_image_pseudo_label_and_ignore_mask_alike() -> None:
    """Image, label and mask of each pixel come from the same window: here each window has its own constant."""
    part = create_regulariser("consistency", threshold=0.0, cutmix=1.0, strength=0.0)
    batch = make_batch(labelled=0.0)
    images = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, SIZE, SIZE).clone()
    valid = torch.ones_like(batch.valid)
    hints = torch.full_like(batch.labels, 255)
    hints[0, :6] = HELD_OUT

    def teacher(seen: Tensor) -> Tensor:
        return torch.stack([-seen[:, 0], seen[:, 0], torch.zeros_like(seen[:, 0])], 1) * 9

    view = part.view(replace(batch, images=images, valid=valid, hints=hints), teacher, torch.Generator().manual_seed(4))
    assert view is not None
    from_second = view.images[:, 0] > 0
    assert 0 < from_second[0].sum() < SIZE**2
    free = view.hints.bool()
    assert (view.labels[free] == from_second[free].to(torch.uint8)).all()
    assert (view.labels[~free] == 255).all()
    assert free[from_second].all()  # nothing of the second window was held out
    rows = torch.arange(SIZE)[None, :, None].expand(2, SIZE, SIZE)
    assert torch.equal(free[~from_second], rows[~from_second] >= 6)


def test_the_consistency_ramp_and_threshold() -> None:
    part = create_regulariser("consistency", weight=2.0, ramp=0.4, threshold=0.99, cutmix=0.0)
    assert part.weight_at(0.0) == pytest.approx(2 * np.exp(-5))
    assert part.weight_at(0.2) == pytest.approx(2 * np.exp(-5 / 4))
    assert part.weight_at(0.4) == part.weight_at(1.0) == 2.0
    batch = make_batch()
    unsure = part.view(batch, lambda images: torch.zeros(2, K, SIZE, SIZE), torch.Generator())
    assert unsure is not None
    _, divisor, taught = part.sums(torch.zeros(2, K, SIZE, SIZE), unsure).tolist()
    assert (divisor, taught) == (int(free_pixels(batch).sum()), 0)


@every_regulariser
@pytest.mark.parametrize("kind", ["unet", "unetplusplus"])
def test_networks_learn_from_it(name: str, kind: str) -> None:
    """Through a network with BatchNorm, and with several outputs."""
    options = {"deep_supervision": True} if kind == "unetplusplus" else {}
    model: nn.Module = create_model(kind, 3, K, base_channels=4, depth=2, **options).train()
    batch = make_batch()
    ask: Callable[[Tensor], Tensor] = lambda images: network(images)  # noqa: E731
    terms = Terms.prepare([make(name)], batch, 0.5, ask, torch.Generator().manual_seed(0))
    logits = model(terms.images)
    own = terms.own(logits)
    assert all(len(each) == 2 for each in ([own] if isinstance(own, Tensor) else own))
    terms.loss(logits).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)
