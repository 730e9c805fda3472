"""Python in processes of their own that need not import the libraries: forked from one that has done nothing else.

Importing takes each command seconds, and there are hundreds of commands. Whatever a process does to itself, such as
leaving, dying by a signal or changing a library, stays its own.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MOST_SECONDS = 300
COMMAND = "from sparsecover.cli import main; main()"
_LIBRARIES = [
    "sparsecover.cli", "sparsecover.pipeline.mapping", "sparsecover.pipeline.predicting", "geopandas", "jinja2",
    "lightning_fabric", "matplotlib.backends.backend_agg", "matplotlib.figure", "onnxruntime", "pyogrio",
    "rasterio.warp", "scipy.ndimage", "skimage.segmentation", "sklearn.ensemble", "torch",
]  # fmt: skip


def run_python(code: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """``python -c CODE ARGUMENTS`` with its output and errors, a thread, and room for 200 letters a line."""
    given = [str(argument) for argument in arguments]
    variables = dict(os.environ) | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment
    if "forkserver" not in multiprocessing.get_all_start_methods():
        command = [sys.executable, "-c", code, *given]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = context.Process(target=_execute, args=(code, given, variables, Path.cwd(), out, err))
        process.start()
        process.join(_MOST_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{given} has not ended in {_MOST_SECONDS} seconds")
        return subprocess.CompletedProcess(given, process.exitcode, out.read_text("utf-8"), err.read_text("utf-8"))


def _execute(code: str, arguments: list[str], variables: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
    """In the new process: become ``python -c CODE``."""
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["-c", *arguments]
    sys.orig_argv = [sys.executable, "-c", code, *arguments]  # what the command starts further processes with
    exec(code, {"__name__": "__main__"})
