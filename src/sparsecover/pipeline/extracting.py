"""``extract``: patches on disk out of one scene or of a folder of scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsecover.config import DataConfig
from sparsecover.datasets import Dataset, Entry, Listing, open_listing
from sparsecover.errors import DataError, listed
from sparsecover.patches import Extraction, ExtractOptions, extract_patches, match_sources
from sparsecover.progress import Reporter, Silent


@dataclass(frozen=True)
class SourceOptions:
    """How scenes and labels are read.

    Attributes:
        bands: numbers from 1; None takes all.
        unlabelled: codes of a label raster that mean 'not labelled'.
        field: attribute of vector labels that holds the class.
        classes: table of codes, names and colours; None: those found.
        resolution: pixel size in metres to work at; None: that of the scene.
    """

    bands: tuple[int, ...] | None = None
    unlabelled: tuple[int, ...] = ()
    field: str | None = None
    classes: Path | None = None
    resolution: float | None = None


def extract_scene(
    scenes: Sequence[Path],
    labels: Path,
    out: Path,
    options: ExtractOptions,
    source: SourceOptions,
    *,
    grid: Path | None = None,
    mask: Path | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Extraction:
    """Cut one scene (several files are one stack of bands) into patches; see ``extract_patches``.

    Args:
        grid: vector file whose polygons each give one patch; None: a regular grid.
        mask: raster that is not 0 where the scene counts as nodata.
    """
    entry = Entry(scenes[0].stem, tuple(scenes), labels, mask=mask)
    grids = {} if grid is None else {entry.name: grid}
    return _extract(Listing([entry]), source, DataConfig(), out, options, grids, overwrite, reporter)


def extract_folder(
    folder: Path,
    out: Path,
    options: ExtractOptions,
    source: SourceOptions,
    *,
    patterns: tuple[str, str, str | None, str | None] = ("image_*", "label_*", "grid_*", None),
    recursive: bool = False,
    skip_unpaired: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Extraction:
    """Cut all scenes of a folder into patches; those that cannot be read are reported at the end.

    Args:
        patterns: names of images, labels, grids and masks (``match_sources``).

    Raises:
        DataError: images or labels without a partner (all listed), unless ``skip_unpaired``.
    """
    found = match_sources(folder, *patterns, recursive=recursive)
    if found.problems and not skip_unpaired:
        raise DataError(listed(found.problems, "without a partner", "--skip-unpaired"))
    listing = Listing([Entry(s.name, (s.image,), s.labels, mask=s.mask) for s in found.sources], found.problems)
    grids = {s.name: s.grid for s in found.sources if s.grid is not None}
    tolerant = DataConfig(root=folder, skip_unpaired=skip_unpaired, on_read_error="skip")
    return _extract(listing, source, tolerant, out, options, grids, overwrite, reporter)


def _extract(
    listing: Listing,
    source: SourceOptions,
    config: DataConfig,
    out: Path,
    options: ExtractOptions,
    grids: dict[str, Path],
    overwrite: bool,
    reporter: Reporter | None,
) -> Extraction:
    reporter = reporter or Silent()
    reporter.stage("Reading scenes and labels")
    read = {name: getattr(source, name) for name in ("bands", "unlabelled", "field", "resolution")}
    dataset: Dataset = open_listing(listing, config.model_copy(update=read), source.classes)
    reporter.stage("Writing patches")
    return extract_patches(dataset, out, options, grids, overwrite=overwrite, progress=reporter.progress)
