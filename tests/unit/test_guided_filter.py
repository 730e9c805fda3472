"""The guided filter against its definition: a ridge regression in each window, averaged over the windows of a pixel."""

import itertools

import numpy as np
import pytest
import torch

from sparsecover.models.guided_filter import guided_filter


def by_definition(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """[3, H, W] and [K, H, W]: minimise sum((a.I + b - p)^2 + epsilon |a|^2) window by window (eq. 14 of the paper)."""
    height, width = guide.shape[1:]
    total, count = np.zeros_like(values), np.zeros((height, width))
    for row, col in itertools.product(range(height), range(width)):
        place = np.s_[max(0, row - radius) : row + radius + 1, max(0, col - radius) : col + radius + 1]
        seen = guide[:, *place].reshape(3, -1).T
        known = np.hstack([seen, np.ones((len(seen), 1))])
        penalty = len(seen) * epsilon * np.diag([1.0, 1, 1, 0])
        wanted = values[:, *place].reshape(len(values), -1).T
        line = np.linalg.solve(known.T @ known + penalty, known.T @ wanted)
        total[:, *place] += (known @ line).T.reshape(values[:, *place].shape)
        count[place] += 1
    return total / count


@pytest.mark.parametrize(("height", "width", "radius"), [(9, 13, 2), (6, 5, 4), (8, 8, 1)])
def test_it_is_the_papers_definition(height: int, width: int, radius: int) -> None:
    rng = np.random.default_rng(radius)
    guide, values = rng.normal(size=(3, height, width)), rng.dirichlet(np.ones(4), (height, width)).transpose(2, 0, 1)
    known = torch.ones(1, 1, height, width, dtype=torch.bool)
    got = guided_filter(torch.from_numpy(guide)[None], torch.from_numpy(values)[None], known, radius, 0.05)[0].numpy()
    np.testing.assert_allclose(got, by_definition(guide, values, radius, 0.05), atol=1e-10)
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-10)


def test_edges_of_the_guide_stay_and_noise_on_even_ground_goes() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 40))
    truth[:, 20:] = 1
    guide = torch.from_numpy(np.stack([truth] * 3)).float()[None]
    noisy = torch.from_numpy(np.clip(truth + rng.normal(0, 0.4, truth.shape), 0, 1)).float()[None, None]
    smooth = guided_filter(guide[:, :1], noisy, torch.ones_like(noisy, dtype=torch.bool), 4, 1e-3)[0, 0].numpy()
    assert np.abs(smooth - noisy[0, 0].numpy()).max() > 0.3
    assert smooth[:, :20].std() < 0.1
    assert (smooth[:, 20] - smooth[:, 19]).min() > 0.4


def test_one_band_is_filtered_in_single_precision_as_in_double() -> None:
    rng = np.random.default_rng(1)
    guide, values = torch.from_numpy(rng.normal(0, 2, (1, 1, 40, 40))), torch.from_numpy(rng.random((1, 2, 40, 40)))
    known = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    single = guided_filter(guide.float(), values.float(), known, 1, 1e-3)
    torch.testing.assert_close(single.double(), guided_filter(guide, values, known, 1, 1e-3), atol=1e-4, rtol=0)


def test_pixels_without_data_change_nothing_beside_them() -> None:
    rng = np.random.default_rng(2)
    guide, values = torch.from_numpy(rng.normal(size=(1, 3, 20, 20))), torch.from_numpy(rng.random((1, 2, 20, 20)))
    known = torch.ones(1, 1, 20, 20, dtype=torch.bool)
    known[..., :8] = False
    expected = guided_filter(guide, values, known, 3, 1e-3)[..., 8:]
    for other in ((guide, 1 - values), (guide * 5 + 2, values)):
        changed = (torch.where(known, given, new) for given, new in zip((guide, values), other, strict=True))
        torch.testing.assert_close(guided_filter(*changed, known, 3, 1e-3)[..., 8:], expected)


def test_three_channels_that_are_alike_are_as_one() -> None:
    rng = np.random.default_rng(3)
    grey = torch.from_numpy(rng.normal(0, 0.01, (1, 1, 60, 60)) + 20.0 * (rng.random((1, 1, 60, 60)) < 0.02))
    values, known = torch.from_numpy(rng.random((1, 2, 60, 60))), torch.ones(1, 1, 60, 60, dtype=torch.bool)
    alike = guided_filter(grey.expand(-1, 3, -1, -1).float(), values.float(), known, 1, 1e-3)
    # The slope is shared among the three, so each of them has a third of the penalty.
    torch.testing.assert_close(alike.double(), guided_filter(grey, values, known, 1, 1e-3 / 3), atol=5e-3, rtol=0)
