"""Images and labels anywhere below a folder, found by patterns and paired by name."""

from pathlib import Path

from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import IMAGE_ENDINGS, LABEL_ENDINGS, Entry, Listing, existing, files_in
from sparsecover.datasets.layouts.pairing import pair_files
from sparsecover.errors import DataError

LABEL_FOLDERS = ("labels", "masks", "annotations", "label", "mask", "gt")


def list_folder(config: DataConfig) -> Listing:
    """``data.images`` and ``data.labels`` are patterns below ``data.root``; default: images/ and labels/ or masks/.

    Several patterns, separated by ``;``, make stacks: ``rgb/*.png;ir/*.png``. Labels may also be one georeferenced
    file for all scenes.
    """
    root = existing(config.root, "The dataset 'folder'")
    stacks = [find_files(root, part) for part in (config.images or _default_images(root)).split(";")]
    labels = find_files(root, config.labels or _default_labels(root), LABEL_ENDINGS)
    problems: list[str] = []
    if len(labels) == 1 and len(stacks[0]) > 1 and labels[0].stem not in {image.stem for image in stacks[0]}:
        joined = [(image.stem, image, labels[0]) for image in stacks[0]]
        notes: list[str] = []
    else:
        joined, problems, notes = pair_files(stacks[0], labels, config.pair_by)
    images: dict[str, tuple[Path, ...]] = {name: (image,) for name, image, _ in joined}
    for more in stacks[1:]:
        partners = pair_files(stacks[0], more, config.pair_by)
        other = {first: second for _, first, second in partners.pairs}
        problems += [
            f"{image[0]} has no second file of its stack" for image in images.values() if image[0] not in other
        ]
        images = {name: (*image, other[image[0]]) for name, image in images.items() if image[0] in other}
    entries = [Entry(name, images[name], label) for name, _, label in joined if name in images]
    return Listing(entries, problems, notes)


def find_files(root: Path, pattern: str, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """Files that match a pattern, or lie in a folder, below ``root``; with known endings where the pattern has none."""
    pattern = pattern.strip()
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise DataError(f"The pattern {pattern!r} must be relative to data.root, for example 'images/*.tif'.")
    if (root / pattern).is_dir():
        pattern = f"{pattern}/*"
    anything = Path(pattern).suffix in ("", ".*")
    found = sorted(p for p in root.glob(pattern) if p.is_file() and not p.name.startswith("."))
    found = [p for p in found if not anything or p.suffix.lower() in endings]
    if not found:
        raise DataError(f"No file matches {pattern!r} below {root.absolute()}. Check data.root and the pattern.")
    return found


def _default_images(root: Path) -> str:
    if not (root / "images").is_dir():
        raise DataError(f"{root} has no folder images; set data.images to a pattern such as 'scenes/*.tif'.")
    return "images/*"


def _default_labels(root: Path) -> str:
    found = [name for name in LABEL_FOLDERS if (root / name).is_dir() and files_in(root / name, LABEL_ENDINGS)]
    if not found:
        raise DataError(
            f"{root} has none of the folders {', '.join(LABEL_FOLDERS)}; "
            "set data.labels to a pattern such as 'masks/*.png'."
        )
    return f"{found[0]}/*"
