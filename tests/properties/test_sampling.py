"""Properties of the stateless pixel sampler and of burning that must hold for any window, seed and place."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsecover.classes import UNLABELLED
from sparsecover.labels import simulate_labels
from sparsecover.labels.samplers.base import pixel_hashes, scene_key

MASK = np.random.default_rng(0).integers(0, 4, (90, 70)).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 89),
    st.integers(0, 69),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 5),
    st.floats(0.01, 1),
)
def test_a_window_has_the_labels_of_the_whole(row, col, height, width, seed, fraction):
    whole = simulate_labels(MASK, "pixels", fraction=fraction, seed=seed, scene_id="s")
    part = MASK[row : row + height, col : col + width]
    window = simulate_labels(part, "pixels", fraction=fraction, seed=seed, scene_id="s", origin=(row, col))
    assert np.array_equal(window, whole[row : row + height, col : col + width])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 100))
def test_a_larger_fraction_holds_the_smaller(a, b, seed):
    few, many = (simulate_labels(MASK, "pixels", fraction=f, seed=seed) != UNLABELLED for f in sorted((a, b)))
    assert not (few & ~many).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_hashes_are_uniform_and_uncorrelated_with_their_neighbours(seed, row, col):
    hashes = pixel_hashes(scene_key(seed, ""), row, col, 128, 128) / 2**32
    # Standard errors: 1/sqrt(12 n) = 0.0023 of a mean, 1/sqrt(n) = 0.008 of a correlation, n = 16384.
    assert abs(hashes.mean() - 0.5) < 0.015
    for a, b in ((hashes[1:], hashes[:-1]), (hashes[:, 1:], hashes[:, :-1]), (hashes[1:, 1:], hashes[:-1, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["per_class", "points", "scribbles", "polygons"]), st.floats(0.005, 0.9), st.integers(0, 3))
def test_exact_budgets_for_any_mask(sampler, fraction, seed):
    generator = np.random.default_rng(seed)
    mask = generator.integers(0, 3, (6, 8)).repeat(9, 0).repeat(7, 1).astype(np.uint8)
    mask[generator.random(mask.shape) < 0.1] = UNLABELLED
    values = simulate_labels(mask, sampler, fraction=fraction, seed=seed)
    total, kept = (np.bincount(m[m != UNLABELLED], minlength=3) for m in (mask, values))
    assert kept.tolist() == [max(1, round(n * fraction)) if n else 0 for n in total.tolist()]
