"""ONNX: the graph that Deepness reads, and ONNX Runtime as our own runtime."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from inference_parts import checkpoint, scene

from sparsecover.errors import ConfigError, MissingPartError, ModelError, OutputError
from sparsecover.inference import export, predict, predict_strips
from sparsecover.inference.runtimes import OnnxRuntime, TorchRuntime, make_runtime, quicker_runtime
from sparsecover.normalize import Normalizer

onnxruntime = pytest.importorskip("onnxruntime")
CPU = torch.device("cpu")


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = checkpoint("unet", patch=48, base_channels=4, depth=3)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    report = export(model, path, scene=scene(100, 120))
    return model, path, report


def test_agrees_with_torch_on_random_and_real_windows(exported):
    _, path, report = exported
    assert report.path == path
    assert report.windows == 2 + 4
    assert 0 <= report.largest_difference < 1e-4


def test_shapes_are_what_deepness_asks_for(exported):
    opened = session(exported[1])
    (taken,), (given,) = opened.get_inputs(), opened.get_outputs()
    assert taken.shape[1:] == [2, 48, 48]
    assert given.shape[1:] == [3, 48, 48]
    assert isinstance(taken.shape[0], str)  # dynamic
    assert opened.run(None, {taken.name: np.zeros((3, 2, 48, 48), np.float32)})[0].shape == (3, 3, 48, 48)


def test_as_deepness_runs_it(exported):
    """Pixels / 255, standardised with the metadata, then the graph: the probabilities that we predict."""
    model, path, _ = exported
    opened = session(path)
    metadata = {key: json.loads(value) for key, value in opened.get_modelmeta().custom_metadata_map.items()}
    image = scene(48, 48, nodata_corner=False)
    pixels = image.read()[0].astype(np.float32) / 255
    mean, std = (np.array(metadata[f"standardization_{k}"], np.float32)[:, None, None] for k in ("mean", "std"))
    got = opened.run(None, {opened.get_inputs()[0].name: ((pixels - mean) / std)[None]})[0][0]
    (strip,) = predict_strips(image, model, runtime="torch")
    np.testing.assert_allclose(got, strip.probabilities, atol=1e-4)
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)


def test_metadata(exported):
    stored = session(exported[1]).get_modelmeta().custom_metadata_map
    metadata = {key: json.loads(value) for key, value in stored.items()}
    assert metadata["model_type"] == "Segmentor"
    assert metadata["class_names"] == {"0": "class 1", "1": "class 2", "2": "class 7"}
    assert metadata["tile_size"] == metadata["tiles_size"] == 48
    assert metadata["seg_thresh"] == metadata["seg_small_segment"] == 0
    assert metadata["standardization_mean"] == pytest.approx([100 / 255] * 2)
    assert metadata["standardization_std"] == pytest.approx([50 / 255] * 2)
    assert "resolution" not in metadata


def test_resolution_is_in_centimetres(tmp_path):
    from dataclasses import replace

    export(replace(checkpoint(), resolution_m=0.5), tmp_path / "m.onnx")
    assert json.loads(session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map["resolution"]) == 50


def test_values_beyond_the_normalisers_limit_are_cut_in_the_graph(tmp_path):
    model = checkpoint(normalizer=Normalizer("percentile", (100.0, 100.0), (1.0, 1.0), 4.0))
    export(model, tmp_path / "m.onnx")
    opened = session(tmp_path / "m.onnx")
    far, limit = np.full((1, 2, 32, 32), 90, np.float32), np.full((1, 2, 32, 32), 4, np.float32)
    assert np.array_equal(opened.run(None, {"input": far})[0], opened.run(None, {"input": limit})[0])


def test_features_beside_the_bands_are_computed_in_the_graph(tmp_path):
    model = checkpoint("unet", patch=48, base_channels=4, depth=2, features=True)
    report = export(model, tmp_path / "model.onnx", scene=scene(100, 120))
    assert 0 <= report.largest_difference < 1e-4
    opened = session(tmp_path / "model.onnx")
    assert opened.get_inputs()[0].shape[1:] == [2, 48, 48]


def test_existing_files_are_kept_unless_overwritten(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        export(checkpoint(), path)
    assert path.read_bytes() == b"mine"
    export(checkpoint(), path, overwrite=True)
    assert len(path.read_bytes()) > 1000
    with pytest.raises(OutputError, match="does not exist"):
        export(checkpoint(), tmp_path / "nowhere" / "m.onnx")


def test_what_differs_from_torch_is_not_written(tmp_path, monkeypatch):
    import sparsecover.inference.exporting as module

    right = module.to_onnx
    other = checkpoint(seed=9).model()
    monkeypatch.setattr(module, "to_onnx", lambda network, *rest: right(other, *rest))
    with pytest.raises(ModelError, match="differ by"):
        export(checkpoint(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, part):
    monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(MissingPartError, match=rf"{part} is not installed.*sparsecover\[onnx\]"):
        export(checkpoint(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_runtimes_agree(tmp_path):
    network = checkpoint("unet", base_channels=4, depth=3).model()
    batch = torch.randn(2, 2, 64, 64)
    expected = torch.softmax(network(batch), 1).detach()
    torch.testing.assert_close(TorchRuntime(network, CPU)(batch), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(OnnxRuntime(network, 2, 64)(batch), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "unetplusplus"])
def test_no_joined_map_of_skips_is_held(monkeypatch, name):
    import onnx

    from sparsecover.inference import exporting

    network = checkpoint(name, base_channels=4, depth=3).model()

    def largest_map_and_bytes():
        graph = exporting.to_onnx(network, 2, 32)
        made = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph)).graph.value_info
        # The first dimension is the batch, which is not known.
        return max(math.prod(d.dim_value for d in m.type.tensor_type.shape.dim[1:]) for m in made), len(graph)

    largest, size = largest_map_and_bytes()
    monkeypatch.setattr(exporting, "split_concatenations", lambda model: None)
    joined, whole = largest_map_and_bytes()
    assert largest < joined
    assert size < 1.1 * whole  # no weight is there twice


def test_what_several_layers_read_stays_joined():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Conv2d(4, 3, 3, padding=1), torch.nn.Conv2d(4, 3, 1)

        def forward(self, x):
            joined = torch.cat([x, x.square()], 1)
            return self.first(joined) + self.second(joined)

    network, batch = Both().eval(), torch.randn(1, 2, 32, 32)
    expected = torch.softmax(network(batch), 1).detach()
    torch.testing.assert_close(OnnxRuntime(network, 2, 32)(batch), expected, rtol=0, atol=1e-5)


def convolved_where_bright(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(x, weight) if bool(x.mean() > 0) else x


class Branching(torch.nn.Module):
    """Its second weight is read in one branch alone."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(2, 3, 1, bias=False)
        self.weight = torch.nn.Parameter(torch.randn(3, 3, 1, 1))
        self.second = torch.jit.script(convolved_where_bright)

    def forward(self, x):
        return self.second(self.first(x), self.weight)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # there is no other way to trace a branch
def test_branches_of_a_network_are_kept():
    network = Branching().eval()
    runtime, bright = OnnxRuntime(network, 2, 32), torch.rand(1, 2, 32, 32)
    for batch in (bright, -bright):
        torch.testing.assert_close(runtime(batch), torch.softmax(network(batch), 1).detach(), rtol=0, atol=1e-5)


class ByItsValues(torch.nn.Module):
    """What it does depends on what it sees; a trace knows one way only."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if images.abs().max() == 0 else 1 - images


def test_a_graph_that_computes_something_else_is_no_runtime():
    with pytest.raises(ModelError, match=r"differ by .*--runtime torch"):
        OnnxRuntime(ByItsValues(), 2, 8)


@pytest.mark.parametrize("name", ["random-forest", "random-forest-features"])
def test_forests_are_mapped_by_torch_alone(name, tmp_path):
    forest = checkpoint(name, patch=16, trees=2)
    with pytest.raises(ModelError, match=r"random forest cannot be written as ONNX.*train a network"):
        export(forest, tmp_path / "f.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="--runtime torch"):
        make_runtime("onnx", forest.model(), CPU, 2, 16, compiled=False)


def test_an_invalid_graph_is_told_as_a_network_without_onnx(monkeypatch):
    import onnx

    from sparsecover.inference import exporting

    monkeypatch.setattr(exporting, "split_concatenations", lambda model: model.graph.ClearField("initializer"))
    with pytest.raises(ModelError, match="cannot be written as ONNX") as told:
        exporting.to_onnx(checkpoint().model(), 2, 32)
    assert isinstance(told.value.__cause__, onnx.checker.ValidationError)


def test_predictions_agree_over_runtimes_with_tta(tmp_path):
    image, model = scene(), checkpoint()
    strips = {name: list(predict_strips(image, model, runtime=name, tta=True)) for name in ("torch", "onnx")}
    for one, other in zip(strips["torch"], strips["onnx"], strict=True):
        np.testing.assert_allclose(one.probabilities[:, one.valid], other.probabilities[:, one.valid], atol=1e-4)
    assert predict(image, model, tmp_path / "m.tif", runtime="onnx").statistics["runtime"] == "onnx"


def test_short_jobs_are_not_timed(monkeypatch):
    import sparsecover.inference.runtimes as runtimes

    monkeypatch.setattr(runtimes, "TorchRuntime", None)
    assert quicker_runtime(checkpoint().model(), CPU, 2, 32, windows=10) == "torch"


@pytest.mark.parametrize(("with_torch", "with_onnx", "quicker"), [(0.5, 0.3, "onnx"), (0.3, 0.5, "torch")])
def test_long_jobs_take_the_quicker_runtime(monkeypatch, with_torch, with_onnx, quicker):
    import sparsecover.inference.runtimes as runtimes

    seconds = {TorchRuntime: with_torch, OnnxRuntime: with_onnx}
    monkeypatch.setattr(runtimes, "_seconds", lambda runtime, *_: seconds[type(runtime)])
    assert quicker_runtime(checkpoint().model(), CPU, 2, 32, windows=100_000) == quicker


def test_onnx_runtime_is_for_the_cpu():
    with pytest.raises(ConfigError, match="CPU"):
        make_runtime("onnx", checkpoint().model(), torch.device("meta"), 2, 32, False)
