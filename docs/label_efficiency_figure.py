"""Draw docs/label-efficiency.svg from the tables of docs/technical-report.md; to be run when these have changed.

python docs/label_efficiency_figure.py
"""

import re
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator

from sparsecover.figures import THEMES, chart, saved

DOCS = Path(__file__).parent
PANELS = ("The rest of the same scenes", "Unseen scenes")
METHODS = ("hypercolumns", "forest", "U-Net", "forest on pixels")
LABELS = {"pixels": "o", "points": "^", "scribble": "s", "polygon": "D"}


class Cell(NamedTuple):
    """A score of one method: how labels were given, how many pixels, mIoU and its interval where there is one."""

    given: str
    pixels: int
    miou: float
    interval: tuple[float, float] | None


def read_table(report: str, title: str) -> dict[str, list[Cell]]:
    """Cells by method of the first table below a heading; those not run are left out."""
    blocks = report.split(f"## {title}\n", 1)[1].split("\n\n")
    table = next(block.strip() for block in blocks if block.strip().startswith("| "))
    lines = [line for line in table.splitlines() if not line.startswith("|--")]
    head, *rows = ([text.strip() for text in line.strip("|").split("|")] for line in lines)
    found: dict[str, list[Cell]] = {method: [] for method in METHODS}
    for row in rows:
        values = dict(zip(head, row, strict=True))
        for method in METHODS:
            scores = [float(number) for number in re.findall(r"0\.\d+", values[method])]
            if scores:
                interval = (scores[1], scores[2]) if len(scores) == 3 else None
                pixels = int(values["labelled pixels"].replace(",", ""))
                found[method].append(Cell(_given(values["labels"]), pixels, scores[0], interval))
    return found


def _given(labels: str) -> str:
    return next((given for given in LABELS if given in labels or given[:-1] in labels.split()), "pixels")


def draw_methods(axis: Axes, table: dict[str, list[Cell]]) -> None:
    """A line a method over drawn pixels, one over clicks, and a marker for each shape."""
    for color, cells in zip(THEMES["paper"].lines, table.values(), strict=False):
        for given, marker in LABELS.items():
            line = sorted(cell for cell in cells if cell.given == given)
            pixels, scores = [cell.pixels for cell in line], [cell.miou for cell in line]
            axis.plot(pixels, scores, marker, color=color, markersize=5, ls="--" if given == "points" else "-", lw=1.5)
            sure = [cell for cell in line if cell.interval]
            if len(sure) > 1:
                low, high = zip(*(cell.interval for cell in sure if cell.interval), strict=True)
                axis.fill_between([cell.pixels for cell in sure], low, high, color=color, alpha=0.14, linewidth=0)


def main() -> None:
    report = (DOCS / "technical-report.md").read_text(encoding="utf-8")
    look = THEMES["paper"]
    figure, axes = chart(9.2, 4.2, "paper", len(PANELS), len(PANELS))
    for axis, title in zip(axes, PANELS, strict=True):
        draw_methods(axis, read_table(report, title))
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator())
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.tick_params(which="minor", length=0)
        axis.set_ylim(0.25, 0.7)
        axis.set_title(f"mIoU: {title.lower()}", loc="left", fontsize=10, color=look.text)
        axis.set_xlabel("labelled pixels, logarithmic", fontsize=9, color=look.text)
    handles = [Line2D([], [], color=color, label=name) for color, name in zip(look.lines, METHODS, strict=False)]
    handles += [
        Line2D([], [], color=look.text, marker=marker, ls="--" if name == "points" else "", label=name)
        for name, marker in LABELS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    (DOCS / "label-efficiency.svg").write_bytes(saved(figure, "paper", kind="svg"))


if __name__ == "__main__":
    main()
