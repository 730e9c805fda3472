"""Cloud and quality masks beside the images of any layout of folders."""

from dataclasses import replace

from sparsecover.config import DataConfig
from sparsecover.datasets.layouts.base import Listing
from sparsecover.datasets.layouts.folder import find_files
from sparsecover.datasets.layouts.pairing import pair_files


def with_masks(listing: Listing, config: DataConfig) -> Listing:
    """The listing with the file that ``data.mask`` finds for each image; images without one are problems."""
    if config.mask is None:
        return listing
    images = list(dict.fromkeys(entry.images[0] for entry in listing.entries))
    paired = pair_files(images, find_files(config.root, config.mask), config.pair_by)
    masks = {image: mask for _, image, mask in paired.pairs}
    return replace(
        listing,
        entries=[replace(e, mask=masks[e.images[0]]) for e in listing.entries if e.images[0] in masks],
        problems=[*listing.problems, *(f"{image} has no mask" for image in images if image not in masks)],
        notes=[*listing.notes, *paired.notes],
    )
