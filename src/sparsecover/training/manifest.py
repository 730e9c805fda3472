"""What a run stands on: digests of scenes, labels, split and configuration, code version and environment."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sparsecover
from sparsecover.grid import Window
from sparsecover.raster import Scene
from sparsecover.training.record import versions
from sparsecover.training.run import Run

_WHOLE_BYTES = 2**30  # larger files are sampled: a manifest must not take as long as the first epoch
_PIECES, _PIECE_BYTES = 64, 2**20
_ROWS = 1024
_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "GDAL_CACHEMAX", "GDAL_NUM_THREADS")


def manifest(run: Run) -> dict[str, Any]:
    """Plain values that tell two runs apart, or show that they stood on the same.

    Large files are told by their size and 64 pieces spread over them (``sha256_of``: pieces); scenes without a file by
    their pixels.
    """
    sides = {"train": run.pairs, "validation": run.held_pairs if run.held is not None else ()}
    settings = run.config.to_dict()
    return {
        "split": {
            side: {
                "scenes": [scene.name for scene, _ in pairs],
                "labels_sha256": run.digests["labels" if side == "train" else "validation labels"],
            }
            for side, pairs in sides.items()
        },
        "scenes": _scenes([scene for pairs in sides.values() for scene, _ in pairs]),
        "configuration_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "seed": run.config.seed,
        "code": {"sparsecover": sparsecover.__version__, "source_sha256": _source_digest()},
        "environment": _environment(run),
    }


def _scenes(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """Each scene once."""
    different = {scene.paths or id(scene): scene for scene in scenes}
    return [_scene(scene) for scene in different.values()]


def _scene(scene: Scene) -> dict[str, Any]:
    files = [Path(path) for path in scene.paths]
    about = {"name": scene.name, "bands": len(scene.bands), "size_px": [scene.grid.height, scene.grid.width]}
    if files and all(path.is_file() for path in files):
        return about | {"files": [_file(path) for path in files]}
    if files:  # a URL or a virtual path: what it holds is not fetched for this
        return about | {"files": [{"path": path} for path in scene.paths]}
    return about | {"sha256": _pixel_digest(scene), "sha256_of": "pixels"}


def _file(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            digest = hashlib.file_digest(file, "sha256")
        else:
            for start in np.linspace(0, size - _PIECE_BYTES, _PIECES).astype(int).tolist():
                file.seek(start)
                digest.update(file.read(_PIECE_BYTES))
    kind = "file" if size <= _WHOLE_BYTES else "pieces"
    return {"path": str(path), "bytes": size, "sha256": digest.hexdigest(), "sha256_of": kind}


def _pixel_digest(scene: Scene) -> str:
    """SHA-256 of values and valid masks by strips of rows."""
    digest, grid = hashlib.sha256(), scene.grid
    for row in range(0, grid.height, _ROWS):
        for part in scene.read(Window(row, 0, min(_ROWS, grid.height - row), grid.width)):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _source_digest() -> str:
    """SHA-256 of this package's own modules: two checkouts of one version may differ."""
    root = Path(sparsecover.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@cache
def _packages() -> tuple[tuple[str, str], ...]:
    """Names and versions of all that is installed; read once, as it takes half a second."""
    metadata = [d.metadata for d in importlib.metadata.distributions()]
    return tuple(sorted((d["Name"].lower(), d["Version"]) for d in metadata if d["Name"]))


def _environment(run: Run) -> dict[str, Any]:
    return {
        "versions": versions(),
        "packages": dict(_packages()),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if run.device == "cuda" else run.device,
        "processes": run.devices * run.nodes,
        "threads": torch.get_num_threads(),
        "deterministic": run.config.train.deterministic,
        "variables": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    }
