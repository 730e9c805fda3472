"""Plots of a study: scores over the label budget, by method and by class, and bars where there is no budget."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from sparsecover.classes import ClassScheme
from sparsecover.experiments.jobs import cell_name
from sparsecover.experiments.recipe import Recipe
from sparsecover.experiments.summary import CellScores, Spread
from sparsecover.experiments.tables import panels
from sparsecover.figures import THEMES, ThemeName, chart, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Get = Callable[[CellScores], Spread]
Draw = Callable[[ThemeName, Literal["png", "svg"]], bytes]

_MARKERS = "osD^vP*X"
_STYLES = ("-", "--", ":", "-.")
_LEGEND_ROWS = 3


@dataclass(frozen=True)
class Plot:
    """A plot by the name of its file; ``draw`` makes it for a page of any colour, as PNG or SVG."""

    name: str
    title: str
    draw: Draw


def study_plots(recipe: Recipe, rows: Sequence[CellScores]) -> list[Plot]:
    """What there is to draw: for each panel all classes together, then class by class."""
    plots = []
    for panel, of_panel in panels(recipe, rows).items():
        scored = [row for row in of_panel if row.outcomes]
        if not scored:
            continue
        curves = recipe.budget is not None
        kind, draw = ("label_efficiency", _curves) if curves else ("scores", _bars)
        what = "mIoU over labelled pixels" if curves else "mIoU"
        suffix, after = (f"_{file_name(panel)}", f": {panel}") if panel else ("", "")
        methods = methods_of(recipe, scored)
        plots += [
            Plot(f"{kind}{suffix}", f"{what}{after}", partial(draw, methods, None)),
            Plot(f"per_class{suffix}", f"IoU by class{after}", partial(draw, methods, scored[0].scheme)),
        ]
    return plots


def methods_of(recipe: Recipe, rows: Sequence[CellScores]) -> dict[str, list[CellScores]]:
    """Cells by method: what is left of their names without panel and budget."""
    methods: dict[str, list[CellScores]] = {}
    for row in rows:
        method = cell_name({a: n for a, n in row.cell.items() if a not in (recipe.panel, recipe.budget)})
        methods.setdefault(method or "mIoU", []).append(row)
    return methods


def file_name(text: str) -> str:
    """A title as the name of a file."""
    return re.sub(r"[^\w.]+", "_", text.lower().replace("%", "pct")).strip("_")


def _curves(
    methods: dict[str, list[CellScores]], scheme: ClassScheme | None, theme: ThemeName, kind: Literal["png", "svg"]
) -> bytes:
    """Lines over labelled pixels, with bands of a standard deviation; with a scheme a panel a class."""
    figure, axes, scores = _panels(scheme, theme, (6.4, 4.0), (3.2, 2.5))
    for axis, (title, get) in zip(axes, scores, strict=True):
        for number, of_method in enumerate(methods.values()):
            _line(axis, sorted(of_method, key=lambda row: row.spent_pixels), get, theme, number)
            if scheme is None:
                _published_points(axis, of_method, theme, number)
        _count_pixels(axis, [row.spent_pixels for rows in methods.values() for row in rows])
        axis.set_title(title, loc="left", fontsize=10, color=THEMES[theme].text)
        axis.set_xlabel("labelled pixels", fontsize=9, color=THEMES[theme].text)
        axis.set_ylim(bottom=max(0.0, axis.get_ylim()[0]), top=min(1.0, axis.get_ylim()[1]))
    _legend(figure, list(methods), theme)
    return saved(figure, theme, kind=kind)


def _count_pixels(axis: "Axes", pixels: Sequence[float]) -> None:
    """A logarithmic axis with whole powers of ten, or steps between them where there is only one or two."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axis.set_xscale("log")
    wide = max(pixels) > 100 * max(1.0, min(pixels))
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _line(axis: "Axes", rows: Sequence[CellScores], get: Get, theme: ThemeName, number: int) -> None:
    pixels = np.array([row.spent_pixels for row in rows])
    spreads = [get(row) for row in rows]
    mean, std = np.array([s.mean for s in spreads]), np.nan_to_num([s.std for s in spreads])
    color, style, marker = _look(theme, number)
    axis.plot(pixels, mean, color=color, linestyle=style, marker=marker, markersize=4.5, linewidth=1.7)
    if std.any():
        axis.fill_between(pixels, mean - std, mean + std, color=color, alpha=0.14, linewidth=0)


def _published_points(axis: "Axes", rows: Sequence[CellScores], theme: ThemeName, number: int) -> None:
    known = [(row.spent_pixels, row.published.miou) for row in rows if row.published and row.published.miou]
    color, _, marker = _look(theme, number)
    for pixels, miou in known:
        axis.plot(pixels, miou, marker=marker, color=color, markerfacecolor="none", markersize=9, linestyle="")


def _bars(
    methods: dict[str, list[CellScores]], scheme: ClassScheme | None, theme: ThemeName, kind: Literal["png", "svg"]
) -> bytes:
    """A bar a cell with its standard deviation, others' figures as rings; with a scheme a panel a class."""
    rows = [row for of_method in methods.values() for row in of_method]
    height = 0.8 + 0.34 * len(rows)
    figure, axes, scores = _panels(scheme, theme, (6.4, height), (3.2, height))
    look, places = THEMES[theme], np.arange(len(rows))
    for position, (axis, (title, get)) in enumerate(zip(axes, scores, strict=True)):
        spreads = [get(row) for row in rows]
        mean, std = (np.nan_to_num([getattr(s, part) for s in spreads]) for part in ("mean", "std"))
        axis.barh(places, mean, xerr=std if std.any() else None, color=look.lines[0], height=0.66, ecolor=look.text)
        for place, spread in zip(places.tolist(), spreads, strict=True):
            text = f"{spread.mean:.3f}" if spread.n else "no score"
            axis.text(0.01, place, text, va="center", fontsize=7.5, color="white" if spread.mean > 0.2 else look.text)
        if scheme is None:
            known = [(row.published.miou, at) for at, row in enumerate(rows) if row.published and row.published.miou]
            for miou, at in known:
                axis.plot(miou, at, marker="o", markerfacecolor="none", color=look.lines[1], markersize=8)
        first_of_line = scheme is None or position % _columns(len(scores)) == 0
        axis.set_yticks(places, [row.name for row in rows] if first_of_line else [], parse_math=False)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlim(0, 1)
        axis.set_title(title, loc="left", fontsize=10, color=look.text)
    return saved(figure, theme, kind=kind)


def _panels(
    scheme: ClassScheme | None, theme: ThemeName, one: tuple[float, float], each: tuple[float, float]
) -> "tuple[Figure, list[Axes], list[tuple[str, Get]]]":
    """A figure with a panel for the mIoU, or one for each class, and what each shows."""
    if scheme is None:
        figure, axes = chart(*one, theme)
        return figure, axes, [("mIoU", lambda row: row.miou)]
    columns = _columns(len(scheme))
    lines = -(-len(scheme) // columns)
    figure, axes = chart(each[0] * columns, each[1] * lines, theme, len(scheme), columns)
    scores: list[tuple[str, Get]] = [
        (name, partial(CellScores.class_iou, index=index)) for index, name in enumerate(scheme.names)
    ]
    return figure, axes, scores


def _columns(count: int) -> int:
    return min(3, count)


def _look(theme: ThemeName, number: int) -> tuple[str, str, str]:
    """Colour, line and marker of a method: no two share all three, and colour alone never tells."""
    lines = THEMES[theme].lines
    return lines[number % len(lines)], _STYLES[number // len(lines) % len(_STYLES)], _MARKERS[number % len(_MARKERS)]


def _legend(figure: "Figure", names: Sequence[str], theme: ThemeName) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for number, name in enumerate(names):
        color, style, marker = _look(theme, number)
        handles.append(Line2D([], [], color=color, ls=style, marker=marker, markersize=4.5, label=name))
    columns = max(1, min(3, -(-len(names) // _LEGEND_ROWS)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False,
        labelcolor=THEMES[theme].text,
    )  # fmt: skip
