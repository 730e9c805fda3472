"""Importing torchvision beside any torch, in fresh processes."""

import subprocess
import sys
from pathlib import Path


def run(code: str, path: Path | None = None) -> str:
    before = f"import sys; sys.path.insert(0, {str(path)!r}); " if path else ""
    done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


IMPORT = "from sparsecover.models.torchvision_pairing import import_beside_torchvision as get; "


def test_the_installed_torchvision_makes_networks() -> None:
    code = (
        "from sparsecover.models import create_model; import torch; "
        "print(tuple(create_model('smp-unet', 3, 2, encoder='resnet18').eval()(torch.zeros(1, 3, 5, 6)).shape))"
    )
    assert run(code) == "(1, 2, 5, 6)"


def test_a_torchvision_without_its_operators(tmp_path: Path) -> None:
    """What PyPI's CUDA build does beside a CPU-only torch."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import torch\n"
        "@torch.library.register_fake('torchvision::nms')\n"
        "def nms(dets, scores, iou_threshold): return dets\n"
        "@torch.library.register_fake('torchvision::qnms')\n"
        "def qnms(dets, scores, iou_threshold): return dets\n"
        "answer = 42\n"
    )
    plain = "import importlib\ntry:\n importlib.import_module('torchvision')\nexcept RuntimeError as e: print(e)"
    assert "operator torchvision::nms does not exist" in run(f"exec({plain!r})", tmp_path)
    assert (
        run(IMPORT + "print(get('torchvision', 'torchvision').answer, get('torchvision', 'x').answer)", tmp_path)
        == "42 42"
    )


def test_other_failures_of_torchvision_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('another reason')")
    code = f"{IMPORT}\ntry:\n get('torchvision', 'x')\nexcept RuntimeError as e: print(e)"
    assert run(f"exec({code!r})", tmp_path) == "another reason"
