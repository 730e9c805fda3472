"""Augmentation: never an invented label, never a touched nodata pixel, image and labels always moved alike."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecover.classes import UNLABELLED
from sparsecover.config import Config
from sparsecover.errors import ConfigError
from sparsecover.patches import Augmenter, Batch
from sparsecover.patches.augment import PRESETS

GEOMETRY = Augmenter(affine=1.0, scale=0.5)
MIXED = Augmenter.preset("none", cutmix=1.0)
ALL = [GEOMETRY, MIXED, *map(Augmenter.preset, PRESETS)]


def make_batch(seed: int, count: int, bands: int, height: int, width: int, labelled: float = 0.2) -> Batch:
    rng = np.random.default_rng(seed)
    valid = rng.random((count, height, width)) < 0.9
    labels = rng.integers(4, size=valid.shape).astype(np.uint8)
    labels[(rng.random(valid.shape) > labelled) | ~valid] = UNLABELLED
    images = rng.normal(2, 3, (count, bands, height, width)).astype(np.float32) * valid[:, None]
    return Batch(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(valid))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


batches = st.builds(
    make_batch,
    seed=st.integers(0, 10_000),
    count=st.integers(1, 3),
    bands=st.sampled_from([1, 3, 12]),
    height=st.sampled_from([16, 17]),
    width=st.sampled_from([16, 24]),
)


@settings(max_examples=60, deadline=None)
@given(batch=batches, augmenter=st.sampled_from(ALL), seed=st.integers(0, 2**31))
def test_labels_are_never_invented_and_nodata_stays_nodata(batch: Batch, augmenter: Augmenter, seed: int) -> None:
    out = augmenter(batch, generator(seed))
    assert out.images.shape == batch.images.shape
    assert out.labels.dtype == batch.labels.dtype
    assert torch.isfinite(out.images).all()
    assert (out.images * ~out.valid[:, None] == 0).all()
    assert (out.labels[~out.valid] == UNLABELLED).all()
    for before, after in zip(batch.labels, out.labels, strict=True):
        before = batch.labels if augmenter.cutmix else before  # CutMix takes labels from the other windows
        assert set(after.unique().tolist()) <= set(before.unique().tolist()) | {UNLABELLED}


@settings(max_examples=30, deadline=None)
@given(batch=batches, preset=st.sampled_from(sorted(PRESETS)), seed=st.integers(0, 2**31))
def test_the_generator_alone_decides_and_the_input_is_left_alone(batch: Batch, preset: str, seed: int) -> None:
    kept = batch.images.clone(), batch.labels.clone(), batch.valid.clone()
    first, second = (Augmenter.preset(preset)(batch, generator(seed)) for _ in range(2))
    for name, before in zip(("images", "labels", "valid"), kept, strict=True):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert torch.equal(getattr(batch, name), before)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_symmetries_are_exact_and_move_everything_alike(seed: int) -> None:
    batch = make_batch(seed, 4, 2, 8, 8)
    out = Augmenter()(batch, generator(seed))
    for i in range(4):
        ways = [
            (np.rot90(batch.images[i], k, (-2, -1))[..., ::step], np.rot90(batch.labels[i], k)[..., ::step])
            for k in range(4)
            for step in (1, -1)
        ]
        assert any((out.images[i].numpy() == x).all() and (out.labels[i].numpy() == y).all() for x, y in ways)


def test_all_eight_symmetries_occur_and_four_where_windows_are_not_square() -> None:
    square = Batch(
        torch.arange(9.0).view(1, 1, 3, 3).repeat(400, 1, 1, 1),
        torch.zeros(400, 3, 3, dtype=torch.uint8),
        torch.ones(400, 3, 3, dtype=torch.bool),
    )
    seen = {tuple(image.flatten().tolist()) for image in Augmenter()(square, generator(0)).images}
    assert len(seen) == 8
    flat = Batch(square.images[..., :2, :], square.labels[..., :2, :], square.valid[..., :2, :])
    assert len({tuple(image.flatten().tolist()) for image in Augmenter()(flat, generator(0)).images}) == 4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), width=st.sampled_from([32, 48]))
def test_turned_images_keep_their_labels(seed: int, width: int) -> None:
    # Each label's pixels carry its number as their value, in patches wide enough to survive interpolation.
    values = torch.arange(4).repeat_interleave(8)[:, None].expand(32, width)
    labels = values.to(torch.uint8)[None]
    batch = Batch(values[None, None].float() * 10 + 5, labels, torch.ones_like(labels, dtype=torch.bool))
    out = GEOMETRY(batch, generator(seed))
    labelled = (out.labels[0] != UNLABELLED).numpy()
    difference = np.abs(out.images[0, 0].numpy() - (out.labels[0].numpy() * 10.0 + 5))[labelled]
    assert labelled.any()
    assert difference.max() <= 10.01  # at most one band of labels away, at their borders
    assert (difference < 0.01).mean() > 0.6


def test_turning_is_in_pixels_where_windows_are_not_square() -> None:
    # A disc stays a disc.
    rows, cols = np.mgrid[:48, :96]
    disc = ((rows - 23.5) ** 2 + (cols - 47.5) ** 2 < 15**2).astype(np.float32)
    batch = Batch(
        torch.from_numpy(disc)[None, None],
        torch.from_numpy(disc.astype(np.uint8))[None],
        torch.ones(1, 48, 96, dtype=torch.bool),
    )
    turned = Augmenter(symmetries=False, affine=1.0, shift=0.0, scale=0.0, rotation=40.0)
    for seed in range(5):
        out = turned(batch, generator(seed)).images[0, 0].numpy()
        assert np.abs(out - disc).sum() < 0.04 * disc.sum()


def test_the_labels_that_survive_a_turn_are_most_of_them() -> None:
    batch = make_batch(0, 8, 3, 64, 64, labelled=0.1)
    before = (batch.labels != UNLABELLED).sum()
    after = (Augmenter(affine=1.0)(batch, generator(0)).labels != UNLABELLED).sum()
    assert 0.5 * before < after < 1.3 * before


@pytest.mark.parametrize("factor", [1.0, 1e-4, 3e3])
def test_colours_change_in_proportion_to_the_spread_of_values(factor: float) -> None:
    batch = make_batch(5, 4, 3, 32, 32)
    scaled = Batch(batch.images * factor, batch.labels, batch.valid)
    colours = Augmenter(
        symmetries=False, brightness=0.4, contrast=0.4, gamma=0.4, noise=0.2, blur=1.0, band_dropout=0.5
    )
    reference, out = colours(batch, generator(1)).images, colours(scaled, generator(1)).images / factor
    assert not torch.allclose(reference, batch.images, atol=0.1)
    torch.testing.assert_close(out, reference, rtol=1e-3, atol=1e-3)


def test_a_dropped_band_is_flat_and_the_only_band_is_never_dropped() -> None:
    drop = Augmenter(symmetries=False, band_dropout=1.0)
    out = drop(make_batch(0, 6, 3, 16, 16), generator(0))
    spread = torch.stack([out.images[i][:, out.valid[i]].std(1) for i in range(6)])
    assert ((spread < 1e-5).sum(1) == 1).all()
    single = make_batch(0, 6, 1, 16, 16)
    assert torch.allclose(drop(single, generator(0)).images, single.images, atol=1e-5)


def test_blur_keeps_the_level_and_does_not_bleed_from_nodata() -> None:
    flat = make_batch(0, 2, 2, 24, 24)
    level = Batch(torch.full_like(flat.images, 7.0) * flat.valid[:, None], flat.labels, flat.valid)
    out = Augmenter(symmetries=False, blur=1.0)(level, generator(0))
    torch.testing.assert_close(out.images, level.images)


def test_a_batch_without_a_valid_pixel_passes() -> None:
    batch = make_batch(0, 2, 3, 16, 16)
    empty = Batch(batch.images * 0, torch.full_like(batch.labels, UNLABELLED), torch.zeros_like(batch.valid))
    out = Augmenter.preset("strong")(empty, generator(0))
    assert (out.images == 0).all()
    assert (out.labels == UNLABELLED).all()


def test_none_changes_nothing_and_unknown_presets_are_refused() -> None:
    batch = make_batch(0, 2, 3, 16, 16)
    out = Augmenter.preset("none")(batch, generator(0))
    assert torch.equal(out.images, batch.images)
    with pytest.raises(ConfigError, match="standard"):
        Augmenter.preset("standart")


@pytest.mark.parametrize("seed", range(6))
def test_cutmix_moves_a_rectangle_of_image_labels_and_valid_alike(seed: int) -> None:
    count, side = 4, 20
    number = torch.arange(count)
    whole = torch.ones(count, side, side)
    images, labels = number[:, None, None, None] * whole[:, None], (number[:, None, None] * whole).byte()
    valid = torch.ones(count, side, side, dtype=torch.bool)
    valid[3] = False
    images[3], labels[3] = 0, UNLABELLED
    out = MIXED(Batch(images, labels, valid), generator(seed))
    for own in range(3):
        foreign = out.labels[own] != own
        rows, cols = torch.nonzero(foreign.any(1))[:, 0], torch.nonzero(foreign.any(0))[:, 0]
        assert foreign.sum() == len(rows) * len(cols)  # a rectangle
        if foreign.any():
            (other,) = out.labels[own][foreign].unique().tolist()
            assert (out.images[own][0][foreign] == (0 if other == UNLABELLED else other)).all()
            assert (out.valid[own][foreign] == (other != UNLABELLED)).all()
        assert (out.images[own][0][~foreign] == own).all()


def test_cutmix_takes_even_parts_of_some_windows_and_none_of_a_single_one() -> None:
    count, side = 4000, 16
    labels = (torch.arange(count) % 200)[:, None, None].expand(-1, side, side).byte()
    batch = Batch(torch.zeros(count, 1, side, side), labels, torch.ones(count, side, side, dtype=torch.bool))
    parts = (Augmenter.preset("none", cutmix=0.5)(batch, generator(0)).labels != labels).float().mean((1, 2))
    assert (parts > 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert parts[parts > 0].mean() == pytest.approx(0.5, abs=0.03)
    single = Batch(batch.images[:1], labels[:1], batch.valid[:1])
    assert torch.equal(MIXED(single, generator(0)).labels, single.labels)


def test_bands_of_a_group_change_together() -> None:
    values = torch.rand(6, 1, 32, 32, generator=generator(0)).expand(-1, 4, -1, -1).clone()
    batch = Batch(values, torch.zeros(6, 32, 32, dtype=torch.uint8), torch.ones(6, 32, 32, dtype=torch.bool))
    grouped = Augmenter.preset("none", brightness=1.0, contrast=1.0, gamma=1.0, groups=[7, 7, 7, 2])
    out = grouped(batch, generator(1)).images
    assert torch.allclose(out[:, 0], out[:, 1])
    assert torch.allclose(out[:, 0], out[:, 2])
    assert (out[:, 0] - out[:, 3]).abs().amax((1, 2)).min() > 0.01
    with pytest.raises(ConfigError, match="names 4 bands; the windows have 3"):
        grouped(Batch(values[:, :3], batch.labels, batch.valid), generator(1))


def test_a_preset_can_be_changed_by_the_configuration() -> None:
    config = Config.from_dict({"augment": {"name": "light", "cutmix": 0.25}})
    assert Augmenter.from_config(config.augment) == Augmenter(cutmix=0.25)
    assert Augmenter.from_config(Config().augment) == Augmenter.preset("standard")
    with pytest.raises(ConfigError, match="Did you mean 'cutmix'"):
        Augmenter.from_config(Config.from_dict({"augment": {"cutmx": 1}}).augment)


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    config = Config.from_settings(["augment.noise=1e-2", "augment.symmetries=no", "augment.groups=[1, '1', 2]"])
    assert config.augment.options["noise"] == "1e-2"
    assert Augmenter.from_config(config.augment) == Augmenter.preset(
        "standard", noise=0.01, symmetries=False, groups=(1, 1, 2)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise": "much"}, r"'noise' of the augmentation 'standard' is 'much'.*valid number"),
        ({"groups": 3}, r"'groups' of the augmentation 'standard' is 3"),
        ({"symmetries": "perhaps"}, "'symmetries'.*is 'perhaps'"),
        ({"contrast": -2}, r"augment\.contrast is -2; expected a number of at least 0"),
        ({"gamma": "-1e-3"}, r"augment\.gamma is -0\.001"),
        ({"rotation": float("inf")}, r"augment\.rotation is inf"),
        ({"brightness": float("nan")}, r"augment\.brightness is nan"),
        ({"cutmix": 1.5}, r"augment\.cutmix is 1\.5; expected a share of the windows from 0 to 1"),
    ],
)
def test_strengths_that_cannot_be_meant_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Augmenter.from_config(Config.from_dict({"augment": changes}).augment)


def test_strengths_are_checked_whoever_gives_them() -> None:
    with pytest.raises(ConfigError, match=r"augment\.contrast is -2"):
        Augmenter(contrast=-2)
