"""``data list``, ``data get`` and ``data info`` in processes of their own; downloads come from a local server."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layouts
from file_server import Server, serving

from .conftest import QUICK, Command, SmallScene, assert_users_mistake

TOY = """
import sys
from sparsecover.cli import run
from sparsecover.datasets import KNOWN, known
file = known.RemoteFile(sys.argv[1], sys.argv[2])
KNOWN["toy"] = known.KnownDataset("toy", "Toy", "folder", "none", "", (file,), ("images", "masks"))
sys.exit(run(sys.argv[3:]))
"""


def get_toy(address: str, digest: str, root: Path) -> subprocess.CompletedProcess[str]:
    """``sparsecover data get toy`` where toy is an archive on the server."""
    arguments = [f"{address}/toy.zip", digest, "data", "get", "toy", "--root", str(root)]
    return subprocess.run([sys.executable, "-c", TOY, *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip


def toy_archive() -> bytes:
    """Three pairs of 32 x 24 pixels, two classes of equal size."""
    values = np.random.default_rng(0).integers(0, 255, (32, 24, 3)).astype(np.uint8)
    mask = np.repeat([[0], [1]], 16, axis=0).repeat(24, 1).astype(np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, picture in (("images", values), ("masks", mask)):
            for number in range(3):
                file = io.BytesIO()
                Image.fromarray(picture).save(file, "png")
                archive.writestr(f"{name}/{number}.png", file.getvalue())
    return buffer.getvalue()


def test_a_download_goes_on_where_it_broke_off_and_can_be_described(fresh: Command, tmp_path: Path) -> None:
    with serving() as address:
        Server.content["/toy.zip"] = archive = toy_archive()
        Server.break_after = [len(archive) // 2]
        result = get_toy(address, hashlib.md5(archive).hexdigest(), tmp_path)
        assert result.returncode == 0, result.stderr
        assert [wanted for _, wanted in Server.asked] == [None, f"bytes={len(archive) // 2}-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks"]
    described = fresh("data", "info", "folder", "--root", tmp_path, "--json")
    assert described.returncode == 0, described.stderr
    found = json.loads(described.stdout)
    assert (found["pairs"], found["sizes"]) == (3, [[32, 24, 3]])
    assert [row["share"] for row in found["classes"]] == [0.5, 0.5]


def test_a_wrong_checksum_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with serving() as address:
        Server.content["/toy.zip"] = toy_archive()
        assert_users_mistake(get_toy(address, "0" * 32, tmp_path), "MD5 checksum", "expected 000")
    assert not (tmp_path / "images").exists()


def test_a_licence_that_asks_for_a_login_prints_the_steps(cli: Command, tmp_path: Path) -> None:
    result = cli("data", "get", "deepglobe", "--root", tmp_path / "here")
    assert_users_mistake(result, "accept the terms", "kaggle", f"{tmp_path / 'here'} holds train/")
    assert not (tmp_path / "here").exists()
    assert_users_mistake(cli("data", "get", "deepglob"), "Did you mean 'deepglobe'")


def test_the_list_names_datasets_and_licences(cli: Command) -> None:
    result = cli("data", "list")
    assert result.returncode == 0, result.stderr
    for word in ("landcoverai", "deepglobe", "oxford-pet", "CC BY-NC-SA 4.0", "by hand"):
        assert word in result.stdout


def test_files_that_cannot_be_used_are_listed_and_the_rest_described(cli: Command, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(toy_archive())) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "images" / "1.png").write_bytes(b"no picture")
    (tmp_path / "masks" / "2.png").unlink()
    result = cli("data", "info", "folder", "--root", tmp_path)
    assert result.returncode == 2
    assert "1 pair" in result.stdout
    assert "2.png has no labels" in result.stdout.replace("\n", " ")
    assert "1.png" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("folder", "--config", "x.yaml")])
def test_info_asks_for_one_source(cli: Command, arguments: tuple[str, ...]) -> None:
    assert_users_mistake(cli("data", "info", *arguments), "either the NAME of a layout, or --config")


def test_a_split_is_written_once_and_used_again(small: SmallScene, cli: Command, tmp_path: Path) -> None:
    for folder, file in (("images", small.scene), ("masks", small.truth)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tif").write_bytes(file.read_bytes())
    config = tmp_path / "run.yaml"
    split = "split: {by: block, block_px: 32, fractions: [0.5, 0.25, 0.25]}"
    config.write_text(f"data: {{root: {tmp_path}}}\n{split}\n")
    plan = tmp_path / "split.json"
    result = cli("data", "split", "--config", config, "--out", plan)
    assert result.returncode == 0, result.stderr
    assert "scenes" in result.stdout
    assert_users_mistake(cli("data", "split", "--config", config, "--out", plan), "exists already")
    trained = cli("train", "--config", config, *QUICK, "--set", "split.plan=split.json", "--set", "split.by=scene",
                  "--out", tmp_path / "run")  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "split.json").read_text() == plan.read_text()
    digest = result.stdout.split("SHA-256 ")[1].strip()
    assert digest[:16] in trained.stderr


def test_check_warns_of_byte_identical_images_however_many_scenes_there_are(cli: Command, tmp_path: Path) -> None:
    folder = layouts.folder(tmp_path)
    for i in range(4, 30):
        layouts.image(folder / "images" / f"tile{i}.jpg", seed=i)
        layouts.mask(folder / "masks" / f"tile{i}.png", layouts.codes(3, 7))
    (folder / "images" / "tile9.jpg").write_bytes((folder / "images" / "tile5.jpg").read_bytes())
    config = tmp_path / "run.yaml"
    config.write_text(f"data: {{root: {folder}}}\nsplit: {{by: files, test: [tile9]}}\n")
    result = cli("check", "--config", config)
    assert "train and test share byte-identical images: tile5 and tile9" in result.stdout
    assert "The same in 29 more: " in " ".join(result.stdout.split())  # scenes without a coordinate system
