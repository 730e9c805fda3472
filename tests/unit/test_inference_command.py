"""Every option of ``predict`` and ``export`` reaches what it stands for, and names of scenes become files."""

import dataclasses
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from inference_parts import checkpoint

import sparsecover.pipeline
from sparsecover.cli import export as export_command
from sparsecover.cli import options
from sparsecover.cli import predict as predict_command
from sparsecover.errors import SceneError
from sparsecover.inference import Progress, Settings
from sparsecover.pipeline.predicting import PredictedBatch, listen_to_prediction
from sparsecover.pipeline.scene_files import expand

# What the options set, beside the files: each differs from the default.
OPTIONS = {
    "--probabilities": ("probabilities", "float32"),
    "--entropy": ("entropy", "float32"),
    "--polygons": ("polygons", True),
    "--min-area-ha 0.5": ("min_area_ha", 0.5),
    "--majority 3": ("majority_px", 3),
    "--threshold 0.7": ("threshold", 0.7),
    "--area 1,2,3.5,4": ("area", (1.0, 2.0, 3.5, 4.0)),
    "--patch-size 96": ("patch_size", 96),
    "--overlap 8": ("overlap", 8.0),
    "--blend hann": ("blend", "hann"),
    "--tta": ("tta", True),
    "--native": ("native", True),
    "--runtime onnx": ("runtime", "onnx"),
    "--compile": ("compiled", True),
    "--batch-size 3": ("batch_size", 3),
    "--ram 512": ("ram_mb", 512),
    "--workers 2": ("workers", 2),
    "--scheduler tcp://10.0.0.5:8786": ("scheduler", "tcp://10.0.0.5:8786"),
    "--on-read-error nodata": ("on_read_error", "nodata"),
    "--device cpu": ("device", "cpu"),
    "--resume": ("resume", True),
    "--overwrite": ("overwrite", True),
}


@pytest.fixture
def called(monkeypatch):
    """What ``predict_files`` is called with."""
    taken = {}

    def record(scenes, models, out, **options):
        taken.update(options, scenes=scenes, models=models, out=out)
        return PredictedBatch()

    monkeypatch.setattr(sparsecover.pipeline, "predict_files", record)
    return taken


def invoke(command, *arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


def test_every_option_reaches_its_setting(called):
    given = " ".join(OPTIONS).split()
    invoke(predict_command.command, "a.tif", "b.tif", "--model", "m", "--model", "n", "--out", "o", "--stack",
           "--bands", "3,1", "--float", *given)  # fmt: skip
    assert (called["scenes"], called["out"]) == (("a.tif", "b.tif"), Path("o"))
    assert called["models"] == (Path("m"), Path("n"))
    assert called["stack"] is True
    assert called["bands"] == (3, 1)
    assert called["confidence"] == "float32"
    assert {name: called[name] for name, _ in OPTIONS.values()} == dict(OPTIONS.values())


def test_what_is_not_given_is_as_in_python(called):
    invoke(predict_command.command, "a.tif", "--model", "m", "--out", "o.tif")
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    shared = defaults.keys() & called.keys()
    assert {name for name, _ in OPTIONS.values()} <= shared
    assert {name: called[name] for name in shared} == {name: defaults[name] for name in shared}


def test_no_choice_of_a_prediction_is_missing_from_the_command_line(called):
    invoke(predict_command.command, "a.tif", "--model", "m", "--out", "o.tif")
    assert {field.name for field in dataclasses.fields(Settings)} - called.keys() == {"stem"}


def test_area_is_bounds_or_a_file(called):
    invoke(predict_command.command, "a.tif", "--model", "m", "--out", "o.tif", "--area", "field, north.gpkg")
    assert called["area"] == Path("field, north.gpkg")
    result = CliRunner().invoke(predict_command.command, ["a.tif", "--model", "m", "--out", "o", "--area", "1,2,3"])
    assert result.exit_code == 2
    assert "left,bottom,right,top" in result.output


def test_export_hands_over_scene_and_size(monkeypatch, tmp_path):
    import sparsecover.inference
    import sparsecover.raster

    def record(model, out, **options):
        taken.update(options, model=model, out=out)
        return sparsecover.inference.ExportReport(out, 1e-6, 6)

    taken: dict = {}
    monkeypatch.setattr(sparsecover.inference, "export", record)
    monkeypatch.setattr(sparsecover.raster, "open_scene", lambda path: f"scene of {path}")
    result = invoke(export_command.command, "m", "--out", "m.onnx", "--scene", "a.tif", "--tile-size", 96)
    assert taken == {"model": Path("m"), "out": Path("m.onnx"), "tile_px": 96, "scene": "scene of a.tif",
                     "overwrite": False}  # fmt: skip
    assert "1.0e-06, over 6 windows" in result.output


def test_export_checks_windows_of_a_scene(tmp_path):
    pytest.importorskip("onnxruntime")
    from inference_parts import scene

    from sparsecover.inference import export

    assert export(checkpoint(), tmp_path / "a.onnx").windows == 2
    assert export(checkpoint(), tmp_path / "b.onnx", scene=scene()).windows == 6


def test_colours_stand_for_codes_and_not_for_numbers():
    assert options.parse_codes("#000001, 7") == (1, 7)
    assert options.parse_numbers("3, 1,2") == (3, 1, 2)
    assert options.parse_numbers(None) == ()
    with pytest.raises(click.BadParameter, match="1,2,3"):
        options.parse_numbers("#000001")


def test_folders_and_patterns_become_files(tmp_path, monkeypatch):
    for name in ("b.tif", "a.TIF", "c.vrt", "notes.txt", "deeper/d.tif", "odd[1].tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [Path(path).name for path in expand([tmp_path])]
    assert names == ["a.TIF", "b.tif", "c.vrt", "odd[1].tif"]
    assert [Path(path).name for path in expand([tmp_path / "?.tif", tmp_path / "c.vrt"])] == ["b.tif", "c.vrt"]
    assert len(expand([f"{tmp_path}/**/*.tif"])) == 3
    for given in (tmp_path, f"{tmp_path}/*"):
        besides = [tmp_path / "." / "b.tif", tmp_path / "labels.gpkg|layername=a"]
        assert str(tmp_path / "b.tif") in expand([given])
        assert str(tmp_path / "b.tif") not in expand([given], besides)
    assert expand([tmp_path / "b.tif"], [tmp_path / "b.tif"]) == [str(tmp_path / "b.tif")]  # said so, and refused later
    with pytest.raises(SceneError, match="beside the labels"):
        expand([tmp_path / "b.*"], [tmp_path / "b.tif"])
    assert expand([tmp_path / "odd[1].tif"]) == [str(tmp_path / "odd[1].tif")]
    monkeypatch.chdir(tmp_path / "deeper")
    assert [Path(path).resolve() for path in expand(["../b*.tif"])] == [tmp_path / "b.tif"]
    with pytest.raises(SceneError, match="holds no rasters"):
        expand([tmp_path / "*.jp2"])


@pytest.mark.parametrize(
    "address",
    ["https://host/a.tif?signature=1", "/vsicurl/https://host/a[1].tif?x=1", "/vsis3/bucket/a.tif", "none.tif"],
)
def test_addresses_are_left_to_gdal(address):
    assert expand([address]) == [address]


class Recorder:
    def __init__(self):
        self.said = []

    def stage(self, title):
        self.said.append(title)

    def note(self, text):
        self.said.append(text)

    def progress(self, done, total, **figures):
        self.said.append((done, total, figures))


def test_progress_tells_notes_first_then_speed_and_time_left():
    recorder = Recorder()
    listen = listen_to_prediction(recorder)
    listen(Progress("a", 0, 8_000_000, 0.0, float("inf"), ("odd values",)))
    listen(Progress("a", 2_000_000, 8_000_000, 0.5, 3725.0, ("odd values",)))
    assert recorder.said == [
        "Mapping a",
        "odd values",
        (0, 8, {"mpix_per_s": 0.0, "left": "?"}),
        (2, 8, {"mpix_per_s": 0.5, "left": "1:02:05"}),
    ]


def test_the_pages_on_prediction_name_only_options_that_exist():
    docs = Path(__file__).parents[2] / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("prediction.md", "cluster.md"))
    of_others = {"--peers", "--memory", "--help"} | {  # benchmarks/predict.py, click, dask, srun
        "--port", "--nworkers", "--nthreads", "--preload", "--ntasks", "--cpus-per-task", "--scheduler-file",
    }  # fmt: skip
    commands = (predict_command.command, export_command.command)
    known = {
        name for command in commands for option in command.params for name in (*option.opts, *option.secondary_opts)
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named <= known | of_others
    assert {name for name in known if name.startswith("--")} <= named | {"--device"}  # each is explained
