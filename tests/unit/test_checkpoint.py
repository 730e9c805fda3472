"""Checkpoints: what goes in comes out, and nothing that is not whole, ours and unchanged comes in."""

import errno
import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sparsecover import checkpoint as module
from sparsecover.atomic import replacing, write_file
from sparsecover.checkpoint import Checkpoint, ModelSpec, load_checkpoint, load_model, save_checkpoint
from sparsecover.classes import ClassScheme
from sparsecover.errors import CheckpointError, OutputError
from sparsecover.normalize import Normalizer


def make_checkpoint(**changes: object) -> Checkpoint:
    torch.manual_seed(3)
    spec = ModelSpec("unet", 2, 3, {"base_channels": 4, "depth": 2})
    checkpoint = Checkpoint(
        config={"seed": 3, "classes": ["a", "b", "c"]},
        scheme=ClassScheme.from_dicts(
            [{"code": 7, "name": "wäter"}, {"code": 2, "name": "b"}, {"code": 3, "name": "c"}]
        ),
        bands=("red", "nir"),
        normalizer=Normalizer("percentile", (0.1, 1 / 3), (2.0, 5e-7), 4.0),
        model_spec=spec,
        patch_size_px=64,
        state=spec.build().state_dict(),
        resolution_m=0.25,
        metrics={"miou": None, "accuracy": 0.5, "confusion": [[1, 2], [3, 4]]},
        versions={"sparsecover": "0.1.0"},
        digests={"labels": "abc"},
    )
    return replace(checkpoint, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "last.safetensors"
    save_checkpoint(path, make_checkpoint())
    return path


def rewritten(saved: Path, tmp_path: Path, **changes: object) -> Path:
    """The file with some entries of our header replaced (None removes), tensors as they are."""
    data = saved.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    outer = json.loads(data[8 : 8 + length])
    inner = json.loads(outer["__metadata__"]["sparsecover"]) | changes
    outer["__metadata__"]["sparsecover"] = json.dumps({k: v for k, v in inner.items() if v is not None})
    text = json.dumps(outer).encode()
    path = tmp_path / "changed.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


def test_everything_comes_back(saved: Path) -> None:
    given, got = make_checkpoint(), load_checkpoint(saved)
    assert replace(got, state={}) == replace(given, state={})
    assert got.state.keys() == given.state.keys()
    assert all(torch.equal(got.state[name], given.state[name]) for name in given.state)


def test_the_network_computes_the_same(saved: Path) -> None:
    images = torch.randn(1, 2, 9, 11, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    network = load_model(saved)
    assert torch.equal(torch.get_rng_state(), before), "restoring must not shift random numbers"
    assert not network.training
    reference = make_checkpoint().model_spec.build()
    reference.load_state_dict(dict(make_checkpoint().state))
    with torch.no_grad():
        assert torch.equal(network(images), reference.eval()(images))


def test_other_tools_open_the_file(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        assert set(file.keys()) == set(make_checkpoint().state)


def test_channels_last_weights_and_every_dtype_survive(tmp_path: Path) -> None:
    state = {
        "weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "half": torch.randn(5).to(torch.bfloat16),
        "steps": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    save_checkpoint(tmp_path / "a.safetensors", make_checkpoint(state=state))
    got = load_checkpoint(tmp_path / "a.safetensors").state
    assert all(torch.equal(got[name], value) and got[name].dtype == value.dtype for name, value in state.items())


@pytest.mark.parametrize("keep", [0, 4, 40, 1000, -1])
def test_truncated_files_are_refused(saved: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


@pytest.mark.parametrize("place", [-1, -5000])
def test_a_changed_weight_is_noticed(saved: Path, tmp_path: Path, place: int) -> None:
    data = bytearray(saved.read_bytes())
    data[place] ^= 1
    path = tmp_path / "bent.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="changed after it was written"):
        load_checkpoint(path)


def test_a_changed_header_is_noticed(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="changed after it was written"):
        load_checkpoint(rewritten(saved, tmp_path, bands=["nir", "red"]))


def test_a_newer_format_names_the_release_that_reads_it(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path, format=module.VERSION + 1, versions={"sparsecover": "9.9"})
    with pytest.raises(CheckpointError, match=r"sparsecover 9\.9"):
        load_checkpoint(path)


def test_an_older_format_is_upgraded_step_by_step(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_checkpoint(saved)
    monkeypatch.setattr(module, "VERSION", 3)
    monkeypatch.setitem(module.UPGRADES, 1, lambda header: header | {"bands": [f"{b}!" for b in header["bands"]]})
    monkeypatch.setitem(module.UPGRADES, 2, lambda header: header | {"bands": [f"{b}?" for b in header["bands"]]})
    after = load_checkpoint(saved)
    assert after.bands == tuple(f"{band}!?" for band in before.bands)
    assert after.state.keys() == before.state.keys()


def test_a_format_too_old_to_be_upgraded_names_the_release_that_reads_it(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(saved, tmp_path, versions={"sparsecover": "0.0.7"})
    monkeypatch.setattr(module, "VERSION", 3)
    monkeypatch.setitem(module.UPGRADES, 2, dict)
    with pytest.raises(CheckpointError, match=r"format 1; this release reads 2 to 3.*sparsecover 0\.0\.7"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="format 0"):
        load_checkpoint(rewritten(saved, tmp_path, format=0))


def test_a_missing_entry_is_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="normalizer"):
        load_checkpoint(rewritten(saved, tmp_path, normalizer=None))


def test_foreign_files_are_refused_without_running_them(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    pickled, plain = tmp_path / "a.pt", tmp_path / "b.safetensors"
    pickled.write_bytes(pickle.dumps(Bomb()))
    plain.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}))
    for path in (pickled, plain, tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(path)


def test_an_architecture_larger_than_its_tensors_is_not_built() -> None:
    # 2**20 base channels would take terabytes.
    spec = ModelSpec("unet", 2, 3, {"base_channels": 2**20, "depth": 2})
    with pytest.raises(CheckpointError, match="do not fit"):
        make_checkpoint(model_spec=spec).model()


def test_no_weights_are_drawn_where_there_is_no_memory_for_them(saved: Path) -> None:
    drawn: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
                drawn.append(func.name())
            return func(*args, **(kwargs or {}))

    checkpoint = load_checkpoint(saved)
    with Watch():
        checkpoint.model()
    assert drawn  # it was built on the meta device
    assert not {"aten::normal_", "aten::uniform_"} & set(drawn)


def test_unknown_networks_and_missing_tensors_are_explained() -> None:
    with pytest.raises(CheckpointError, match="no-such-net"):
        make_checkpoint(model_spec=ModelSpec("no-such-net", 2, 3)).model()
    state = dict(make_checkpoint().state)
    del state[next(iter(state))]
    with pytest.raises(CheckpointError, match="do not fit"):
        make_checkpoint(state=state).model()


def test_parts_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, make_checkpoint(bands=("red",)))
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_checkpoint(path)


def test_a_name_that_is_not_there_tells_what_is(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"does not exist; in .* there is {saved.name}"):
        load_checkpoint(saved.with_name("model_of_another_run.safetensors"))


@pytest.mark.parametrize("resize", [0, -0.5, 1e308, 10**400, "half", [256], [0, 256], {"rows": 3}])
def test_a_resize_that_makes_no_sense_is_refused(saved: Path, tmp_path: Path, resize: object) -> None:
    changed = replace(load_checkpoint(saved), config={"data": {"resize": resize}})
    save_checkpoint(tmp_path / "odd.safetensors", changed)
    with pytest.raises(CheckpointError, match="makes no sense"):
        load_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("config", [None, [], "none"])
def test_a_configuration_that_is_no_mapping_is_refused(saved: Path, tmp_path: Path, config: Any) -> None:
    save_checkpoint(tmp_path / "odd.safetensors", replace(load_checkpoint(saved), config=config))
    with pytest.raises(CheckpointError, match="makes no sense"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_a_file_does_not_choose_what_else_is_read(saved: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(saved)
    options = dict(checkpoint.model_spec.options) | {"encoder_weights": str(tmp_path / "theirs.pth")}
    spec = replace(checkpoint.model_spec, options=options)
    save_checkpoint(tmp_path / "odd.safetensors", replace(checkpoint, model_spec=spec))
    with pytest.raises(CheckpointError, match=r"makes no sense.*encoder weights"):
        load_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(saved: Path, tmp_path: Path, value: float) -> None:
    with pytest.raises(CheckpointError, match="makes no sense"):
        load_checkpoint(rewritten(saved, tmp_path, metrics={"miou": value}))
    with pytest.raises(CheckpointError, match="not a checkpoint of sparsecover"):
        load_checkpoint(rewritten(saved, tmp_path, format=value))


def test_nan_in_the_metrics_is_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="NaN"):
        save_checkpoint(tmp_path / "a.safetensors", make_checkpoint(metrics={"miou": float("nan")}))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_previous_file(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(saved.read_bytes())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint(path, make_checkpoint(patch_size_px=32))
    assert path.read_bytes() == saved.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_folder_that_cannot_be_synchronised_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("sparsecover.atomic._sync_folder", refused)
    write_file(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_nothing_appears_where_writing_was_broken_off(tmp_path: Path) -> None:
    def write_half() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())
