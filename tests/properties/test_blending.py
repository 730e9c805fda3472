"""What holds for every size of scene, window and overlap: weights sum to 1, no seam, no dependence on how it is cut."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsecover.grid import Window, spread
from sparsecover.inference import streaming
from sparsecover.inference.layout import BLENDS, Axis, Layout
from sparsecover.inference.predictor import Predictor
from sparsecover.inference.reading import mirrored
from sparsecover.inference.streaming import blend_region
from sparsecover.raster import Scene

CPU = torch.device("cpu")
LOGITS = (0.3, -1.2, 2.0)

sizes = st.integers(1, 70)
overlaps = st.sampled_from([0.0, 0.25, 0.5, 0.75])
blends = st.sampled_from(BLENDS)


@given(length=st.integers(1, 400), size=sizes, overlap=overlaps, blend=blends)
def test_weights_of_all_windows_sum_to_one_at_every_pixel(length, size, overlap, blend):
    axis = Axis.plan(length, size, min(round(overlap * size), size - 1), blend)
    total, windows = np.zeros(length), np.zeros(length, int)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        inside = slice(max(0, start), min(length, start + size))
        total[inside] += weights[inside.start - start : inside.stop - start]
        windows[inside] += 1
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert windows.min() >= 1
    assert axis.touching(0, length) == range(len(axis.starts))


@given(length=st.integers(1, 3000), size=st.integers(1, 300), overlap=overlaps)
def test_steps_are_even_and_never_longer_than_asked(length, size, overlap):
    overlap_px = min(round(overlap * size), size - 1)
    steps = np.diff(Axis.plan(length, size, overlap_px, "gaussian").starts)
    assert steps.size == 0 or (steps.max() <= size - overlap_px and steps.max() - steps.min() <= 1)


@given(length=st.integers(1, 3000), halo_px=st.integers(0, 70), beyond=st.integers(1, 300))
def test_exact_windows_see_their_halo_and_compute_no_more_than_they_need(length, halo_px, beyond):
    largest = 2 * halo_px + beyond
    axis = Axis.exact(length, largest, halo_px)
    owner = np.full(length, -1)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        assert start >= 0
        assert start + axis.size <= length
        owned = start + np.flatnonzero(weights)
        assert owned.size
        assert (owner[owned] == -1).all()
        owner[owned] = start
        assert owned[0] - halo_px >= start or start == 0
        assert owned[-1] + halo_px < start + axis.size or start + axis.size == length
    assert (owner >= 0).all()
    count, shared = len(axis.starts), 2 * halo_px
    assert axis.size <= largest
    assert count == len(spread(length, min(largest, length), beyond))
    assert count * (axis.size - 1 - shared) + shared < length  # smaller windows would leave a gap


@given(start=st.integers(-200, 200), size=st.integers(1, 50), length=st.integers(1, 40))
def test_mirroring_is_numpys_reflection(start, size, length):
    before, after = max(0, -start), max(0, start + size - length)
    reference = np.pad(np.arange(length), (before, after), mode="reflect" if length > 1 else "edge")
    first = start + before
    assert mirrored(start, size, length).tolist() == reference[first : first + size].tolist()


def assembled(blocks, region):
    """Blocks joined to probabilities [K, h, w] (0 where not valid) and valid [h, w]; each pixel must come just once."""
    joined, valid = (
        np.zeros((3, region.height, region.width), np.float32),
        np.zeros((region.height, region.width), bool),
    )
    seen = np.zeros(valid.shape, int)
    for block in blocks:
        rows, cols = block.window.relative_to(region).slices
        joined[:, rows, cols] = np.where(block.valid, block.probabilities, 0)
        valid[rows, cols] = block.valid
        seen[rows, cols] += 1
    assert (seen == 1).all()
    return joined, valid


def constant(batch):
    shape = (len(batch), 3, *batch.shape[-2:])
    return torch.softmax(torch.tensor(LOGITS)[None, :, None, None].expand(shape), 1)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 90), width=st.integers(1, 90), patch=sizes, overlap=overlaps, blend=blends)
def test_a_constant_network_gives_its_constant_everywhere(height, width, patch, overlap, blend):
    scene = Scene.from_array(np.zeros((1, height, width), np.uint8))
    layout = Layout.plan(height, width, patch, min(overlap, (patch - 1) / patch), blend)
    predictor = Predictor([(constant, None)], 3, CPU)
    whole, valid = assembled(blend_region(scene, predictor, layout, scene.grid.window, batch_size=3), scene.grid.window)
    expected = torch.softmax(torch.tensor(LOGITS), 0).numpy()[:, None, None]
    np.testing.assert_allclose(whole, np.broadcast_to(expected, whole.shape), rtol=0, atol=1e-6)
    assert valid.all()


@pytest.fixture(scope="module")
def textured():
    rng = np.random.default_rng(3)
    values = rng.integers(0, 255, (2, 83, 101)).astype(np.uint8)
    valid = rng.random((83, 101)) > 0.1
    valid[:40, :50] = False
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)).eval()

    @torch.inference_mode()
    def runtime(batch):
        return torch.softmax(network(batch / 100), 1)

    return Scene.from_array(values, valid), Predictor([(runtime, None)], 3, CPU)


@settings(deadline=None, max_examples=25)
@given(
    region=st.tuples(st.integers(0, 82), st.integers(0, 100), st.integers(1, 83), st.integers(1, 101)),
    opened=st.sampled_from([1, 40, 1024]),
    blend=blends,
)
def test_any_region_holds_the_very_bytes_of_the_whole(textured, region, opened, blend):
    scene, predictor = textured
    layout = Layout.plan(83, 101, 32, 0.25, blend)

    def predicted(region):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streaming, "_OPEN_PX", opened)
            return assembled(blend_region(scene, predictor, layout, region, batch_size=1), region)

    region = Window(*region).intersect(scene.grid.window)
    whole, valid = predicted(scene.grid.window)
    part, part_valid = predicted(region)
    rows, cols = region.slices
    assert part.tobytes() == np.ascontiguousarray(whole[:, rows, cols]).tobytes()
    assert np.array_equal(part_valid, valid[rows, cols])
    assert np.array_equal(valid, scene.read()[1])
