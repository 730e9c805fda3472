"""The code that README and docs show runs as it stands."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from sparsecover.cli import COMMANDS

from .conftest import SmallScene

ROOT = Path(__file__).parents[2]


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_lines_of_the_readme(small: SmallScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scene.tif", "labels.gpkg"):
        (tmp_path / name).write_bytes((small.folder / name).read_bytes())
    code = "\n".join(python_blocks(ROOT / "README.md"))
    exec(code, {})
    for made in ("result/map.tif", "result/report.html", "map.tif", "run/last.safetensors"):
        assert (tmp_path / made).is_file(), made


def test_plain_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(4):
        mask = (rng.random((32, 32)) > 0.5).astype(np.uint8)
        imsave(tmp_path / "masks" / f"{i}.png", mask, check_contrast=False)
        imsave(tmp_path / "images" / f"{i}.png", np.stack([mask * 200 + 20] * 3, -1).astype(np.uint8))
    scope: dict = {}
    for block in python_blocks(ROOT / "docs" / "pytorch.md"):
        exec(block, scope)
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1
    assert scope["network"](scope["images"]).shape == (4, 2, 32, 32)


def test_the_readme_names_only_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^sparsecover (\w+)", text, flags=re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_the_page_of_the_configuration_is_the_configuration() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "configuration_page.py"))
    assert written["PAGE"].read_text(encoding="utf-8") == written["page"](), "run docs/configuration_page.py"
