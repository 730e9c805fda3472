"""Plots of a study: scores over the label budget, by method and by class, and bars where there is no budget."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

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
_OVERALL: tuple[tuple[str, Get], ...] = (("mIoU", lambda row: row.miou), ("accuracy", lambda row: row.accuracy))


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
        what = "mIoU over labelled pixels" if curves else "mIoU and accuracy"
        suffix, after = (f"_{file_name(panel)}", f": {panel}") if panel else ("", "")
        methods = methods_of(recipe, scored)
        plots += [
            Plot(f"{kind}{suffix}", f"{what}{after}", partial(draw, methods, ())),
            Plot(f"per_class{suffix}", f"IoU by class{after}", partial(draw, methods, _classes(scored))),
        ]
    return plots


def _classes(rows: Sequence[CellScores]) -> tuple[str, ...]:
    """The names of all classes; cells may differ in theirs."""
    return tuple(dict.fromkeys(name for row in rows for name in (row.scheme.names if row.scheme else ())))


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
    methods: dict[str, list[CellScores]], classes: Sequence[str], theme: ThemeName, kind: Literal["png", "svg"]
) -> bytes:
    """Lines over labelled pixels, with bands of a standard deviation; with classes a panel each."""
    figure, axes, scores = _panels(classes, _OVERALL[:1], theme, (6.4, 4.0) if not classes else (3.2, 2.5))
    every = [row for rows in methods.values() for row in rows]
    usual = usual_sampler(every)
    for axis, (title, get) in zip(axes, scores, strict=True):
        for number, of_method in enumerate(methods.values()):
            _lines(axis, by_sampler(of_method, usual), get, theme, number)
            if not classes:
                _published_points(axis, of_method, theme, number)
        if not classes:
            _name_samplers(axis, by_sampler(every, usual), get, theme)
        _count_pixels(axis, [row.spent_pixels for row in every])
        axis.set_title(title, loc="left", fontsize=10, color=THEMES[theme].text)
        axis.set_xlabel("labelled pixels, logarithmic", fontsize=9, color=THEMES[theme].text)
    low, high = min(axis.get_ylim()[0] for axis in axes), max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:  # one scale, so that classes compare
        axis.set_ylim(bottom=max(0.0, low), top=min(1.02, high))  # room for a marker at 1
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
    axis.tick_params(which="minor", length=0)


def _lines(axis: "Axes", groups: dict[str, list[CellScores]], get: Get, theme: ThemeName, number: int) -> None:
    """One method; a line for each way of giving labels, since a click tells more than a random pixel."""
    color, style, marker = _look(theme, number)
    for group in groups.values():
        pixels = np.array([row.spent_pixels for row in group])
        spreads = [get(row) for row in group]
        mean, std = np.array([s.mean for s in spreads]), np.nan_to_num([s.std for s in spreads])
        axis.plot(pixels, mean, color=color, linestyle=style, marker=marker, markersize=4.5, linewidth=1.7)
        if len(group) == 1 and std.any():
            axis.errorbar(pixels, mean, std, color=color, linewidth=1, capsize=2)
        elif std.any():
            axis.fill_between(pixels, mean - std, mean + std, color=color, alpha=0.14, linewidth=0)


def _name_samplers(axis: "Axes", groups: dict[str, list[CellScores]], get: Get, theme: ThemeName) -> None:
    """The names of unusual ways of giving labels, below the lowest of their scores; neighbours at other heights."""
    named = {name: group for name, group in groups.items() if name}
    for number, (name, group) in enumerate(named.items()):
        spreads = [get(row) for row in group]
        lowest = min(float(s.mean - np.nan_to_num(s.std)) for s in spreads)
        middle = float(np.exp(np.mean(np.log([max(row.spent_pixels, 1) for row in group]))))
        at, below, color = (middle, lowest), (0, -11 - 9 * (number % 2)), THEMES[theme].text
        axis.annotate(name, at, below, textcoords="offset points", ha="center", fontsize=7, color=color)
    if named:
        low, high = axis.get_ylim()
        axis.set_ylim(bottom=low - 0.08 * (high - low))  # room for the names


def usual_sampler(rows: Sequence[CellScores]) -> str | None:
    """The way in which most labels were drawn; pixels where two are as frequent."""
    named = [sampler for sampler in map(_sampler, rows) if sampler is not None]
    return max(named, key=lambda sampler: (named.count(sampler), sampler == "pixels"), default=None)


def by_sampler(rows: Sequence[CellScores], usual: str | None) -> dict[str, list[CellScores]]:
    """Cells by the way in which labels were drawn, few labels first; the usual one, unnamed, with all labels."""
    groups: dict[str, list[CellScores]] = {}
    for row in sorted(rows, key=lambda row: row.spent_pixels):
        sampler = _sampler(row)
        groups.setdefault("" if sampler in (None, usual) else str(sampler), []).append(row)
    return groups


def _sampler(row: CellScores) -> str | None:
    drawn = row.outcomes[0].job.config.data.simulate
    return None if drawn is None else drawn.sampler


def _published_points(axis: "Axes", rows: Sequence[CellScores], theme: ThemeName, number: int) -> None:
    known = [(row.spent_pixels, row.published.miou) for row in rows if row.published and row.published.miou]
    color, _, marker = _look(theme, number)
    for pixels, miou in known:
        axis.plot(pixels, miou, marker=marker, color=color, markerfacecolor="none", markersize=9, linestyle="")


def _bars(
    methods: dict[str, list[CellScores]], classes: Sequence[str], theme: ThemeName, kind: Literal["png", "svg"]
) -> bytes:
    """A bar a cell with its standard deviation, others' figures as rings; with classes a panel each."""
    rows = [row for of_method in methods.values() for row in of_method]
    height = 0.8 + 0.34 * len(rows)
    figure, axes, scores = _panels(classes, _OVERALL, theme, (4.2, height) if not classes else (3.2, height))
    for position, (axis, (title, get)) in enumerate(zip(axes, scores, strict=True)):
        _bar_panel(axis, [get(row) for row in rows], theme)
        if not classes:
            _published_rings(axis, rows, title.lower(), theme)
        names = [row.name if position % _columns(len(scores)) == 0 else "" for row in rows]
        axis.set_yticks(np.arange(len(rows)), names, parse_math=False)
        axis.set_title(title, loc="left", fontsize=10, color=THEMES[theme].text)
    return saved(figure, theme, kind=kind)


def _bar_panel(axis: "Axes", spreads: Sequence[Spread], theme: ThemeName) -> None:
    look, places = THEMES[theme], np.arange(len(spreads))
    mean, std = (np.nan_to_num([getattr(s, part) for s in spreads]) for part in ("mean", "std"))
    axis.barh(places, mean, xerr=std if std.any() else None, color=look.lines[0], height=0.66, ecolor=look.text)
    for place, spread in zip(places.tolist(), spreads, strict=True):
        text, inside = f"{spread.mean:.3f}" if spread.n else "no score", spread.mean > 0.2
        axis.text(0.01, place, text, va="center", fontsize=7.5, color="white" if inside else look.text)
    axis.set_ylim(len(spreads) - 0.4, -0.6)
    axis.set_xlim(0, 1)


def _published_rings(axis: "Axes", rows: Sequence[CellScores], score: str, theme: ThemeName) -> None:
    for place, row in enumerate(rows):
        value = getattr(row.published, score, None)
        if value is not None:
            axis.plot(value, place, marker="o", markerfacecolor="none", color=THEMES[theme].lines[1], markersize=8)


def _panels(
    classes: Sequence[str], overall: Sequence[tuple[str, Get]], theme: ThemeName, size_in: tuple[float, float]
) -> "tuple[Figure, list[Axes], list[tuple[str, Get]]]":
    """A figure with panels of ``size_in`` for scores over all classes, or one for each class, and what each shows."""
    of_classes: list[tuple[str, Get]] = [(name, partial(CellScores.class_iou, name=name)) for name in classes]
    scores = of_classes or list(overall)
    columns = _columns(len(scores))
    lines = -(-len(scores) // columns)
    figure, axes = chart(size_in[0] * columns, size_in[1] * lines, theme, len(scores), columns)
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
