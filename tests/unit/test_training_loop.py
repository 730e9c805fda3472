"""The loop on any network, loss and loader."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sparsecover.errors import ConfigError, DataError, TrainingError
from sparsecover.losses import create_loss
from sparsecover.models import UNetPlusPlus, create_model
from sparsecover.patches import Augmenter, Batch
from sparsecover.progress import Silent
from sparsecover.training import Schedule, Trainer
from sparsecover.training.stepper import Stepper


def make_model(seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("unet", 2, 3, **({"base_channels": 4, "depth": 2, "norm": "group"} | options))


def make_data(count: int = 8, labelled: float = 0.3, size: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count, size // 4, size // 4), generator=generator)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)  # fields of 4 x 4 px
    images = torch.stack([labels - 1.0, (labels == 2) * 1.0], 1) + 0.3 * torch.randn(
        count, 2, size, size, generator=generator
    )
    labels[torch.rand(labels.shape, generator=generator) > labelled] = 255
    return images, labels


def make_trainer(model: nn.Module, lr: float = 1e-2, **options: Any) -> Trainer:
    loss = options.pop("loss", None) or create_loss("ce")
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return Trainer(model, loss, optimizer, device="cpu", precision="fp32", **options)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def loader(images: Tensor, labels: Tensor, batch_size: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size)


def test_a_plain_loop_and_the_trainer_take_the_same_steps() -> None:
    images, labels = make_data()
    theirs, ours = make_model(), make_model()
    optimizer, loss = torch.optim.SGD(theirs.parameters(), lr=0.1), create_loss("ce")
    for x, y in loader(images, labels, 4):
        optimizer.zero_grad()
        loss(theirs(x), y).backward()
        optimizer.step()
    make_trainer(ours, lr=0.1).fit(loader(images, labels, 4), epochs=1)
    torch.testing.assert_close(weights(ours), weights(theirs))


@pytest.mark.parametrize("name", ["ce", "focal"])
def test_accumulated_batches_give_the_gradient_of_one_large_batch(name: str) -> None:
    images, labels = make_data()
    labels[0:2] = 255  # a batch without labels must not dilute the others
    labels[2:4, 1:] = 255
    whole, parts = make_model(), make_model()
    weight = [1.0, 2.0, 0.5]
    make_trainer(whole, loss=create_loss(name, weight)).fit(loader(images, labels, 8), epochs=1)
    make_trainer(parts, loss=create_loss(name, weight), accumulate=4).fit(loader(images, labels, 2), epochs=1)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-7)


def test_mean_of_means_would_fail_the_test_above() -> None:
    images, labels = make_data()
    labels[2:4, 1:] = 255
    loss, model = create_loss("ce"), make_model()
    whole = loss(model(images), labels).detach()
    means = torch.stack([loss(model(images[i : i + 2]), labels[i : i + 2]) for i in range(0, 8, 2)]).mean().detach()
    assert abs(float(whole - means)) > 1e-4


def test_ratio_losses_are_averaged_over_the_batches_of_a_step() -> None:
    images, labels = make_data(4)
    theirs, ours = make_model(), make_model()
    loss = create_loss("dice")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    torch.stack([loss(theirs(x), y) for x, y in loader(images, labels, 2)]).mean().backward()
    optimizer.step()
    make_trainer(ours, lr=0.1, loss=loss, accumulate=2).fit(loader(images, labels, 2), epochs=1)
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-5, atol=1e-7)


def test_wholly_unlabelled_batches_change_nothing_and_are_not_nan() -> None:
    images, labels = make_data(4)
    model = make_model()
    before = weights(model)
    history = make_trainer(model).fit(loader(images, torch.full_like(labels, 255), 2), epochs=1)
    assert torch.equal(weights(model), before)
    assert history[0]["train_loss"] == 0


def test_gradients_are_clipped_to_the_norm_given() -> None:
    images, labels = make_data(4)
    free, clipped = make_model(), make_model()
    before = weights(free)
    make_trainer(free, lr=1.0).fit(loader(images, labels, 4), epochs=1)
    make_trainer(clipped, lr=1.0, clip=0.01).fit(loader(images, labels, 4), epochs=1)
    assert (weights(free) - before).norm() > 0.05
    assert float((weights(clipped) - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_deep_supervision_trains_all_heads() -> None:
    torch.manual_seed(0)
    model = UNetPlusPlus(2, 3, base_channels=4, depth=3, deep_supervision=True)
    images, labels = make_data(4)
    before = [head.weight.detach().clone() for head in model.heads]
    history = make_trainer(model, accumulate=2).fit(loader(images, labels, 2), loader(images, labels, 2), epochs=1)
    assert all(not torch.equal(a, b.weight) for a, b in zip(before, model.heads, strict=True))
    assert history[0]["val_loss"] is not None


def test_it_learns_and_reports_what_it_did() -> None:
    images, labels = make_data(16, labelled=0.2)
    _, truth = make_data(16, labelled=1.0)
    model = make_model(norm="batch")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    trainer = Trainer(
        model, create_loss("ce"), optimizer, device="cpu", precision="fp32", ema=True, class_names=["a", "b", "c"],
        schedule=Schedule("cosine"), augmenter=Augmenter.preset("light"),
    )  # fmt: skip
    history = trainer.fit(loader(images, labels, 4), loader(images, truth, 5), epochs=25)
    assert [row["epoch"] for row in history] == list(range(1, 26))
    assert history[-1]["step"] == 100
    last = history[-1]
    assert last["miou"] > 0.8
    assert last["val_loss"] < history[0]["val_loss"]
    assert last["miou"] == pytest.approx(sum(last[f"iou_{n}"] for n in "abc") / 3)  # type: ignore[misc]
    assert last["learning_rate"] < 0.1 * history[0]["learning_rate"]  # type: ignore[operator]
    assert last["images_per_second"] > 0
    # The figures are the average's, and it is another network than the one that trains.
    assert trainer.scores is not None
    assert not torch.equal(weights(trainer.network), weights(model))
    with torch.no_grad():
        right = (trainer.network(images).argmax(1) == truth).double().mean()
    assert last["accuracy"] == pytest.approx(float(right))


def test_other_ignore_values_and_torch_losses_work() -> None:
    images, labels = make_data(4)
    labels[labels == 255] = -1
    for loss in (create_loss("ce", ignore_index=-1), nn.CrossEntropyLoss(ignore_index=-1)):
        history = make_trainer(make_model(), loss=loss).fit(
            loader(images, labels, 2), loader(images, labels, 2), epochs=1
        )
        assert history[0]["miou"] is not None


def test_validation_can_be_rarer_and_the_last_epoch_is_always_validated() -> None:
    data = loader(*make_data(4), 2)
    history = make_trainer(make_model()).fit(data, data, epochs=5, validate_every=2)
    assert [row["miou"] is not None for row in history] == [False, True, False, True, True]


class Recorder(Silent):
    """Remembers notes and figures."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[float, float]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, done: float, total: float, **values: float | str) -> None:
        self.steps.append((done, total))


def test_early_stopping_ends_after_patience() -> None:
    data, reporter = loader(*make_data(4), 2), Recorder()
    trainer = make_trainer(make_model(), lr=0.0, reporter=reporter)  # nothing ever becomes better
    assert len(trainer.fit(data, data, epochs=20, early_stopping=3)) == 4
    assert any("Stopped early" in note for note in reporter.notes)


def test_fitting_again_goes_on() -> None:
    data = loader(*make_data(4), 2)
    trainer = make_trainer(make_model())
    trainer.fit(data, epochs=2)
    history = trainer.fit(data, epochs=1)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert trainer.progress.step == 6


def test_what_needs_validation_is_refused_without() -> None:
    data = loader(*make_data(4), 2)
    with pytest.raises(ConfigError, match="validation"):
        make_trainer(make_model()).fit(data, epochs=1, early_stopping=2)
    with pytest.raises(ConfigError, match="reduce_plateau"):
        make_trainer(make_model(), schedule=Schedule("reduce_plateau")).fit(data, epochs=1)


def test_minutes_shorten_training_and_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100_000))
    monkeypatch.setattr("sparsecover.training.state.time.perf_counter", lambda: float(next(seconds)))
    data, reporter = loader(*make_data(8), 2), Recorder()
    trainer = make_trainer(make_model(), reporter=reporter, schedule=Schedule("cosine", warmup_steps=50))
    history = trainer.fit(data, epochs=1000, minutes=1)  # one step a second, by the clock above
    assert 45 <= trainer.progress.step <= 60
    assert any("shortened" in note for note in reporter.notes)
    assert history[-1]["learning_rate"] < 0.05 * 1e-2  # type: ignore[operator]
    assert reporter.steps[-1][0] == reporter.steps[-1][1]


def test_enough_minutes_change_nothing() -> None:
    data = loader(*make_data(8), 2)
    trainer = make_trainer(make_model())
    trainer.fit(data, epochs=3, minutes=60)
    assert trainer.progress.step == 12


class Exploding(nn.Module):
    """A loss that is infinite from its third call on."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.calls, self.value = 0, value

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        return logits.mean() * (self.value if self.calls > 2 else 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_the_step(value: float) -> None:
    images, labels = make_data(8)
    trainer = make_trainer(make_model(), lr=0.125, loss=Exploding(value))
    with pytest.raises(TrainingError, match=r"step 3 .*learning rate 0\.125"):
        trainer.fit(loader(images, labels, 2), epochs=1)
    assert torch.isfinite(weights(trainer.model)).all()


def test_short_memory_is_explained() -> None:
    class Greedy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    model = nn.Sequential(nn.Conv2d(2, 3, 1), Greedy())
    with pytest.raises(TrainingError, match=r"2 windows of 16 x 16 px with 2 bands.*batch_size"):
        make_trainer(model).fit(loader(*make_data(4), 2), epochs=1)


def test_short_memory_while_windows_are_read_is_explained() -> None:
    images, labels = make_data(2)

    class Greedy(list[Any]):
        def __init__(self, greedy_at: int) -> None:
            super().__init__([None, None])
            self.greedy_at = greedy_at

        def __iter__(self) -> Iterator[Any]:
            for number in range(len(self)):
                if number == self.greedy_at:
                    raise MemoryError("Unable to allocate 9 TiB")
                yield images, labels

    for at, batch in ((0, "windows:"), (1, "2 windows of 16 x 16 px")):
        with pytest.raises(TrainingError, match=f"batches of {batch}.*9 TiB.*batch_size"):
            make_trainer(make_model()).fit(Greedy(at), epochs=1)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        make_trainer(nn.Conv2d(5, 3, 1)).fit(loader(*make_data(4), 2), epochs=1)


def test_loaders_that_give_something_else_are_explained() -> None:
    images, labels = make_data(4)
    with pytest.raises(DataError, match="yield"):
        make_trainer(make_model()).fit(DataLoader(TensorDataset(images), batch_size=2), epochs=1)
    with pytest.raises(DataError, match=r"\[2, 1, 16, 16\]"):
        make_trainer(make_model()).fit(loader(images, labels[:, None], 2), epochs=1)
    with pytest.raises(DataError, match="length"):
        make_trainer(make_model()).fit(iter([(images, labels)]), epochs=1)
    with pytest.raises(DataError, match="empty"):
        make_trainer(make_model()).fit([], epochs=1)
    with pytest.raises(ConfigError, match="accumulate"):
        make_trainer(make_model(), accumulate=0)


def test_augmentation_depends_on_seed_epoch_and_batch_alone() -> None:
    seen: list[Tensor] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(2, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.clone())
            output: Tensor = self.layer(images)
            return output

    images, labels = (part[:2].repeat(2, *[1] * (part.ndim - 1)) for part in make_data(4))
    for _ in range(2):
        make_trainer(Watching(), augmenter=Augmenter.preset("strong"), seed=3).fit(loader(images, labels, 2), epochs=2)
    assert len(seen) == 8
    assert all(torch.equal(a, b) for a, b in zip(seen[:4], seen[4:], strict=True))
    assert not torch.equal(seen[0], seen[1])  # the same windows in another batch
    assert not torch.equal(seen[0], seen[2])  # and in another epoch


def test_a_compiler_that_fails_is_reported_and_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", fail)
    reporter = Recorder()
    make_trainer(make_model(), compile=True, reporter=reporter).fit(loader(*make_data(4), 2), epochs=1)
    assert any("uncompiled" in note for note in reporter.notes)


def test_the_statistics_of_a_step_are_those_of_its_batches() -> None:
    images, labels = make_data(4)
    trainer = make_trainer(make_model())
    trainer.prepare(images)
    stepper = trainer._stepper
    assert isinstance(stepper, Stepper)
    loss = create_loss("ce")
    expected = loss.statistics(copy.deepcopy(trainer.model)(images), labels).detach()
    statistics, finite = stepper([Batch(images[i : i + 2], labels[i : i + 2], labels[i : i + 2] >= 0) for i in (0, 2)])
    assert finite
    torch.testing.assert_close(statistics, expected.double(), rtol=1e-5, atol=1e-5)


def test_before_epoch_is_told_each_epoch() -> None:
    epochs: list[int] = []
    make_trainer(make_model(), before_epoch=epochs.append).fit(loader(*make_data(4), 2), epochs=3)
    assert epochs == [0, 1, 2]


def test_generators_may_be_loaders_if_they_have_a_length() -> None:
    class Mine:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            images, labels = make_data(4)
            yield images[:2], labels[:2]
            yield images[2:], labels[2:]

    trainer = make_trainer(make_model())
    trainer.fit(Mine(), epochs=2)
    assert trainer.progress.step == 4
