"""Accuracy on real imagery through the command line, with the time each map or training takes: the table of the README.

    python benchmarks/accuracy.py FOLDER [--seeds 0 1 2] [--only NAME] [--out FOLDER]

FOLDER holds the public samples named in CASES, each in a folder of its own. Nothing else should run meanwhile.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"
FORESTS = ("random-forest-features", "random-forest")
MODELS = {"network": "unet", "forest on features": FORESTS[0], "forest on pixels": FORESTS[1]}


@dataclass(frozen=True)
class Case:
    """A training, and what it is scored on beside its held-out labels.

    Attributes:
        folder: of the data.
        arguments: of ``map`` (files relative to the folder), or the recipe that is trained.
        also: recipe and settings of a second evaluation of the same network.
        reseeded: settings that take the seed, too.
    """

    folder: str
    arguments: tuple[str, ...]
    also: tuple[str, ...] = ()
    reseeded: tuple[str, ...] = ()


CASES = {
    "historical map, 17 polygons": Case(
        "vector_labels/historical_map", ("map", "map_lowres.tif", "--labels", "train.gpkg", "--field", "Class")
    ),
    "SpaceNet Atlanta, 43 buildings": Case(
        "vector_labels/spacenet_atlanta",
        ("map", "sample_geotiff.tif", "--labels", "geotiff_labels.geojson",
         "--background", "other", "--labelled-area", "scene"),
    ),
    "Sen1Floods11 chips": Case("sen1floods11_s1", ("sen1floods11.yaml",)),
    "EnMAP Potsdam, 224 bands": Case("enmap_potsdam_hyperspectral", ("enmap-potsdam.yaml",)),
    "Dubai, 1% of the pixels": Case(
        "dubai_mbrsc", ("dubai-same-scenes.yaml",), ("dubai-by-tile.yaml", "data.resize=0.5"), ("data.simulate.seed",)
    ),
}  # fmt: skip


def sparsecover(*arguments: object) -> None:
    """Run a command in a fresh process; its messages are shown only where it fails."""
    command = [sys.executable, "-m", "sparsecover", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def settings(*values: str) -> list[str]:
    """Each as ``--set VALUE``."""
    return [part for value in values for part in ("--set", value)]


Scores = dict[str, list[float]]
"""mIoU by model, one a test."""


def measure_map(case: Case, data: Path, out: Path, seed: int) -> tuple[float, Scores]:
    """Seconds of the network's training and scoring, and the models that were compared on held-out labels."""
    folder = data / case.folder
    files = [str(folder / a) if (folder / a).is_file() else a for a in case.arguments]
    sparsecover(*files, "--seed", seed, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text())
    scores = {name: [of["miou"]] for name, of in metrics["comparison"]["models"].items()}
    network = next(name for name in scores if name not in FORESTS)  # the one that the labels called for
    found = {title: scores[network if title == "network" else name] for title, name in MODELS.items()}
    return metrics["seconds"]["training and scoring"], found


def measure_recipe(case: Case, data: Path, out: Path, seed: int) -> tuple[float, Scores]:
    """Seconds of the network's training, and the scores of each model on each test."""
    root, seeds = f"data.root={data / case.folder}", [f"{key}={seed}" for key in ("seed", *case.reseeded)]
    recipe = RECIPES / case.arguments[0]
    tests = [(recipe, seeds)] + ([(RECIPES / case.also[0], list(case.also[1:]))] if case.also else [])
    scores: Scores = {}
    seconds: dict[str, float] = {}
    for title, name in MODELS.items():
        model = [f"model={{name: {name}}}"] if name in FORESTS else []
        start, run = time.monotonic(), out / title
        sparsecover("train", "--config", recipe, *settings(root, *seeds, *model), "--out", run)
        seconds[title] = time.monotonic() - start
        scores[title] = [evaluated(config, run, root, values, number) for number, (config, values) in enumerate(tests)]
    return seconds["network"], scores


def evaluated(config: Path, run: Path, root: str, values: list[str], number: int) -> float:
    """mIoU of a trained model on the test labels of a configuration."""
    out = run / f"evaluation{number}"
    model = run / "last.safetensors"
    sparsecover("evaluate", "--config", config, *settings(root, *values), "--model", model, "--out", out)
    return float(json.loads((out / "metrics.json").read_text())["miou"])


def row(name: str, runs: list[tuple[float, Scores]]) -> str:
    """A row of the table: mean and range over the seeds, model by model; tests after one another."""
    cells = []
    for title in MODELS:
        by_test = zip(*(scores[title] for _, scores in runs), strict=True)
        cells.append("; ".join(spread(list(values)) for values in by_test))
    seconds = statistics.mean(seconds for seconds, _ in runs)
    return f"| {name} | {' | '.join(cells)} | {seconds:.0f} s |"


def spread(values: list[float]) -> str:
    """Mean, and range where there are several."""
    few = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{few}"


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", help="part of a case's name")
    parser.add_argument("--out", type=Path, help="keep the results here")
    given = parser.parse_args()
    print(f"mIoU over the seeds {given.seeds}: mean (range)")
    print(f"| data | {' | '.join(MODELS)} | time |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        for name, case in CASES.items():
            if given.only and given.only not in name:
                continue
            folders = [out / f"{Path(case.folder).name}-{seed}" for seed in given.seeds]
            measure = measure_map if case.arguments[0] == "map" else measure_recipe
            runs = [measure(case, given.data, f, seed) for f, seed in zip(folders, given.seeds, strict=True)]
            print(row(name, runs), flush=True)


if __name__ == "__main__":
    main()
