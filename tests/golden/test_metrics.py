"""Scores against scikit-learn and torchmetrics, and against numbers printed in a paper."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from sklearn.dummy import DummyClassifier

from sparsecover import metrics
from sparsecover.evaluation import Calibration
from sparsecover.models.torchvision_pairing import import_beside_torchvision

torchmetrics = import_beside_torchvision("torchmetrics.classification", "test")

K = 5


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray]:
    """Truth with unlabelled pixels and a skewed class, and a prediction that is right in about two of three."""
    random = np.random.default_rng(7)
    truth = random.choice(K, size=(60, 80), p=[0.5, 0.25, 0.15, 0.08, 0.02])
    guess = random.integers(0, K, truth.shape)
    prediction = np.where(random.random(truth.shape) < 0.6, truth, guess)
    return np.where(random.random(truth.shape) < 0.7, 255, truth).astype(np.uint8), prediction.astype(np.uint8)


@pytest.fixture(scope="module")
def flat(labelled: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The labelled pixels only, for libraries that know no unlabelled ones."""
    truth, prediction = labelled
    return truth[truth != 255], prediction[truth != 255]


def test_confusion_is_scikit_learns(labelled, flat):
    ours = metrics.confusion_matrix(*labelled, K)
    np.testing.assert_array_equal(ours, sklearn.metrics.confusion_matrix(*flat, labels=range(K)))


def test_scores_by_class_are_scikit_learns(labelled, flat):
    confusion = metrics.confusion_matrix(*labelled, K)
    for ours, theirs in (
        (metrics.iou, sklearn.metrics.jaccard_score),
        (metrics.users_accuracy, sklearn.metrics.precision_score),
        (metrics.producers_accuracy, sklearn.metrics.recall_score),
        (metrics.f1, sklearn.metrics.f1_score),
    ):
        np.testing.assert_allclose(ours(confusion), theirs(*flat, average=None), rtol=1e-12)


def test_overall_scores_are_scikit_learns(labelled, flat):
    confusion = metrics.confusion_matrix(*labelled, K)
    assert metrics.accuracy(confusion) == pytest.approx(sklearn.metrics.accuracy_score(*flat))
    assert metrics.kappa(confusion) == pytest.approx(sklearn.metrics.cohen_kappa_score(*flat))
    assert metrics.miou(confusion) == pytest.approx(sklearn.metrics.jaccard_score(*flat, average="macro"))


def test_a_map_of_one_class_scores_as_scikit_learns_most_frequent_dummy(labelled, flat):
    truth = flat[0]
    guess = DummyClassifier(strategy="most_frequent").fit(truth[:, None], truth).predict(truth[:, None])
    ours = metrics.of_one_class(metrics.confusion_matrix(*labelled, K))
    np.testing.assert_array_equal(ours, sklearn.metrics.confusion_matrix(truth, guess, labels=range(K)))


def test_mean_iou_is_torchmetrics(labelled):
    truth, prediction = (torch.from_numpy(a.astype(np.int64)) for a in labelled)
    theirs = torchmetrics.MulticlassJaccardIndex(num_classes=K, ignore_index=255)(prediction, truth)
    assert metrics.miou(metrics.confusion_matrix(*labelled, K)) == pytest.approx(float(theirs), rel=1e-6)


def test_scores_of_a_published_matrix():
    # Lunetta & Lyon (eds., 2004), Remote Sensing and GIS Accuracy Assessment, table 9.4 (land cover 1986): the matrix
    # with rows of the map, and printed below it an overall accuracy of 68%, a kappa of 0.61 and accuracies in percent.
    published = np.array(
        [
            [19, 1, 0, 0, 0, 0, 0, 0, 0],
            [3, 35, 0, 1, 0, 0, 0, 0, 0],
            [0, 0, 17, 3, 19, 0, 1, 0, 2],
            [0, 0, 12, 77, 12, 0, 1, 0, 2],
            [0, 0, 8, 13, 74, 0, 0, 0, 0],
            [0, 0, 0, 1, 1, 19, 2, 0, 0],
            [0, 0, 1, 4, 3, 2, 9, 1, 0],
            [0, 0, 0, 5, 3, 0, 0, 13, 0],
            [0, 0, 3, 10, 7, 0, 0, 0, 0],
        ]
    )
    confusion = published.T
    assert round(100 * metrics.accuracy(confusion)) == 68
    assert round(metrics.kappa(confusion), 2) == 0.61
    producers, users = [86, 97, 42, 68, 62, 91, 69, 93, 0], [95, 90, 41, 74, 78, 83, 45, 62, 0]
    # The print rounds up here and there: 19 of 21 is given as 91.
    np.testing.assert_allclose(100 * metrics.producers_accuracy(confusion), producers, atol=0.6)
    np.testing.assert_allclose(100 * metrics.users_accuracy(confusion), users, atol=0.6)


def test_calibration_error_is_torchmetrics():
    random = np.random.default_rng(3)
    probabilities = random.dirichlet(np.full(K, 0.4), size=4000)
    truth = np.array([random.choice(K, p=0.7 * row + 0.3 / K) for row in probabilities])
    theirs = torchmetrics.MulticlassCalibrationError(num_classes=K, n_bins=15, norm="l1")(
        torch.from_numpy(probabilities), torch.from_numpy(truth)
    )
    ours = Calibration.of(probabilities.max(1), probabilities.argmax(1) == truth)
    assert ours.error == pytest.approx(float(theirs), abs=1e-6)
    assert ours.error > 0.05  # the data is badly calibrated on purpose
