"""Folders as a plain torch Dataset."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from sparsecover.errors import ConfigError, DataError
from sparsecover.losses import create_loss
from sparsecover.models import create_model
from sparsecover.patches import PatchDataset
from sparsecover.training import Trainer


def write_folders(root: Path, sizes: list[tuple[int, int]]) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    images, masks = root / "images", root / "masks"
    images.mkdir()
    masks.mkdir()
    for number, (height, width) in enumerate(sizes):
        mask = np.full((height, width), number % 2 * 4, np.uint8)
        mask[: height // 2] = 2
        image = (mask * 40)[..., None] + rng.integers(0, 50, (height, width, 3))
        Image.fromarray(image.astype(np.uint8)).save(images / f"part_{number}.png")
        Image.fromarray(mask).save(masks / f"part_{number}.png")
    return images, masks


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_folders(tmp_path, [(32, 48)] * 4)


def test_samples_are_images_and_indices(folders: tuple[Path, Path]) -> None:
    dataset = PatchDataset(images=folders[0], labels=folders[1])
    image, target = dataset[1]
    assert (image.shape, image.dtype) == ((3, 32, 48), torch.float32)
    assert (target.shape, target.dtype) == ((32, 48), torch.int64)
    stored = np.moveaxis(np.asarray(Image.open(folders[0] / "part_1.png")), -1, 0)
    np.testing.assert_allclose(image.numpy(), stored / 255, atol=1e-6)
    # The codes 0, 2 and 4 are the indices 0, 1 and 2.
    assert (target[:16] == 1).all()
    assert (target[16:] == 2).all()
    assert len(dataset) == 4
    assert len(dataset.class_names) == dataset.in_channels == 3


def test_a_fraction_of_the_labels_is_fixed_by_the_seed(folders: tuple[Path, Path]) -> None:
    def targets(**options: float) -> torch.Tensor:
        dataset = PatchDataset(*map(str, folders), **options)  # type: ignore[arg-type]
        return torch.stack([dataset[i][1] for i in (3, 0, 2, 1)])

    full, part = targets(), targets(labelled_fraction=0.1, seed=42)
    labelled = part != 255
    assert labelled.double().mean() == pytest.approx(0.1, abs=0.01)
    assert (part[labelled] == full[labelled]).all()
    assert torch.equal(part, targets(labelled_fraction=0.1, seed=42))
    assert not torch.equal(part, targets(labelled_fraction=0.1, seed=43))


def test_relative_folders_patterns_and_unlabelled_codes(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = PatchDataset(images="images/*_[13].png", labels=Path("masks") / "*_[13].png", unlabelled=[2])
    assert len(dataset) == 2
    assert (dataset[0][1][:16] == 255).all()


def test_images_of_several_sizes_become_tiles(tmp_path: Path) -> None:
    images, masks = write_folders(tmp_path, [(40, 70), (300, 20)])
    dataset = PatchDataset(images, masks, size_px=32)
    assert {tuple(target.shape) for _, target in dataset} == {(32, 32)}
    labelled = sum(int((target != 255).sum()) for _, target in dataset)
    assert labelled == 40 * 70 + 300 * 20
    assert PatchDataset(images, masks)[0][0].shape == (3, 256, 256)


def test_validation_takes_the_normaliser_of_training(folders: tuple[Path, Path]) -> None:
    train = PatchDataset(*folders, normalize="zscore")
    again = PatchDataset(*folders, normalize=train.normalizer)
    assert torch.equal(train[2][0], again[2][0])
    assert abs(float(torch.stack([x for x, _ in train]).mean())) < 1e-3


def test_a_loop_of_ones_own_and_the_trainer_take_it(folders: tuple[Path, Path]) -> None:
    dataset = PatchDataset(*folders, labelled_fraction=0.2)
    data = DataLoader(dataset, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = create_model("unet", 3, 3, base_channels=4, depth=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    history = Trainer(model, create_loss("ce"), optimizer, device="cpu", precision="fp32").fit(data, data, epochs=20)
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]  # type: ignore[operator]


def test_it_travels_to_spawned_workers(folders: tuple[Path, Path]) -> None:
    dataset = PatchDataset(*folders, labelled_fraction=0.2)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301  our own bytes
    assert torch.equal(copy[1][0], dataset[1][0])
    assert torch.equal(copy[1][1], dataset[1][1])


def test_missing_folders_are_explained(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        PatchDataset(tmp_path / "nowhere", folders[1])


@pytest.mark.parametrize("fraction", [1.5, 0.0, -0.1, float("nan")])
def test_shares_of_labels_that_cannot_be_meant(folders: tuple[Path, Path], fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"labelled_fraction is .*above 0 and at most 1"):
        PatchDataset(*folders, labelled_fraction=fraction)
