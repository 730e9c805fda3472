"""Pictures and charts from plain arrays: RGB arrays and encoded bytes, no files, no torch, no pyplot state."""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNLABELLED = 255  # as in ``classes``, beside which this module stands without importing it
Color = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]
"""uint8 [h, w, 3], red, green, blue."""
Mask = npt.NDArray[np.bool_]
SHEET_DPI = 130

_HATCH = ((168, 172, 178), (186, 190, 196))  # no data: striped, so that no plain grey of a class looks like it
_EDGES = ((20, 22, 26), (255, 255, 255))  # of labels for training and of held-out ones
_HYPERSPECTRAL = 40  # from here on the first bands are all blue
_VISIBLE = (0.21, 0.12, 0.05)  # red, green, blue within 0.4 to 2.5 micrometres, the usual range of such sensors


# --- pictures ---------------------------------------------------------------------------------------------------------


def natural_bands(count: int, names: Sequence[str] = ()) -> tuple[int, ...]:
    """Indices of the bands to show: red, green, blue by name, else the first three; one band where there are fewer.

    >>> natural_bands(4, ["blue", "green", "red", "nir"])
    (2, 1, 0)
    """
    lowered = [name.strip().lower() for name in names]
    if all(color in lowered for color in ("red", "green", "blue")):
        return tuple(lowered.index(color) for color in ("red", "green", "blue"))
    if count >= _HYPERSPECTRAL:
        return tuple(round(share * count) for share in _VISIBLE)
    return (0, 1, 2) if count >= 3 else (0,)


def scene_picture(values: npt.NDArray[Any], valid: Mask, names: Sequence[str] = ()) -> Picture:
    """A scene stretched for the eye: 1st to 99th percentile of the valid pixels; stripes where there is no data.

    Args:
        values: [C, h, w], any real type.
        valid: bool [h, w].
        names: of the C bands; red, green and blue are found by them.
    """
    shown = values[list(natural_bands(len(values), names))].astype(np.float32)
    if valid.any():
        low, high = np.percentile(shown[:, valid], [1, 99], axis=1)
        if values.dtype == np.uint8:  # made to be looked at: one stretch for all bands keeps the colours
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        scale = np.where(high > low, high - low, 1)
        shown = (shown - low[:, None, None]) / scale[:, None, None]
        shown[high <= low] = 0.5
        shown[:, ~valid] = 0
    picture = (np.clip(np.moveaxis(shown, 0, -1), 0, 1) * 255).round().astype(np.uint8)
    return _striped(picture.repeat(3, -1) if picture.shape[-1] == 1 else picture, valid)


def class_picture(indices: npt.NDArray[np.uint8], colors: Sequence[Color]) -> Picture:
    """Class indices [h, w] in their colours; stripes at 255."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = np.asarray(colors, np.uint8).reshape(-1, 3)
    picture: Picture = table[indices]
    return _striped(picture, indices != UNLABELLED)


def confidence_picture(confidence: npt.NDArray[np.uint8], lowest: float = 0, nodata: int = 255) -> Picture:
    """Confidence in percent, [h, w], from ``lowest`` (below 100; dark) to 100 (bright); stripes at ``nodata``."""
    ramp = np.asarray(confidence_ramp(256), np.uint8)
    level = np.clip((confidence.astype(np.float32) - lowest) / (100 - lowest), 0, 1)
    picture: Picture = ramp[(level * 255).round().astype(np.uint8)]
    return _striped(picture, confidence != nodata)


def confidence_ramp(steps: int) -> list[Color]:
    """The colours of ``confidence_picture`` from low to high: viridis, which the colour-blind can read, too."""
    from matplotlib import colormaps

    ramp = (colormaps["viridis"](np.linspace(0, 1, steps))[:, :3] * 255).round().astype(int)
    return [(int(r), int(g), int(b)) for r, g, b in ramp]


def label_picture(
    scene: Picture,
    sides: Sequence[npt.NDArray[np.uint8] | None],
    colors: Sequence[Color],
    spot: float = 0.006,
) -> Picture:
    """Labels in their colours over a faded scene, clicks enlarged until the eye finds them.

    Args:
        scene: uint8 [h, w, 3].
        sides: class indices uint8 [h, w], 255 unlabelled: labels for training (drawn with a dark edge), then held-out
            ones (white edge); None where there are none.
        colors: by class index.
        spot: radius to which clicks grow, as a share of the scene's longer side.
    """
    grey = scene.mean(-1, keepdims=True)
    picture: Picture = (0.6 * (0.3 * scene + 0.7 * grey) + 0.4 * 128).round().astype(np.uint8)
    for labels, edge in zip(sides, _EDGES, strict=False):
        if labels is None or (labels == UNLABELLED).all():
            continue
        shown, rim = _enlarged(labels, spot)
        labelled = shown != UNLABELLED
        picture[rim] = edge
        picture[labelled] = np.asarray(colors, np.uint8)[shown[labelled]]
    return picture


def _enlarged(labels: npt.NDArray[np.uint8], spot: float) -> tuple[npt.NDArray[np.uint8], Mask]:
    """Labels with small spots grown, and the rim around all of them.

    Spots grow to at most a tenth of the picture, so that many scattered pixels stay what they are: scattered.
    """
    from scipy import ndimage

    labelled = labels != UNLABELLED
    parts, count = ndimage.label(labelled, np.ones((3, 3)))
    small = np.bincount(parts.ravel(), minlength=count + 1) < 60
    small[0] = False
    spots = int(small.sum())
    radius = min(spot * max(labels.shape), (0.1 * labels.size / max(1, spots) / np.pi) ** 0.5)
    out = labels.copy()
    if spots:
        distance, nearest = ndimage.distance_transform_edt(~small[parts], return_indices=True)
        grown = (distance <= radius) & ~labelled
        out[grown] = labels[tuple(nearest[:, grown])]
    rim = ndimage.distance_transform_edt(out == UNLABELLED)
    return out, (rim > 0) & (rim <= max(1.0, min(2.0, radius)))


def thinned_labels(labels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Labels [H, W] on fewer pixels without losing a click: a pixel is labelled where any pixel under it is."""
    rows, columns = labels.shape
    out = np.full((height, width), UNLABELLED, np.uint8)
    target = np.arange(columns) * width // columns
    for row in np.flatnonzero((labels != UNLABELLED).any(1)):
        hit = np.flatnonzero(labels[row] != UNLABELLED)
        out[row * height // rows, target[hit]] = labels[row, hit]
    return out


def _striped(picture: Picture, valid: Mask) -> Picture:
    """The picture with stripes where there is no data."""
    rows, columns = np.nonzero(~valid)
    picture[rows, columns] = np.asarray(_HATCH, np.uint8)[(rows + columns) // 6 % 2]
    return picture


def encode(picture: Picture, kind: Literal["png", "jpeg"]) -> bytes:
    """A picture as the bytes of a PNG (classes: sharp edges) or JPEG (photographs) file."""
    from matplotlib.image import imsave

    options = {"quality": 88, "subsampling": 0} if kind == "jpeg" else {"optimize": True}
    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(picture), format=kind, pil_kwargs=options)
    return file.getvalue()


def sheet(
    rows: Sequence[tuple[str, Sequence[Picture]]],
    titles: Sequence[str],
    legend: Mapping[str, Color | None],
    side_in: float,
) -> bytes:
    """Pictures in rows and columns as a PNG.

    Args:
        rows: name at the left, of one or more lines, and pictures from left to right, of any size.
        titles: of the columns.
        legend: names and their colours, below; None for the stripes of pixels without a class.
        side_in: width of a picture, and its largest height, in inches of ``SHEET_DPI`` dots.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    ratios = [max(picture.shape[0] / picture.shape[1] for picture in pictures) for _, pictures in rows]
    heights = [side_in * min(1.0, max(0.2, ratio)) for ratio in ratios]
    figure = Figure(figsize=(len(titles) * side_in, sum(heights) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for line, (name, pictures) in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            enlarged = max(picture.shape) <= SHEET_DPI * side_in
            axis.imshow(picture, interpolation="nearest" if enlarged else "antialiased")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel("\n".join(map(_short, name.splitlines())), fontsize=7, parse_math=False)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    swatches = [
        Patch(**_swatch(color), edgecolor="#8a909a", linewidth=0.5, label=_short(n)) for n, color in legend.items()
    ]
    columns = int(len(titles) * side_in / (0.45 + 0.06 * max(map(len, map(_short, legend)), default=0)))
    figure.legend(handles=swatches, loc="outside lower center", ncols=max(1, columns), fontsize=7, frameon=False)
    return saved(figure, "paper", dpi=SHEET_DPI)


def _swatch(color: Color | None) -> dict[str, Any]:
    """How a patch of the legend is filled; None as pixels without a class are, with stripes."""
    r, g, b = color or _HATCH[0]
    return {"facecolor": (r / 255, g / 255, b / 255), "hatch": None if color else "////"}


# --- charts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a chart: of letters, grid and paper, and of lines in turn."""

    text: str
    grid: str
    paper: str
    lines: tuple[str, ...]


THEMES = {
    "paper": Theme("#30343b", "#dfe3e8", "#ffffff", ("#2563a8", "#c2581a", "#2c8559", "#8452a8")),
    "light": Theme("#30343b", "#dfe3e8", "none", ("#2563a8", "#c2581a", "#2c8559", "#8452a8")),
    "dark": Theme("#d7dbe2", "#3a404a", "none", ("#6fb0f2", "#f0955a", "#63c795", "#c39be6")),
}
_PANEL = (4.2, 2.9)  # inches: three fit beside each other on a desktop, one on a phone, with letters of one size
ThemeName = Literal["paper", "light", "dark"]
Panel = Literal["loss", "score"]
History = Sequence[Mapping[str, Any]]


def curves(history: History, panels: Sequence[Panel] = ("loss", "score"), theme: ThemeName = "paper") -> bytes:
    """Training curves as a PNG.

    Args:
        history: one mapping an epoch (or, where they have none, a step); see ``panel_columns``. Values that are no
            numbers are left out.
        panels: which, from left to right.
        theme: ``paper`` is opaque; ``light`` and ``dark`` are transparent for pages of that kind.
    """
    figure, axes = chart(_PANEL[0] * len(panels), _PANEL[1], theme, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        _draw_lines(axis, history, panel_columns(history, panel), theme)
        axis.set_title(panel.capitalize(), loc="left", fontsize=10, color=THEMES[theme].text)
        axis.set_xlabel(counter(history), fontsize=9, color=THEMES[theme].text)
        if panel == "score":
            axis.set_ylim(0, 1)
    return saved(figure, theme)


def panel_columns(history: History, panel: Panel) -> list[str]:
    """Columns of a history that a panel draws: losses, or mIoU and accuracy, as far as they hold any number.

    Columns of single classes (``iou_NAME``) are not among them, whatever the class is called.
    """
    words = ("loss",) if panel == "loss" else ("miou", "accuracy")
    columns = [c for c in (history[0] if history else ()) if c.endswith(words) and not c.startswith("iou_")]
    return [c for c in columns if any(np.isfinite(_number(row.get(c))) for row in history)]


def counter(history: History) -> str:
    """What the rows of a history are counted by."""
    return "step" if history and "epoch" not in history[0] and "step" in history[0] else "epoch"


def _draw_lines(axis: "Axes", history: History, columns: Sequence[str], theme: ThemeName) -> None:
    from matplotlib.ticker import MaxNLocator

    look, handles, unit = THEMES[theme], [], counter(history)
    for color, column in zip(look.lines, columns, strict=False):
        points = [(_number(row.get(unit, i + 1)), _number(row.get(column))) for i, row in enumerate(history)]
        places, values = np.asarray([point for point in points if np.isfinite(point).all()]).T
        marker = "o" if len(places) < 3 else None  # a line of one point would not be seen
        handles += axis.plot(places, values, color=color, linewidth=1.8, marker=marker, label=_words(column))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no half epoch
    if handles:
        falls = columns[0].endswith("loss")  # elsewhere lines rise; looking for the best corner can take long and warn
        axis.legend(
            handles=handles,
            loc="upper right" if falls else "lower right",
            frameon=False,
            fontsize=8,
            labelcolor=look.text,
        )
    else:
        axis.text(0.5, 0.5, "nothing recorded", ha="center", color=look.text, transform=axis.transAxes)


def rate_curve(
    rates: npt.NDArray[np.float64], losses: npt.NDArray[np.float64], marked: float, theme: ThemeName = "paper"
) -> bytes:
    """The loss over rising learning rates (1-d arrays of one length) as a PNG, one rate marked."""
    figure, (axis,) = chart(6.0, 3.2, theme)
    look = THEMES[theme]
    axis.plot(rates, losses, color=look.lines[0], linewidth=1.8)
    axis.axvline(marked, color=look.lines[1], linewidth=1.4, linestyle="--")
    axis.set_xscale("log")
    axis.set_xlabel("learning rate", fontsize=9, color=look.text)
    axis.set_title(f"Smoothed loss; falls fastest at {marked:.1e}", loc="left", fontsize=10, color=look.text)
    return saved(figure, theme)


def per_class_iou(
    names: Sequence[str], colors: Sequence[Color], scores: Iterable[float], theme: ThemeName = "paper"
) -> bytes:
    """Bars of IoU by class as a PNG; NaN is written as no score."""
    figure, (axis,) = chart(6.0, 0.9 + 0.27 * len(names), theme)
    values, text = np.asarray(list(scores), float), THEMES[theme].text
    places = np.arange(len(names))
    axis.barh(places, np.nan_to_num(values), color=np.asarray(colors) / 255, height=0.72)
    for place, value in zip(places, values, strict=True):
        label = f"{value:.2f}" if np.isfinite(value) else "no score"
        axis.text(float(np.nan_to_num(value)) + 0.01, float(place), label, va="center", fontsize=8, color=text)
    axis.set_yticks(places, [_short(name) for name in names], parse_math=False)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(0, 1.08)
    axis.set_title("IoU by class", loc="left", fontsize=10, color=text)
    return saved(figure, theme)


def reliability(bins: Sequence[tuple[float, float, int]], theme: ThemeName = "paper") -> bytes:
    """Accuracy over stated confidence as a PNG; dots as large as their share of pixels, the diagonal is perfect.

    ``bins`` are (mean confidence, accuracy, pixels) of each bin that has pixels.
    """
    figure, (axis,) = chart(*_PANEL, theme)
    look = THEMES[theme]
    axis.plot([0, 1], [0, 1], color=look.grid, linewidth=1.5, linestyle="--")
    if bins:
        stated, right, pixels = (np.asarray(column, float) for column in zip(*bins, strict=True))
        axis.plot(stated, right, color=look.lines[0], linewidth=1.2)
        axis.scatter(stated, right, s=12 + 160 * pixels / pixels.sum(), color=look.lines[0], alpha=0.85)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("confidence stated", fontsize=9, color=look.text)
    axis.set_title("Share of pixels that are right", loc="left", fontsize=10, color=look.text)
    return saved(figure, theme)


def chart(
    width: float, height: float, theme: ThemeName, panels: int = 1, columns: int | None = None
) -> "tuple[Figure, list[Axes]]":
    """An empty figure of ``width`` x ``height`` inches in the look of all charts here; ``columns`` panels a row."""
    from matplotlib.figure import Figure

    look = THEMES[theme]
    figure = Figure(figsize=(width, height), layout="constrained")
    columns = columns or panels
    axes = [figure.add_subplot(-(-panels // columns), columns, i + 1) for i in range(panels)]
    for axis in axes:
        axis.set_facecolor("none")
        axis.grid(color=look.grid, linewidth=0.7)
        axis.set_axisbelow(True)
        axis.tick_params(colors=look.text, labelsize=8, length=0)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(look.grid)
    return figure, axes


def saved(figure: "Figure", theme: ThemeName, dpi: int = 170, kind: Literal["png", "svg"] = "png") -> bytes:
    """A figure as the bytes of a file; the same figure gives the same bytes."""
    from matplotlib import rc_context

    file = io.BytesIO()
    undated: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {}
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "sparsecover"}):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # class names in any script; boxes are drawn instead
        figure.savefig(file, format=kind, dpi=dpi, facecolor=THEMES[theme].paper, **undated)
    return file.getvalue()


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _words(column: str) -> str:
    return column.replace("_", " ").replace("miou", "mIoU").replace("val ", "validation ")


def _short(name: str, limit: int = 28) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
