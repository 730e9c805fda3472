"""A configuration's data section becomes pairs of scenes and labels with one scheme of classes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from sparsecover.classes import UNLABELLED, ClassScheme
from sparsecover.config import DataConfig
from sparsecover.datasets.layouts import LAYOUTS, Listing
from sparsecover.datasets.layouts.base import Entry
from sparsecover.datasets.layouts.masks import with_masks
from sparsecover.datasets.pair import Dataset, Labels, Pair
from sparsecover.errors import (
    ClassError,
    DataError,
    LabelsElsewhere,
    SparseCoverError,
    UnknownCodes,
    counted,
    listed,
    nearest,
    summary,
)
from sparsecover.labels import (
    CodeTable,
    LabelFile,
    LabelRaster,
    MaskFile,
    ValidPixels,
    burn_label_set,
    is_vector,
    scheme_of,
    unknown_in_files,
    valid_mask,
    vector_values,
)
from sparsecover.raster import Scene, drop_empty_bands, open_scene

Classes = Sequence[str] | Mapping[int, str] | Path | None

IN_MEMORY_PX = 2**28
"""The labels of sets with more pixels stay in their files."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Opened:
    """A pair whose classes are not known yet; ``mask`` is None for vector labels."""

    entry: Entry
    scene: Scene
    mask: MaskFile | None


def open_dataset(config: DataConfig, classes: Classes = None) -> Dataset:
    """Find, pair and open the scenes and labels of a dataset.

    Args:
        config: the data section of a configuration; ``simulate`` is not applied here, since it concerns training labels
            only (``simulate_pairs``).
        classes: names, ``{code: name}`` or a class table; default: those that the layout publishes, else the codes or
            values found in all labels.

    Returns:
        Pairs in natural order, resized if asked for, without labels on invalid pixels. Labels are in memory (those
        dropped are counted in the notes) or, for sets of more than ``IN_MEMORY_PX`` pixels, read by window from their
        files.

    Raises:
        DataError: files without a partner, unreadable files, unknown codes, other numbers of bands: all listed, unless
            the configuration says to skip them; nothing found, or no labelled pixel in any file.
    """
    return open_listing(with_masks(LAYOUTS[config.dataset](config), config), config, classes)


def open_listing(listing: Listing, config: DataConfig, classes: Classes = None) -> Dataset:
    """As ``open_dataset``, for files that are listed already."""
    notes = list(listing.notes)
    left_out: list[str] = []
    if listing.problems:
        setting = "data.skip_unpaired=true"
        _refuse(listing.problems, "file", "without a partner", config.skip_unpaired, setting, left_out)
    skip = config.on_read_error == "skip"
    opened = _each(listing.entries, lambda entry: _open(entry, config, listing), skip, left_out)
    if not opened:
        raise DataError(f"There is no pair of image and labels in {config.root}.\n" + summary([*notes, *left_out]))
    if listing.grey_as_rgb:
        opened = [_as_rgb(item, notes) for item in opened]
    opened = _same_bands(_same_kind(opened), skip, left_out)
    if config.bands is None:
        scenes, dropped = drop_empty_bands([item.scene for item in opened])
        opened = [replace(item, scene=scene) for item, scene in zip(opened, scenes, strict=True)]
        notes += dropped
    scheme, unlabelled = _classes(opened, config, classes, listing)
    in_memory = sum(o.scene.grid.window.size for o in opened) <= IN_MEMORY_PX

    def finish(item: _Opened) -> Pair:
        labels = _labels(item, config, scheme, unlabelled, notes)
        return _finish(item, labels, config, in_memory, notes)

    files = len({item.entry.labels for item in opened})
    pairs = _each(opened, finish, skip, left_out, files)
    notes += left_out
    if in_memory and not any(pair.labels.counts(len(scheme)).any() for pair in pairs):
        raise DataError("No labelled pixel in any of the label files.\n" + summary(notes))
    return Dataset(pairs, scheme, notes, left_out)


def _each(
    items: Sequence[Item], action: Callable[[Item], Result], skip: bool, left_out: list[str], files: int = 0
) -> list[Result]:
    """The results of an action; failures of single items are raised together at the end, or noted.

    Args:
        files: label files of the set.
    """
    results: list[Result] = []
    problems: list[SparseCoverError] = []
    for item in items:
        try:
            results.append(action(item))
        except SparseCoverError as error:
            if len(items) == 1 and not skip:
                raise
            problems.append(error)
    if problems:
        _refuse_files(problems, skip, left_out, files)
    return results


def _refuse_files(problems: Sequence[SparseCoverError], skip: bool, left_out: list[str], files: int) -> None:
    """Where nothing is wrong but codes without a class, these are told once: it is the classes that must change."""
    unknown = [problem for problem in problems if isinstance(problem, UnknownCodes)]
    if len(unknown) < len(problems):
        texts = [str(problem) for problem in problems]
        _refuse(texts, "file", "cannot be used", skip, "data.on_read_error=skip", left_out)
        return
    told = unknown_in_files(unknown, files)
    if not skip:
        raise DataError(told)
    paths = list(dict.fromkeys(problem.path for problem in unknown))
    left_out.append(f"Left out, {counted(paths, 'file')} with codes that are no class:\n{summary(paths)}\n{told}")


def _refuse(problems: Sequence[str], noun: str, what: str, skip: bool, setting: str, left_out: list[str]) -> None:
    if not skip:
        raise DataError(listed(problems, what, f"--set {setting}", noun))
    left_out.append(f"Left out, {counted(problems, noun)} {what}:\n{summary(problems)}")


def _open(entry: Entry, config: DataConfig, listing: Listing) -> _Opened:
    scene = open_scene(entry.images, bands=config.bands, name=entry.name)
    if entry.mask is not None:
        scene = scene.masked(entry.mask)
    if is_vector(entry.labels):
        return _Opened(entry, scene, None)
    return _Opened(entry, scene, MaskFile.open(entry.labels, scene.grid, by_color=listing.by_color, snap=listing.snap))


def _as_rgb(item: _Opened, notes: list[str]) -> _Opened:
    """A grey image as three equal bands."""
    if len(item.scene.bands) != 1:
        return item
    notes.append(f"{item.entry.name} is grey and was read as RGB.")
    return replace(item, scene=replace(item.scene, source=item.scene.source.select([0, 0, 0])))


def _same_kind(opened: Sequence[_Opened]) -> list[_Opened]:
    """Masks with a palette, or wholly grey, are read by colour where others of the set are colour masks."""
    if not any(o.mask is not None and o.mask.by_color for o in opened):
        return list(opened)
    return [o if o.mask is None else replace(o, mask=o.mask.in_color()) for o in opened]


def _same_bands(opened: Sequence[_Opened], skip: bool, left_out: list[str]) -> list[_Opened]:
    """Only scenes with the number of bands that most have; grey or CMYK files among RGB ones are reported."""
    bands = [len(o.scene.bands) for o in opened]
    usual = Counter(bands).most_common(1)[0][0]
    others = [o for o, n in zip(opened, bands, strict=True) if n != usual]
    odd = [f"{o.entry.name} has {counted(o.scene.bands, 'band')}, most have {usual}" for o in others]
    if odd:
        _refuse(odd, "scene", "with other bands", skip, "data.on_read_error=skip", left_out)
    return [o for o, n in zip(opened, bands, strict=True) if n == usual]


def _classes(
    opened: Sequence[_Opened], config: DataConfig, classes: Classes, listing: Listing
) -> tuple[ClassScheme, frozenset[int]]:
    """The scheme, and the codes (or colours) that are unlabelled."""
    if classes is not None and listing.by_color and listing.scheme is not None and not isinstance(classes, Path):
        chosen, others = _in_colors(ClassScheme.from_config(classes), listing.scheme)
        return chosen, frozenset((*listing.unlabelled, *config.unlabelled, *others))
    scheme = listing.scheme or _found(opened, config) if classes is None else ClassScheme.from_config(classes)
    # A code, or colour, that the layout takes for unlabelled is a class where the user names it.
    named = [red << 16 | green << 8 | blue for red, green, blue in scheme.colors] if listing.by_color else scheme.codes
    published = [code for code in listing.unlabelled if code not in named]
    return scheme, frozenset((*published, *config.unlabelled))


def _in_colors(given: ClassScheme, published: ClassScheme) -> tuple[ClassScheme, list[int]]:
    """The given classes in the colours that a dataset publishes for these names, and the colours of all others."""
    for name in given.names:
        if name not in published.names:
            raise ClassError(f"This dataset has no class {name!r}. {nearest(name, published.names)}")
    colored = (replace(c, color=published.colors[published.index(c.name)]) for c in given.classes)
    others = [c.color for c in published.classes if c.name not in given.names]
    return ClassScheme(tuple(colored)), [red << 16 | green << 8 | blue for red, green, blue in others]


def _found(opened: Sequence[_Opened], config: DataConfig) -> ClassScheme:
    """The classes of all labels together."""
    table = CodeTable()
    values: set[int | str] = set()
    read: set[tuple[Path, str | None]] = set()
    for item in opened:
        if item.mask is not None:
            table.add(item.mask.scan(config.unlabelled))
        elif (vector := (item.entry.labels, item.entry.field or config.field)) not in read:
            read.add(vector)
            values.update(vector_values(*vector))
    values -= set(config.unlabelled)
    if not values and not table.pixels:
        raise DataError("No labelled pixel in any of the label files: all are nodata, -1, 255 or listed as unlabelled.")
    if not values:
        return table.scheme()
    if any(isinstance(value, str) for value in values) and table.pixels:
        raise DataError("Some labels are class names, others are rasters of codes; set classes to {code: name}.")
    return scheme_of([*values, *table.pixels], None, "The labels")


def _labels(
    item: _Opened, config: DataConfig, scheme: ClassScheme, unlabelled: frozenset[int], notes: list[str]
) -> Labels:
    if item.mask is not None:
        notes.extend(item.mask.notes)
        return LabelFile(item.mask, scheme, unlabelled, item.entry.windows)
    field = item.entry.field or config.field
    try:
        found = burn_label_set(item.entry.labels, item.scene.grid, field, scheme=scheme, unlabelled=unlabelled)
    except LabelsElsewhere:
        notes.append(f"{item.entry.name} has no labels.")
        empty = np.full((item.scene.grid.height, item.scene.grid.width), UNLABELLED, np.uint8)
        return LabelRaster(empty, item.scene.grid, scheme=scheme)
    notes.extend(f"{item.entry.name}: {note}" for note in found.notes)
    return found.raster


def _finish(item: _Opened, labels: Labels, config: DataConfig, in_memory: bool, notes: list[str]) -> Pair:
    """Resize, and drop labels on invalid pixels: now, or where they stay in their file whenever they are read."""
    scene, windows = item.scene, item.entry.windows
    target = _resized(scene, config)
    if isinstance(labels, LabelFile) and (in_memory or target is not scene):
        labels = labels.load()
    if target is not scene:
        scene, windows = target, None
        labels = labels.resized(scene.grid)
    if isinstance(labels, LabelFile):
        labels = replace(labels, valid=ValidPixels(scene))
    else:
        labels = _on_valid(scene, labels, notes)
    return Pair(scene, labels, item.entry.name, item.entry.split, windows)


def _resized(scene: Scene, config: DataConfig) -> Scene:
    """The scene at the size that the configuration asks for."""
    if config.resolution is not None:
        return scene.at_resolution(config.resolution)
    return scene if config.resize is None else scene.scaled(config.resize)


def _on_valid(scene: Scene, labels: LabelRaster, notes: list[str]) -> LabelRaster:
    valid = valid_mask(scene)
    lost = int(np.count_nonzero((labels.values != UNLABELLED) & ~valid))
    if lost:
        notes.append(f"{scene.name}: {lost} labelled pixels lie on pixels without data and were dropped.")
    return labels.keep(valid) if lost else labels
