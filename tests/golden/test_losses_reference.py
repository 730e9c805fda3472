"""Losses against other libraries: equal where those are right, and by how much they are off where they are not."""

import pytest
import torch
from torch.nn import functional as F

from sparsecover.losses import DiceLoss, FocalLoss, PartialCrossEntropyLoss, TverskyLoss, create_loss
from sparsecover.models.torchvision_pairing import import_beside_torchvision

N, K, H, W = 2, 3, 4, 5


def dense() -> tuple[torch.Tensor, torch.Tensor]:
    """Every pixel labelled; made of sines so that any library can be given the same."""
    i = torch.arange(N * K * H * W, dtype=torch.float64)
    logits = (2 * torch.sin(i * 1.7) + torch.cos(i * 0.3)).reshape(N, K, H, W)
    return logits, (torch.arange(N * H * W) * 7 // 3 % K).reshape(N, H, W)


def partial() -> tuple[torch.Tensor, torch.Tensor]:
    """Every tenth pixel labelled: 4 of 40."""
    logits, target = dense()
    flat = target.flatten()
    flat[torch.arange(len(flat)) % 10 != 0] = 255
    return logits, flat.view_as(target)


@pytest.mark.parametrize("weight", [None, [0.3, 1.0, 2.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_torch_s(weight: list[float] | None, smoothing: float) -> None:
    logits, target = partial()
    tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    expected = F.cross_entropy(logits, target, tensor, ignore_index=255, label_smoothing=smoothing).item()
    loss = PartialCrossEntropyLoss(weight, label_smoothing=smoothing)
    assert loss(logits, target).item() == pytest.approx(expected, rel=1e-7)


def test_weighted_binary_cross_entropy_is_torch_s() -> None:
    logits, target = partial()
    z, target = logits[:, :1], torch.where(target == 255, 255, target % 2)
    labelled = target != 255
    expected = F.binary_cross_entropy_with_logits(
        z[:, 0][labelled], target[labelled].double(), pos_weight=torch.tensor(3.0, dtype=torch.float64)
    )
    assert PartialCrossEntropyLoss(pos_weight=3.0)(z, target).item() == pytest.approx(expected.item(), rel=1e-7)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # MONAI 1.6.1, to_onehot_y=True, softmax=True, batch=True, smooth_nr = smooth_dr = 1e-5
        (DiceLoss(), 0.6557273187942201),  # DiceLoss
        (DiceLoss(classes=[1, 2]), 0.6509908058152079),  # DiceLoss, include_background=False
        (TverskyLoss(alpha=0.3, beta=0.7), 0.655696740610273),  # TverskyLoss, alpha=0.3, beta=0.7
        (create_loss("dice_ce"), 2.46600143652684),  # DiceCELoss
        (FocalLoss(gamma=2.0), 1.480296802520752),  # FocalLoss, use_softmax=True, reduction="none": sum / 40 pixels
    ],
    ids=["dice", "foreground-dice", "tversky", "dice-ce", "focal"],
)
def test_equals_monai_on_dense_labels(loss: torch.nn.Module, expected: float) -> None:
    # MONAI's focal loss computes in single precision
    assert loss(*dense()).item() == pytest.approx(expected, rel=1e-6)


def test_dice_of_certain_answers_is_torchmetrics_score() -> None:
    logits, target = dense()
    certain = F.one_hot(logits.argmax(1), K).movedim(-1, 1).double() * 1000
    reference = import_beside_torchvision("torchmetrics.functional.segmentation", extra="test")
    score = reference.dice_score(
        logits.argmax(1).reshape(1, -1), target.reshape(1, -1), num_classes=K, average="macro", input_format="index"
    )
    assert DiceLoss(smooth=0)(certain, target).item() == pytest.approx(1 - score.item(), rel=1e-6)


def test_smp_cross_entropy_is_diluted_by_the_share_of_labels() -> None:
    smp = import_beside_torchvision("segmentation_models_pytorch", extra="smp")
    logits, target = partial()
    theirs = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255)(logits, target).item()
    ours = PartialCrossEntropyLoss()(logits, target).item()
    assert ours == pytest.approx(1.8023771148466383, rel=1e-9)
    assert theirs == pytest.approx(0.1 * ours, rel=1e-9)  # divided by 40 pixels, of which 4 are labelled


def test_smp_dice_is_masked() -> None:
    smp = import_beside_torchvision("segmentation_models_pytorch", extra="smp")
    theirs = smp.losses.DiceLoss("multiclass", ignore_index=255)(*partial()).item()
    assert DiceLoss(smooth=0)(*partial()).item() == pytest.approx(theirs, rel=1e-6)


def test_kornia_focal_is_diluted_by_the_share_of_labels_and_the_classes() -> None:
    # kornia 0.9.0, focal_loss(alpha=None, gamma=2.0, reduction="mean", ignore_index=255): a mean over all pixels and
    # classes of sums over labelled ones, so 4 of 40 pixels and 3 classes make it 30 times too small.
    kornia = 0.048318390716700084
    assert FocalLoss(gamma=2.0)(*partial()).item() == pytest.approx(30 * kornia, rel=1e-6)
