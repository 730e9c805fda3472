"""Assessments: what is scored, what is not, intervals, calibration."""

import json

import numpy as np
import pytest

from sparsecover import metrics
from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.errors import DataError
from sparsecover.evaluation import Accumulator, Calibration
from sparsecover.evaluation.intervals import bootstrap, group_sums
from sparsecover.evaluation.remarks import remarks

SCHEME = ClassScheme.from_names(["land", "water", "road"])


def labels(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def probabilities(indices: np.ndarray, certainty: float = 0.8, classes: int = 3) -> np.ndarray:
    """Float32 [K, h, w] whose likeliest class is ``indices``."""
    out = np.full((classes, *indices.shape), (1 - certainty) / (classes - 1), np.float32)
    np.put_along_axis(out, indices[None].astype(np.int64), certainty, axis=0)
    return out


def random_pair(shape=(40, 50), seed=0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, shape).astype(np.uint8)
    prediction = np.where(random.random(shape) < 0.7, truth, random.integers(0, 3, shape)).astype(np.uint8)
    truth[random.random(shape) < 0.5] = UNLABELLED
    return truth, prediction


def test_blocks_add_up_to_the_whole():
    truth, prediction = random_pair()
    whole, blocks = Accumulator(SCHEME), Accumulator(SCHEME)
    groups = np.arange(truth.size).reshape(truth.shape) // 170
    whole.add(truth, probabilities(prediction), groups=groups)
    for row in range(0, 40, 7):
        part = slice(row, row + 7)
        blocks.add(truth[part], probabilities(prediction[part]), groups=groups[part])
    one, other = whole.assessment(), blocks.assessment()
    np.testing.assert_array_equal(one.confusion, metrics.confusion_matrix(truth, prediction, 3))
    np.testing.assert_array_equal(one.confusion, other.confusion)
    assert one.groups == other.groups == 12
    assert one.miou_interval == other.miou_interval is not None
    assert one.calibration.error == pytest.approx(other.calibration.error)


def test_unlabelled_and_invalid_pixels_are_not_scored():
    gathered = Accumulator(SCHEME)
    valid = np.array([[True, True, False, False]])
    gathered.add(labels([0, 255, 1, 255]), probabilities(labels([0, 1, 0, 0])), valid)
    result = gathered.assessment()
    assert result.scored_pixels == 1
    assert result.accuracy == 1.0
    assert result.unmapped_pixels == 1
    assert result.labelled_pixels == {"test": 1}


def test_nodata_of_a_map_is_counted_not_scored():
    gathered = Accumulator(SCHEME)
    gathered.add_map(labels([0, 1, 2]), labels([0, 255, 1]))
    result = gathered.assessment()
    assert (result.scored_pixels, result.unmapped_pixels) == (2, 1)
    assert result.calibration is None


def test_probabilities_without_numbers_are_refused_only_where_scored():
    bad = probabilities(labels([0, 1]))
    bad[:, 0, 1] = np.nan
    Accumulator(SCHEME).add(labels([0, 255]), bad)
    with pytest.raises(DataError, match="not numbers"):
        Accumulator(SCHEME).add(labels([0, 1]), bad)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (labels([0, 1]), np.ones((2, 1, 2)), r"shape \(2, 1, 2\); expected \(3, 1, 2\)"),
        (labels([0, 3]), np.ones((3, 1, 2)), r"class indices \[3\]"),
    ],
)
def test_what_does_not_fit_is_refused(truth, predicted, message):
    with pytest.raises(DataError, match=message):
        Accumulator(SCHEME).add(truth, predicted)


def test_metrics_json_has_the_promised_keys_and_null_for_absent_classes():
    gathered = Accumulator(SCHEME)
    gathered.add(labels([0, 0, 1]), probabilities(labels([0, 1, 1])))
    budget = {"train": np.array([5, 0, 2]), "held_out": np.array([2, 1, 0])}
    read = json.loads(json.dumps(gathered.assessment(budget).as_dict(), allow_nan=False))
    assert read["per_class_iou"] == {"land": 0.5, "water": 0.5, "road": None}
    assert read["miou"] == 0.5
    assert gathered.assessment().scored_classes == 2
    assert read["accuracy"] == pytest.approx(2 / 3)
    assert read["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert read["labelled_pixels"] == {"train": 7, "held_out": 3}
    assert read["labelled_pixels_by_class"]["train"] == {"land": 5, "water": 0, "road": 2}
    assert [(c["index"], c["code"], c["name"]) for c in read["classes"]] == [
        (0, 0, "land"),
        (1, 1, "water"),
        (2, 2, "road"),
    ]
    assert read["miou_interval_95"] is None
    assert read["miou_without_background"] is None


def test_without_any_scored_pixel_scores_are_null():
    read = Accumulator(SCHEME).assessment().as_dict()
    assert read["miou"] is read["accuracy"] is read["kappa"] is None
    assert read["scored_groups"] == 0


@pytest.mark.parametrize(("names", "given"), [(["Background", "road"], None), (["other", "road"], "other")])
def test_mean_without_the_background(names, given):
    gathered = Accumulator(ClassScheme.from_names(names))
    gathered.add_map(labels([0, 0, 0, 1, 1]), labels([0, 0, 1, 1, 1]))
    result = gathered.assessment(background=given)
    assert result.miou_without_background == pytest.approx(2 / 3)
    assert result.miou == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_groups_of_two_scenes_are_kept_apart():
    gathered = Accumulator(SCHEME)
    for scene in ("a", "b"):
        gathered.add_map(labels([0, 1, 2]), labels([0, 1, 2]), groups=labels([1, 1, 2]), scene=scene)
    assert gathered.assessment().groups == 4


def test_interval_of_independent_pixels_is_the_binomial_one():
    # With a group for each pixel the bootstrap must find the standard error sqrt(p (1 - p) / n).
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 400)
    prediction = np.where(random.random(400) < 0.8, truth, 1 - truth)
    share = float((truth == prediction).mean())
    _, (low, high) = bootstrap(group_sums(truth, prediction, np.arange(400), 2))
    half_width = 1.96 * (share * (1 - share) / 400) ** 0.5
    assert (low + high) / 2 == pytest.approx(share, abs=0.01)
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.1)


def test_pixels_that_agree_within_groups_widen_the_interval():
    random = np.random.default_rng(6)
    truth = np.tile([0, 1], 2000)
    wrong_group = random.random(40) < 0.3
    groups = np.arange(4000) // 100
    prediction = np.where(wrong_group[groups], 1 - truth, truth)
    (low, high), _ = bootstrap(group_sums(truth, prediction, groups, 2))
    (low_px, high_px), _ = bootstrap(group_sums(truth, prediction, np.arange(4000), 2))
    assert high - low > 5 * (high_px - low_px)


def test_too_few_groups_give_no_interval():
    truth = np.tile([0, 1, 2], 40)
    assert bootstrap(group_sums(truth, truth, np.arange(120) % 9, 3)) is None
    rare = np.zeros(120, int)
    rare[:10] = 1  # class 1 in two of twelve groups of ten
    assert bootstrap(group_sums(rare, rare, np.arange(120) // 5 % 12, 2)) is None
    rare[10:15] = 1
    assert bootstrap(group_sums(rare, rare, np.arange(120) // 5 % 12, 2)) is not None


def test_calibration_bins():
    stated = np.array([1.0, 1.0, 0.5, 0.5, 0.0])
    found = Calibration.of(stated, np.array([True, True, True, False, False]))
    assert found.error == 0.0
    assert [row[2] for row in found.bins] == [1, 2, 2]
    sure = Calibration.of(np.full(10, 0.9), np.arange(10) < 6)
    assert sure.error == pytest.approx(0.3)
    assert (found + sure).pixels.sum() == 15


def test_remarks_name_what_a_reader_should_know():
    gathered = Accumulator(SCHEME)
    truth = np.repeat(labels([0, 1]), [300, 20], axis=1)
    mapped = truth.copy()
    mapped[0, :90] = 2
    gathered.add(truth, probabilities(mapped, certainty=0.95))
    text = " ".join(remarks(gathered.assessment()))
    assert "No held-out pixel of road" in text
    assert "Few held-out pixels of water (20)" in text
    assert "30% of the held-out pixels of land are mapped as road" in text
    assert "On the held-out labels the map states" in text
    assert "less often than it says" in text
    # 300 of 320 pixels are land; water is missed, road is in neither.
    assert "A map all of land, the most common class, would have a mean IoU of 0.469 and an accuracy of 0.938" in text


def test_remarks_tell_where_labels_lie_unevenly():
    gathered = Accumulator(SCHEME)
    truth = np.repeat(labels([0, 1, 2]), [40, 40, 20], axis=1)
    gathered.add_map(truth, truth)
    scores = gathered.assessment()
    sentence = "The map shows water on 40% of the held-out labels and 5% of the whole: classes are not as common"
    assert any(sentence in remark for remark in remarks(scores, np.array([700, 50, 250])))
    assert all("of the whole" not in remark for remark in remarks(scores, np.array([430, 390, 180])))
    assert remarks(scores) == remarks(scores, np.zeros(3, np.int64)) == remarks(scores, np.array([4, 4, 2]))
    assert "A map all of one class would have" in remarks(scores)[0]  # two are equally common


def test_a_poor_map_is_not_put_down_to_where_the_labels_lie():
    gathered = Accumulator(SCHEME)
    truth = np.repeat(labels([0, 1]), [60, 40], axis=1)
    gathered.add_map(truth, np.zeros_like(truth))
    assert all("of the whole" not in remark for remark in remarks(gathered.assessment(), np.array([1000, 0, 0])))


def test_remarks_call_a_class_without_a_name_by_its_number():
    gathered = Accumulator(ClassScheme.from_codes([3, 7]))
    gathered.add_map(np.zeros((20, 20), np.uint8), np.ones((20, 20), np.uint8))
    assert remarks(gathered.assessment()) == [
        "A map all of class 3, the most common class, would have a mean IoU of 1.000 and an accuracy of 1.000 on the "
        "same held-out labels.",
        "No held-out pixel of class 7: how well it is mapped is not known.",
        "100% of the held-out pixels of class 3 are mapped as class 7.",
    ]


def test_remarks_stay_silent_about_shares_of_few_pixels():
    gathered = Accumulator(SCHEME)
    gathered.add(labels([0, 1, 2]), probabilities(labels([1, 2, 0])))
    assert [r for r in remarks(gathered.assessment()) if "mapped as" in r or "confidence" in r] == []
