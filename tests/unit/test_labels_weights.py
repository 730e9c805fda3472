"""Class counts and class weights."""

import numpy as np
import pytest

from sparsecover.errors import LabelError
from sparsecover.grid import Grid
from sparsecover.labels import LabelRaster, class_counts, class_weights


def test_counts_over_rasters_and_arrays():
    raster = LabelRaster(np.array([[0, 1, 255]], np.uint8), Grid(1, 3))
    assert class_counts([raster, np.array([[2, 2]], np.uint8)], 3).tolist() == [1, 1, 2]
    with pytest.raises(LabelError):
        class_counts([np.array([3], np.uint8)], 3)


def test_inverse_weights_have_mean_one_over_the_classes_present():
    # w_c = (1 / f_c) / mean(1 / f_c): 1/f = 2, 4, 4 for shares 0.5, 0.25, 0.25; their mean is 10/3.
    weights = class_weights([50, 25, 25], "inverse")
    assert weights.tolist() == pytest.approx([0.6, 1.2, 1.2])
    assert weights.dtype == np.float32
    assert class_weights([50, 0, 25, 25], "inverse").tolist() == pytest.approx([0.6, 0, 1.2, 1.2])


def test_tempered_weights():
    # (median / f) ** 0.5 with shares 0.64, 0.35, 0.01: sqrt(0.35 / 0.64), 1, and sqrt(35) = 5.9, which the cap makes 3.
    assert class_weights([64, 35, 1], "tempered").tolist() == pytest.approx([0.739510, 1.0, 3.0], abs=1e-6)


def test_no_weights_and_given_ones():
    assert class_weights([3, 0, 5], "none").tolist() == [1, 0, 1]
    assert class_weights([3, 1, 5], [0.5, 1, 2]).tolist() == [0.5, 1, 2]
    assert class_weights([3, 0, 5], [0.5, 1, 2]).tolist() == [0.5, 0, 2]
    assert class_weights([0, 0], "inverse").tolist() == [0, 0]


@pytest.mark.parametrize("given", [[1.0], [1, 2, -1], [0, 0, 0], [1, 2, float("nan")], "inverted"])
def test_weights_that_cannot_be_meant(given):
    with pytest.raises(LabelError):
        class_weights([1, 1, 1], given)
