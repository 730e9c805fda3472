"""What one job does, in a process of its own: train, score scene by scene, keep what the sheets show."""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from sparsecover.atomic import write_file
from sparsecover.checkpoint import Checkpoint, load_checkpoint
from sparsecover.datasets import Pair, open_dataset
from sparsecover.errors import DataError, SparseCoverError
from sparsecover.evaluation import Accumulator
from sparsecover.experiments.jobs import Job
from sparsecover.experiments.outcome import RESULT
from sparsecover.experiments.sheets import save_samples
from sparsecover.experiments.sides import sides_of
from sparsecover.pipeline.scoring import gather_scores
from sparsecover.pipeline.splitting import PLAN
from sparsecover.pipeline.training import training_sides
from sparsecover.training import fit
from sparsecover.training.device import resolve_device
from sparsecover.training.history import trained_seconds
from sparsecover.training.memory import peak_bytes, used_bytes


def work(job: Job, folder: Path, digest: str, device: str, slot: int, parallel: int) -> None:
    """Do a job and write its result, or why there is none, into its folder.

    Args:
        folder: made if it is not there; a stopped training in it goes on.
        digest: of the job, kept with the result.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        slot: number of this process among those at work, which has a GPU of its own as long as there are enough.
        parallel: processes at work, which share the cores.
    """
    _die_with_parent()
    folder.mkdir(parents=True, exist_ok=True)
    _share(slot, parallel)
    with _log(folder / "log.txt"):
        try:
            result = _result(job, folder, device)
        except SparseCoverError as error:
            result = {"error": str(error), "fault": False}
        except Exception as error:  # one job's failure, whatever it is, must not take the others with it
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}", "fault": True}
    write_file(folder / RESULT, json.dumps({"digest": digest, "name": job.name, **result}, indent=1))


def _result(job: Job, folder: Path, device: str) -> dict[str, Any]:
    start, earlier = time.monotonic(), trained_seconds(folder)
    dataset = open_dataset(job.config.data, job.config.classes)
    split, scored = sides_of(job, dataset)
    log = _Log()
    for note in (*dataset.notes, *split.notes):
        log.note(note)
    split.plan.write(folder / PLAN)
    sides = training_sides(split, job.config, validate=job.fold_index is None)  # a dealt-out fold scores the end alone
    checkpoint = fit(
        sides.train, job.config, folder, scheme=dataset.scheme, validation=sides.validation, apart=sides.apart,
        device=device, resume=True, reporter=log,
    )  # fmt: skip
    chosen = folder / f"{job.checkpoint}.safetensors"
    checkpoint = load_checkpoint(chosen) if chosen.is_file() else checkpoint  # a forest has only its last
    scenes = _scored(checkpoint, scored, device)
    save_samples(folder, checkpoint, split.train, sides.train, scored, job.show_bands, device)
    counts = checkpoint.metrics["labelled_pixels"]
    return {
        "classes": checkpoint.scheme.as_dicts(),
        "labelled_pixels": counts,
        "taught": checkpoint.metrics["labelled_pixels_by_class"]["train"],
        "spent_pixels": counts["train"] + (counts.get("validation", 0) if _was_steered(job, folder) else 0),
        "release": checkpoint.versions["sparsecover"],
        "scenes": scenes,
        "seconds": round(earlier + time.monotonic() - start, 1),
        "peak_memory_mib": round(peak_bytes() / 2**20),
        "gpu_memory_mib": round(used_bytes("cuda") / 2**20) if resolve_device(device) == "cuda" else None,
    }


def _was_steered(job: Job, folder: Path) -> bool:
    """Whether validation labels decided which network is scored, and so are part of the budget."""
    if not any(folder.glob("best_*.safetensors")):  # a model without a loop, or nothing validated
        return False
    config = job.config
    watched = config.train.early_stopping is not None or config.schedule.name == "reduce_plateau"
    return watched or job.checkpoint != "last"


def _scored(checkpoint: Checkpoint, pairs: Sequence[Pair], device: str) -> dict[str, list[list[int]]]:
    """Confusion matrix by scene; what is pooled, and over what, is decided later.

    Raises:
        DataError: no scene has a labelled pixel.
    """
    scenes = {}
    for pair in pairs:
        gathered = Accumulator(checkpoint.scheme)
        gather_scores(gathered, checkpoint, [(pair.scene, pair.labels)], device=device)
        scenes[pair.key] = gathered.assessment().confusion.tolist()
    if not np.any(list(scenes.values())):
        raise DataError(f"None of the {len(pairs)} scored scenes has a labelled pixel with data; label some of them.")
    return scenes


def _share(slot: int, parallel: int) -> None:
    """Cores are divided among the processes at work, GPUs dealt out in turn."""
    if parallel > 1:
        torch.set_num_threads(max(1, _cores() // parallel))
    count = torch.cuda.device_count()  # asks the driver; nothing is set up on any GPU yet
    if count > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[slot % len(visible)]


def _cores() -> int:
    """Cores that this process may use; macOS does not say, so there it is all of them."""
    process = psutil.Process()
    ours = process.cpu_affinity() if hasattr(process, "cpu_affinity") else None
    return len(ours) if ours else os.cpu_count() or 1


def _die_with_parent() -> None:
    """End when the command is killed: two processes must never write into one folder.

    Ctrl-C in a terminal reaches the whole process group; in a group of its own this process hears of it from the
    command alone, once, and saves its state.
    """
    parent = parent_process()
    if parent is None:
        return
    if hasattr(os, "setpgrp"):
        os.setpgrp()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _log(path: Path) -> Iterator[None]:
    """Everything that is printed goes to a file, where this process has one of its own to print to."""
    if parent_process() is None:
        yield
        return
    with path.open("a", encoding="utf-8") as file:
        sys.stdout.flush(), sys.stderr.flush()
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        yield
        sys.stdout.flush(), sys.stderr.flush()


class _Log:
    """Writes stages and notes as plain lines."""

    def stage(self, title: str) -> None:
        """A line of its own."""
        print(title, flush=True)

    def progress(self, done: float, total: float, **values: float | str) -> None:
        """Not written: history.csv has it."""

    def note(self, text: str) -> None:
        """Indented."""
        print(f"  {text}", flush=True)
