"""Batches side by side: order, threads, bytes."""

import threading

import numpy as np
import pytest
import torch
from inference_parts import checkpoint, scene

from sparsecover.errors import OutputError, SceneError
from sparsecover.inference import job, predict_many, predict_strips, run
from sparsecover.inference.lanes import Lanes, lane_count

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("threads", "batches", "lanes"), [(1, 9, 1), (2, 9, 2), (2, 1, 1), (8, 99, 8), (12, 99, 6), (64, 99, 8), (4, 0, 1)]
)
def test_lanes_use_the_threads_and_no_more(threads, batches, lanes):
    torch.set_num_threads(threads)
    assert lane_count(CPU, False, batches) == lanes


def test_what_cannot_be_shared_out_has_one_lane():
    assert lane_count(torch.device("meta"), False, 99) == lane_count(CPU, True, 99) == 1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_results_come_in_order_and_threads_are_given_back(count):
    results = list(Lanes(count).map(lambda i: (i, torch.get_num_threads()), range(20)))
    assert results == [(i, 4 // count) for i in range(20)]
    assert torch.get_num_threads() == 4


def test_threads_are_given_back_after_an_error():
    with pytest.raises(ZeroDivisionError):
        list(Lanes(2).map(lambda i: 1 / i, [1, 0, 1]))
    assert torch.get_num_threads() == 4


def test_a_map_does_not_change_with_the_number_of_lanes():
    def strips(threads):
        torch.set_num_threads(threads)
        return [s.probabilities[:, s.valid] for s in predict_strips(scene(), checkpoint(), patch_size=32)]

    for one, other in zip(strips(1), strips(4), strict=True):
        np.testing.assert_array_equal(one, other)


def unreadable(*_):
    raise SceneError("cannot be read")


def unwritable(*_):
    raise OutputError("the disk is full")


@pytest.mark.parametrize(
    ("error", "place", "name", "broken"),
    [
        (SceneError, job, "read_mirrored", unreadable),
        (OutputError, run.MapWriter, "write", unwritable),
        (OutputError, run.Journal, "append", unwritable),
    ],
)
def test_failed_scenes_leave_nothing_running(tmp_path, monkeypatch, error, place, name, broken):
    monkeypatch.setattr(place, name, broken)
    targets = [(scene, tmp_path / f"{letter}_map.tif") for letter in "ab"]
    before = set(threading.enumerate())
    told = list(predict_many(targets, checkpoint(), batch_size=1))  # kept, and with them their frames
    assert [type(one) for one in told] == [error, error]
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)
    assert torch.get_num_threads() == 4
