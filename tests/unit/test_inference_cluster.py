"""A real cluster of processes gives the bytes of one process, also when a worker is killed mid-way."""

import os
import signal
from itertools import pairwise

import pytest
import torch
from inference_parts import checkpoint, scene

from sparsecover.errors import ConfigError, MissingPartError, SceneError
from sparsecover.grid import Window
from sparsecover.inference import Settings, open_cluster, predict, predict_many
from sparsecover.inference.cluster import cut
from sparsecover.inference.job import Job

OPTIONS = {"batch_size": 1, "probabilities": "float32", "runtime": "torch"}


def model():
    return checkpoint("unet", base_channels=4, depth=3)  # workers know only the networks that come with the package


def image():
    return scene(300, 90)


def bytes_of(folder, stem):
    return {path.name[len(stem) :]: path.read_bytes() for path in folder.iterdir() if path.name.startswith(stem)}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("one")
    predict(image(), model(), folder / "m.tif", **OPTIONS)
    torch.set_num_threads(threads)
    return bytes_of(folder, "m")


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with open_cluster(Settings(workers=2)) as opened:
        yield opened
    torch.set_num_threads(threads)


def test_same_bytes_as_one_process(tmp_path, cluster, reference):
    predict(image(), model(), tmp_path / "m.tif", cluster=cluster, **OPTIONS)
    assert bytes_of(tmp_path, "m") == reference


def test_survives_the_death_of_a_worker(tmp_path, cluster, reference):
    killed = []

    def kill_one(progress):
        if progress.done_px and not killed:
            worker, pid = next(iter(cluster._client.run(os.getpid).items()))
            killed.append(worker)
            os.kill(pid, signal.SIGKILL)

    predict(image(), model(), tmp_path / "m.tif", cluster=cluster, reporter=kill_one, **OPTIONS)
    assert killed
    assert bytes_of(tmp_path, "m") == reference


def test_what_a_cluster_began_one_process_can_finish(tmp_path, cluster, reference):
    def stop(progress):
        if progress.done_px:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="--resume"):
        predict(image(), model(), tmp_path / "m.tif", cluster=cluster, reporter=stop, **OPTIONS)
    predict(image(), model(), tmp_path / "m.tif", resume=True, **OPTIONS)
    assert bytes_of(tmp_path, "m") == reference


def test_errors_of_workers_arrive_as_they_are(tmp_path, cluster):
    broken = model()
    broken.state["head.bias"][0] = float("nan")
    with pytest.raises(Exception, match="NaN") as caught:
        predict(image(), broken, tmp_path / "m.tif", cluster=cluster, **OPTIONS)
    assert type(caught.value).__name__ == "ModelError"
    assert list(tmp_path.iterdir()) == []


def test_many_scenes_at_once(tmp_path, cluster, reference):
    outs = [tmp_path / f"{name}_map.tif" for name in "abc"]
    targets = [(image, out) for out in outs]

    def unreadable():
        raise SceneError("this one cannot be opened")

    targets.insert(1, (unreadable, tmp_path / "d_map.tif"))
    results = list(predict_many(targets, model(), cluster=cluster, **OPTIONS))
    assert [type(result).__name__ for result in results] == ["MapProduct", "SceneError", "MapProduct", "MapProduct"]
    for name in "abc":
        got = bytes_of(tmp_path, name)
        assert got["_map.tif"] == reference[".tif"]
        assert got["_confidence.tif"] == reference["_confidence.tif"]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_blocks_cover_each_region_once_and_in_order(workers):
    job = Job.plan(image(), model(), Settings(runtime="torch"))
    regions = [Window(40, 0, 260, 50), Window(0, 50, 300, 40)]
    blocks = list(cut(job, regions, workers))
    for region in regions:
        mine = [block for block in blocks if block.col == region.col]
        assert mine[0].row == region.row
        assert all(a.row_stop == b.row for a, b in pairwise(mine))
        assert mine[-1].row_stop == region.row_stop
        assert {block.width for block in mine} == {region.width}


def test_no_cluster_unless_asked_for():
    with open_cluster(Settings()) as opened:
        assert opened is None


def test_a_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPartError, match=r"sparsecover\[dask\]"), open_cluster(Settings(workers=2)):
        pass


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    pytest.importorskip("distributed")
    import sparsecover.inference.cluster as module

    monkeypatch.setattr(module, "_TIMEOUT", "1s")
    with (
        pytest.raises(ConfigError, match="dask scheduler"),
        open_cluster(Settings(scheduler="tcp://127.0.0.1:9")),
    ):
        pass
