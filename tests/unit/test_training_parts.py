"""The parts of the loop, each by itself."""

import math
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from sparsecover.errors import ConfigError, TrainingError
from sparsecover.grid import Window
from sparsecover.labels import LabelRaster
from sparsecover.losses import create_loss
from sparsecover.models import create_model
from sparsecover.normalize import Normalizer
from sparsecover.patches import Batch, Patch, PatchReader, plan_patches
from sparsecover.patches.batch import Sample
from sparsecover.raster import Scene
from sparsecover.training import PatchLoader, Schedule, Terminated, WeightAverage, build_optimizer, resolve_device
from sparsecover.training import loader as loader_module
from sparsecover.training.device import resolve_precision
from sparsecover.training.interrupts import Interrupts
from sparsecover.training.memory import estimate_bytes
from sparsecover.training.objective import as_objective
from sparsecover.training.validation import validate


def test_cosine_rises_then_falls_to_a_hundredth() -> None:
    schedule = Schedule("cosine", total_steps=110, warmup_steps=10, warmup_start=0.1)
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(5) == pytest.approx(0.55)
    assert schedule(10) == pytest.approx(1.0)
    assert schedule(60) == pytest.approx(0.01 + 0.99 / 2)
    assert schedule(110) == pytest.approx(0.01)
    assert all(schedule(i) > schedule(i + 1) for i in range(10, 110))


def test_cosine_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.01)
    ours = Schedule("cosine", total_steps=50)
    for step in range(50):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(ours(step))
        optimizer.step()
        theirs.step()


def test_one_cycle_peaks_once_and_refuses_another_warm_up() -> None:
    schedule = Schedule("one_cycle", total_steps=100)
    factors = [schedule(i) for i in range(101)]
    assert factors[0] == pytest.approx(1 / 25)
    assert np.argmax(factors) == 30
    assert max(factors) == pytest.approx(1)
    assert factors[100] == pytest.approx(1e-4)
    with pytest.raises(ConfigError, match="one_cycle"):
        Schedule("one_cycle", total_steps=100, warmup_steps=5)


def test_reduce_plateau_cuts_after_patience_and_not_during_warm_up() -> None:
    schedule = Schedule("reduce_plateau", warmup_steps=10, patience=2, factor=0.5)
    for loss in (3.0, 4.0, 5.0, 6.0):
        schedule.validated(loss, step=10)
    assert schedule(20) == 1.0
    for loss in (1.0, 1.1, 0.9, 0.95):
        schedule.validated(loss, step=20)
    assert schedule(20) == 1.0
    schedule.validated(0.9, step=21)
    assert schedule(22) == 0.5


def test_a_shortened_schedule_still_ends_low() -> None:
    schedule = Schedule("cosine", total_steps=1000, warmup_steps=100)
    schedule.shorten(50)
    assert schedule(50) == pytest.approx(0.01)
    assert schedule(5) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="cosine"):
        Schedule("cosinus")


def test_norms_and_biases_are_not_decayed() -> None:
    model = create_model("unet", 3, 2, base_channels=4, depth=2)
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.05)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.05 if parameter.ndim == 4 else 0.0), name
    assert len(decay) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("name", "options"), [("unetplusplus", {"base_channels": 4}), ("smp-fpn", {}), ("torchvision-deeplabv3", {})]
)
def test_an_encoder_has_a_rate_of_its_own(name: str, options: dict) -> None:
    with torch.device("meta"):
        model = create_model(name, 3, 2, **options)
    optimizer = build_optimizer(model, lr=1e-3, weight_decay=0.05, encoder_lr_factor=0.1)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    encoder = {id(p) for p in model.encoder_module().parameters()}
    assert 0 < len(encoder) < len(groups)
    for parameter in model.parameters():
        group = groups[id(parameter)]
        assert group["lr"] == pytest.approx(1e-4 if id(parameter) in encoder else 1e-3)
        assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0)


def test_a_rate_for_an_encoder_needs_an_encoder() -> None:
    with pytest.raises(ConfigError, match=r"factor is 0\.1, but Conv2d has no encoder"):
        build_optimizer(nn.Conv2d(1, 1, 1), encoder_lr_factor=0.1)


def test_frozen_parameters_are_left_out_and_unknown_optimisers_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    model[0].requires_grad_(False)
    parameters = [p for g in build_optimizer(model, "sgd").param_groups for p in g["params"]]
    assert {id(p) for p in parameters} == {id(p) for p in model[1].parameters()}
    with pytest.raises(ConfigError, match="adamw"):
        build_optimizer(model, "adamww")


def test_the_average_follows_the_formula_and_the_layout_of_the_weights_does_not_matter() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    average = WeightAverage(model)
    model.to(memory_format=torch.channels_last)  # replaces the tensors behind the parameters
    expected = {name: value.clone().double() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        with torch.no_grad():
            for value in model.state_dict().values():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise if value.is_floating_point() else torch.tensor(step))
        average.update(model, step)
        a = min(0.999, (step + 1) / (step + 10))
        for name, value in model.state_dict().items():
            expected[name] = a * expected[name] + (1 - a) * value if value.is_floating_point() else value.double()
    got = average.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(got[name].double(), value, rtol=1e-5, atol=1e-6)
    assert int(got["1.num_batches_tracked"]) == 29
    assert not any(p.requires_grad for p in average.model.parameters())


def test_devices_and_precisions_that_are_not_there_are_refused() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in {"cpu", "cuda", "mps"}
    with pytest.raises(ConfigError, match="Choices"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no cuda"):
            resolve_device("cuda")
    model, images = nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ConfigError, match="GPU"):
        resolve_precision("fp16", "cpu", model, images)
    with pytest.raises(ConfigError, match="bf16"):
        resolve_precision("bf61", "cpu", model, images)


@pytest.mark.parametrize(("half_ms", "chosen"), [(20.0, "bf16"), (90.0, "fp32"), (800.0, "fp32")])
def test_precision_is_chosen_by_what_is_fast(monkeypatch: pytest.MonkeyPatch, half_ms: float, chosen: str) -> None:
    def seconds(*_: object, half: bool, **__: object) -> float:
        return (half_ms if half else 100.0) / 1000

    monkeypatch.setattr("sparsecover.training.device._step_seconds", seconds)
    model = nn.Conv2d(1, 1, 1)
    precision, reason = resolve_precision("auto", "cpu", model, torch.zeros(2, 1, 4, 4))
    assert precision == chosen
    assert "times as long" in reason


def test_what_else_runs_on_the_machine_does_not_choose_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0

    def seconds(*_: object, half: bool) -> float:
        nonlocal passes
        passes += 1
        return (0.2 if half else 0.1) * (30 if 3 <= passes <= 5 else 1)  # the machine is busy for a while

    monkeypatch.setattr("sparsecover.training.device._step_seconds", seconds)
    assert resolve_precision("auto", "cpu", nn.Conv2d(1, 1, 1), torch.zeros(2, 1, 4, 4))[0] == "fp32"


def test_the_probe_leaves_network_and_random_numbers_as_they_were() -> None:
    model = create_model("unet", 2, 2, base_channels=4, depth=2, dropout=0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    resolve_precision("auto", "cpu", model, torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_memory_estimate_grows_with_the_batch_and_changes_nothing() -> None:
    model = create_model("unet", 3, 4, base_channels=8, depth=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, four = (estimate_bytes(model, 3, 64, n) for n in (1, 4))
    parameters = 4 * sum(p.numel() for p in model.parameters())
    activations = one - 5 * parameters
    assert four - 5 * parameters == 4 * activations
    # The first block alone keeps two convolutions, norms and activations of 8 maps at full resolution.
    assert 64 * 64 * 8 * 4 * 4 < activations < 64 * 64 * 8 * 4 * 60
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


class Slow(PatchReader):
    """Reads later windows faster, to provoke disorder."""

    def __call__(self, patch: Patch) -> object:
        time.sleep(0.002 * (patch.window.row % 5))
        return super().__call__(patch)


def make_loader(workers: int = 1, **options: int) -> PatchLoader:
    rng = np.random.default_rng(0)
    scene = Scene.from_array(rng.integers(0, 255, (2, 90, 80), dtype=np.uint8))
    labels = LabelRaster(rng.integers(3, size=(90, 80), dtype=np.uint8), scene.grid)
    plan = plan_patches([labels], num_classes=3, size_px=16, per_epoch=22, sampling="random")
    reader = Slow([(scene, labels)], Normalizer("none", (0.0, 0.0), (1.0, 1.0)))
    return PatchLoader(reader, plan, 4, workers, **options)


def names(batches: Iterator[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.names]


def test_batches_are_the_same_with_any_number_of_threads_and_from_any_start() -> None:
    one = [list(make_loader().epoch(e)) for e in range(2)]
    many = [list(make_loader(7).epoch(e)) for e in range(2)]
    for first, second in zip(one[0] + one[1], many[0] + many[1], strict=True):
        assert first.names == second.names
        assert torch.equal(first.images, second.images)
    assert len(one[0]) == len(make_loader()) == 6
    assert all(len(batch) == 4 for batch in one[0])
    assert names(make_loader(3).epoch(1, start=4)) == [n for b in one[1][4:] for n in b.names]
    assert not {n for b in one[0] for n in b.names} & {n for b in one[1] for n in b.names}


def test_processes_share_each_batch() -> None:
    whole = [b.names for b in make_loader().epoch(0)]
    loaders = [PatchLoader(make_loader()._reader, make_loader()._windows, 2, 1, rank=r, world=2) for r in range(2)]
    parts = zip(*(list(loader.epoch(0)) for loader in loaders), strict=True)
    assert [a.names + b.names for a, b in parts] == whole


def test_a_list_of_windows_is_taken_once_each_epoch() -> None:
    reader = make_loader()._reader
    windows = [Patch(0, Window(i, 0, 16, 16)) for i in range(5)]
    sizes = [[len(b) for b in PatchLoader(reader, windows, 2).epoch(e)] for e in range(2)]
    assert sizes == [[2, 2, 1], [2, 2, 1]]


def test_leaving_an_epoch_early_ends_its_threads() -> None:
    before = threading.active_count()
    epoch = make_loader(4).epoch(0)
    next(epoch)
    epoch.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


class Failing(PatchReader):
    """The disk has gone, or does not answer."""

    def __init__(self, wait: threading.Event | None = None) -> None:
        super().__init__([], Normalizer("none", (), ()))
        object.__setattr__(self, "wait", wait)

    def __call__(self, patch: Patch) -> Sample:
        if self.wait is not None:
            self.wait.wait()
        raise OSError("the disk is gone")


def test_errors_of_a_thread_reach_the_loop() -> None:
    with pytest.raises(OSError, match="disk is gone"):
        list(PatchLoader(Failing(), [Patch(0, Window(0, 0, 1, 1))], 1).epoch(0))


def test_a_stalled_disk_is_named_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "_STALLED_S", 0.01)
    answer = threading.Event()
    with pytest.raises(TrainingError, match="--resume"):
        list(PatchLoader(Failing(answer), [Patch(0, Window(0, 0, 1, 1))], 1).epoch(0))
    hanging = [thread for thread in threading.enumerate() if thread.name == "windows"]
    assert hanging
    assert all(thread.daemon for thread in hanging), "a thread that hangs would keep the process from ending"
    answer.set()
    for thread in hanging:
        thread.join(10)


def test_the_first_signal_waits_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.received is signal.SIGTERM
        with pytest.raises(Terminated) as ended:
            interrupts.raise_received()
    assert ended.value.code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_received()
        with pytest.raises(KeyboardInterrupt):  # the second one does not wait
            signal.raise_signal(signal.SIGINT)


def test_interrupts_do_nothing_in_other_threads() -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with Interrupts() as interrupts:
                interrupts.raise_received()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures


def test_any_loss_becomes_sums() -> None:
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    target[0] = -1
    objective = as_objective(nn.CrossEntropyLoss(ignore_index=-1))
    parts = [objective.statistics(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    assert parts[0].tolist() == [0, 0]  # torch itself says NaN where nothing is labelled
    whole = nn.CrossEntropyLoss(ignore_index=-1)(logits, target)
    torch.testing.assert_close(objective.finalise(parts[0] + parts[1]), whole)
    ours = create_loss("ce")
    assert as_objective(ours) is ours


class Constant(nn.Module):
    """Always predicts class 1."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        logits[:, 1] = 2.0
        return logits


def test_validation_scores_the_whole_set_at_once() -> None:
    labels = torch.tensor([[[0, 1, 1, 255]], [[1, 255, 255, 255]], [[255] * 4]], dtype=torch.uint8)
    batches = [Batch(torch.zeros(1, 1, 1, 4), one[None], one[None] != 255) for one in labels]
    loss = create_loss("ce")
    model = Constant().train()
    scores = validate(model, loss, batches, lambda b: b, ignore_index=255)  # type: ignore[arg-type]
    assert scores.confusion.tolist() == [[0, 1, 0], [0, 3, 0], [0, 0, 0]]
    wrong, right = math.log(2 + math.exp(2)), math.log(2 + math.exp(2)) - 2
    assert scores.loss == pytest.approx((wrong + 3 * right) / 4, rel=1e-6)
    assert scores.miou == pytest.approx((0 + 0.75) / 2)
    assert model.training
    nothing = validate(model, loss, batches[2:], lambda b: b, ignore_index=255)  # type: ignore[arg-type]
    assert nothing.loss is None
    assert nothing.miou is None


def test_a_single_logit_is_scored_as_two_classes() -> None:
    labels = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    batch = Batch(torch.tensor([[[[-2.0, 2.0, -2.0, 2.0]]]]), labels, labels != 255)
    scores = validate(torch.nn.Identity(), create_loss("ce"), [batch], lambda b: b, ignore_index=255)  # type: ignore[arg-type]
    assert scores.confusion.tolist() == [[1, 1], [1, 1]]


def test_validation_leaves_the_statistics_of_norms_alone() -> None:
    model = create_model("unet", 1, 2, base_channels=4, depth=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = Batch(torch.randn(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8), torch.ones(2, 8, 8) > 0)
    validate(model, create_loss("ce"), [batch], lambda b: b, ignore_index=255)  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
