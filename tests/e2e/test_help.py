"""The command line as a stranger meets it: help for everything, quick, and without the heavy libraries."""

import subprocess
import sys

import pytest

from sparsecover.cli import COMMANDS

HEAVY = ("torch", "rasterio", "numpy", "pydantic", "sklearn", "matplotlib", "geopandas")


def sparsecover(*arguments: str, probe: str = "pass") -> subprocess.CompletedProcess[str]:
    code = f"import sys; from sparsecover.cli import run; code = run(sys.argv[1:]); {probe}; sys.exit(code)"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    probe = f"print('LOADED', [m for m in {HEAVY} if m in sys.modules])"
    result = sparsecover(*([command] if command else []), "--help", probe=probe)
    assert result.returncode == 0, result.stderr
    assert "LOADED []" in result.stdout
    assert "Usage: sparsecover" in result.stdout


def test_an_unknown_command_is_answered_with_near_ones() -> None:
    result = sparsecover("trian")
    assert result.returncode == 2
    assert "Did you mean 'train'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_configuration_is_a_users_mistake() -> None:
    result = sparsecover("train", "--config", "nowhere.yaml", "--out", "nowhere")
    assert result.returncode == 2
    assert "nowhere.yaml does not exist" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_is_answered_before_what_trains_is_loaded() -> None:
    slow = ("lightning_fabric", "torch._dynamo", "sklearn")
    probe = f"print('LOADED', [m for m in {slow} if m in sys.modules])"
    result = sparsecover("map", "nowhere.tif", "--labels", "nowhere.gpkg", "--out", "nowhere", probe=probe)
    assert result.returncode == 2
    assert "LOADED []" in result.stdout
