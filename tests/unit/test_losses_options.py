"""Parameters of the losses, their registry, and what they cost at import."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from sparsecover.config import Config
from sparsecover.errors import ModelError
from sparsecover.losses import (
    DiceLoss,
    FocalLoss,
    PartialCrossEntropyLoss,
    PartialLoss,
    TverskyLoss,
    WeightedSum,
    check_loss,
    create_loss,
    list_losses,
    register_loss,
)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (2, 6, 6), generator=generator)
    target[:, :3] = 255
    return torch.randn(2, 3, 6, 6, generator=generator), target


def test_foreground_dice_counts_only_the_classes_named() -> None:
    logits, target = batch()
    p, y = F.softmax(logits, 1)[:, 1], target == 1
    labelled = target != 255
    expected = 1 - (2 * p[y].sum() + 1e-5) / (p[labelled].sum() + y.sum() + 1e-5)
    assert DiceLoss(classes=[1])(logits, target).item() == pytest.approx(expected.item(), abs=1e-6)
    assert DiceLoss(classes=[1])(logits, torch.where(target == 1, 255, target)).item() == 0
    with pytest.raises(ModelError, match="classes 0 to 2"):
        DiceLoss(classes=[3])(logits, target)


def test_tversky_weighs_false_positives_and_negatives() -> None:
    logits = torch.zeros(1, 2, 1, 4)  # p = 1/2 everywhere: TP = FN = y/2, FP = (4 - y)/2
    target = torch.tensor([[[0, 1, 1, 1]]])
    loss = TverskyLoss(alpha=0.2, beta=0.8, smooth=0)
    first, second = 0.5 / (0.5 + 0.2 * 1.5 + 0.8 * 0.5), 1.5 / (1.5 + 0.2 * 0.5 + 0.8 * 1.5)
    assert loss(logits, target).item() == pytest.approx(1 - (first + second) / 2)
    powered = TverskyLoss(alpha=0.2, beta=0.8, smooth=0, gamma=0.75)
    assert powered(logits, target).item() == pytest.approx(((1 - first) ** 0.75 + (1 - second) ** 0.75) / 2)


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, target = batch()
    weight = [1.0, 3.0, 0.5]
    expected = PartialCrossEntropyLoss(weight)(logits, target).item()
    assert FocalLoss(weight, gamma=0)(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_alpha_balances_two_classes() -> None:
    logits, target = batch()
    target = torch.where(target == 2, 255, target)
    expected = FocalLoss([0.75, 0.25])(logits[:, :2], target).item()
    assert FocalLoss(alpha=0.25)(logits[:, :2], target).item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_finite_gradients_where_the_answer_is_certain(gamma: float) -> None:
    logits = torch.tensor([100.0, -100.0]).view(1, 2, 1, 1).requires_grad_()
    FocalLoss(gamma=gamma)(logits, torch.zeros(1, 1, 1, dtype=torch.long)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_terms_of_sums_have_weights_and_options() -> None:
    logits, target = batch()
    ce, dice, focal = (
        loss(logits, target)
        for loss in (
            PartialCrossEntropyLoss(label_smoothing=0.1),
            DiceLoss(smooth=1.0, classes=[1, 2]),
            FocalLoss(gamma=3.0),
        )
    )
    combo = create_loss(
        "combo",
        ce_weight=2,
        dice_weight=0.5,
        focal_weight=4,
        label_smoothing=0.1,
        smooth=1.0,
        classes=[1, 2],
        gamma=3.0,
    )
    assert combo(logits, target).item() == pytest.approx((2 * ce + 0.5 * dice + 4 * focal).item())


def test_sums_balance_two_classes_in_their_own_terms() -> None:
    logits, target = batch()
    logits, target = logits[:, :2], torch.where(target == 2, 255, target)
    dice = DiceLoss()(logits, target).item()
    ce = PartialCrossEntropyLoss(pos_weight=3.0)(logits, target).item()
    focal = FocalLoss(alpha=0.8)(logits, target).item()
    assert create_loss("dice_ce", pos_weight=3.0)(logits, target).item() == pytest.approx(ce + dice)
    assert create_loss("focal_dice", alpha=0.8)(logits, target).item() == pytest.approx(focal + dice)
    combo = create_loss("combo", pos_weight=3.0, alpha=0.8)
    assert combo(logits, target).item() == pytest.approx(ce + dice + focal)


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ({"name": "ce", "pos_weight": 3}, "none"),
        ({"name": "focal", "alpha": 0.3}, "none"),
        ({"name": "focal", "alpha": 0.3, "class_weights": "inverse"}, "inverse"),
        ({"name": "tversky", "alpha": 0.3}, "tempered"),
        ({"name": "focal", "alpha": None}, "tempered"),
        ({}, "tempered"),
    ],
)
def test_an_option_that_balances_takes_the_place_of_the_default_weights(loss: dict, weights: str) -> None:
    assert Config.from_dict({"loss": loss}).loss.class_weights == weights


def test_numbers_may_be_text_as_yaml_reads_them() -> None:
    loss = create_loss("tversky", smooth="1e-4", alpha="0.3")
    assert isinstance(loss, TverskyLoss)
    assert (loss.smooth, loss.alpha) == (1e-4, 0.3)


def test_sums_of_sums() -> None:
    logits, target = batch()
    inner = create_loss("dice_ce")
    outer = WeightedSum([(0.5, FocalLoss()), (2.0, TverskyLoss())])
    both = outer(logits, target).item()
    assert both == pytest.approx(0.5 * FocalLoss()(logits, target).item() + 2 * TverskyLoss()(logits, target).item())
    assert inner.statistics(logits, target).shape == (2 + 3 * 3,)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ce", {"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ("ce", {"pos_weight": 2.0, "weight": [1, 1]}, "one of them"),
        ("ce", {"gama": 2.0}, "Unknown option 'gama' of the loss 'ce'"),
        ("combo", {"pos_weight": 2.0, "weight": [1, 1]}, "class_weights: none"),
        ("focal_dice", {"alpha": 0.5, "weight": [1, 1]}, "class_weights: none"),
        (
            "tversky",
            {"alpha": "much"},
            "'alpha' of the loss 'tversky' is 'much'. Input should be a valid number",
        ),
        ("dice", {"classes": 1}, "option 'classes' of the loss 'dice' is 1"),
        ("focal", {"gamma": -1.0}, "gamma is -1.0"),
        ("focal", {"gama": -1.0}, "Did you mean 'gamma'"),
        ("focal", {"alpha": 2.0}, "alpha is 2.0"),
        ("tversky", {"alpha": 0.0, "beta": 0.0}, "not both 0"),
        ("tversky", {"gamma": 0.0}, "gamma above 0"),
        ("dice", {"classes": []}, "classes is empty"),
        ("dice_ce", {"dice_weight": -1.0}, "at least 0"),
        ("dicece", {}, "Did you mean 'dice_ce' or 'dice'"),
    ],
)
def test_options_that_cannot_be_meant(name: str, options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_loss(name, **options)
    with pytest.raises(ModelError, match=r"loss\.class_weights" if "weight" in options else message):
        check_loss(name, options)


def test_registered_losses_are_found_by_name() -> None:
    class Mine(PartialCrossEntropyLoss):
        pass

    register_loss("mine-for-the-test", Mine)
    assert "mine-for-the-test" in list_losses()
    loss = create_loss("mine-for-the-test", weight=[1, 2, 3], ignore_index=7, label_smoothing=0.1)
    assert isinstance(loss, Mine)
    assert loss.ignore_index == 7
    with pytest.raises(ModelError, match="exists already"):
        register_loss("ce", Mine)
    with pytest.raises(ModelError, match="callable"):
        register_loss("not-a-loss", 3)  # type: ignore[arg-type]


def test_weights_move_with_the_loss_and_are_not_state() -> None:
    loss = create_loss("ce", weight=[1.0, 2.0])
    assert isinstance(loss, PartialLoss)
    assert loss.to(torch.float64).weight.dtype == torch.float64
    assert not loss.state_dict()


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from sparsecover.losses import list_losses; from sparsecover.models import list_models; "
        "assert list_losses() and list_models(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", list_losses())
def test_a_batch_without_images_or_pixels_is_zero(name: str) -> None:
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4)):
        logits = torch.zeros(shape, requires_grad=True)
        target = torch.zeros((shape[0], *shape[2:]), dtype=torch.long)
        assert create_loss(name)(logits, target).item() == 0
