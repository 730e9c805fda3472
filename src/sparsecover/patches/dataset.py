"""Images and masks in folders as a plain torch Dataset, for loops and loaders of one's own."""

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sparsecover.config import DataConfig, SimulateConfig
from sparsecover.datasets import open_dataset, simulate_pairs
from sparsecover.errors import ConfigError
from sparsecover.normalize import Normalizer, fit_normalizer
from sparsecover.patches.plan import Patch, plan_patches
from sparsecover.patches.reader import PatchReader

_TILE_PX = 256
_PREVIEW_PX = 512

PathLike = str | os.PathLike[str]


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Samples (image float32 [C, h, w], labels int64 [h, w]); labels are 0..K-1, or 255 where unlabelled.

    Args:
        images: a folder or a pattern such as ``"data/images/*.tif"``.
        labels: the same for masks, paired with the images by name.
        labelled_fraction: share of the labelled pixels that is kept, in (0, 1]; the same ones in every epoch, process
            and run. None keeps all.
        seed: chooses them.
        size_px: side of the samples; None takes whole images where all have one size, else tiles of 256 px. Tiles
            without a label are left out, and a pixel under two tiles is labelled in one of them only.
        classes: names in the order of their codes from 0, or ``{code: name}``; default: all codes found in the masks.
        unlabelled: codes of unlabelled pixels, beside the file's nodata, -1 and 255.
        normalize: ``dtype`` (integers to 0..1; the same for every set of files), another kind as in the configuration,
            fitted here, or the ``normalizer`` of another dataset, which is what validation needs for fitted kinds.

    Attributes:
        class_names: by index.
        in_channels: bands C.
        normalizer: applied to the images.
        notes: what was left out or changed on opening.

    Raises:
        ConfigError: a share of labels that cannot be meant.
        DataError: missing folders, files without a partner, other numbers of bands.

    Example:
        >>> train = PatchDataset(images="images", labels="masks", labelled_fraction=0.1, seed=42)  # doctest: +SKIP
        >>> image, target = train[0]                                                              # doctest: +SKIP
    """

    def __init__(
        self,
        images: PathLike,
        labels: PathLike,
        *,
        labelled_fraction: float | None = None,
        seed: int = 0,
        size_px: int | None = None,
        classes: Sequence[str] | Mapping[int, str] | None = None,
        unlabelled: Sequence[int] = (),
        normalize: str | Normalizer = "dtype",
    ) -> None:
        if labelled_fraction is not None and not 0 < labelled_fraction <= 1:
            raise ConfigError(
                f"labelled_fraction is {labelled_fraction}; expected a share above 0 and at most 1 (0.1 keeps a tenth "
                "of the labelled pixels), or None for all."
            )
        dataset = open_dataset(_data_config(images, labels, unlabelled), classes)
        pairs = dataset.pairs
        if labelled_fraction is not None:
            pairs = simulate_pairs(pairs, SimulateConfig(sampler="pixels", fraction=labelled_fraction, seed=seed))
        scenes = [pair.scene for pair in pairs]
        if isinstance(normalize, str):
            samples = (scene.preview(_PREVIEW_PX) for scene in scenes)
            normalize = fit_normalizer(normalize, samples, scenes[0].dtype, len(scenes[0].bands))
        self.class_names = dataset.scheme.names
        self.in_channels = len(scenes[0].bands)
        self.normalizer = normalize
        self.notes = tuple(dataset.notes)
        self._reader = PatchReader([(pair.scene, pair.labels) for pair in pairs], normalize)
        self._windows = self._choose_windows(size_px)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self._reader(self._windows[index])
        return torch.from_numpy(sample.image), torch.from_numpy(sample.labels.astype(np.int64))

    def _choose_windows(self, size_px: int | None) -> list[Patch]:
        grids = [scene.grid for scene, _ in self._reader.pairs]
        if size_px is None and len({(grid.height, grid.width) for grid in grids}) == 1:
            return [Patch(number, grid.window) for number, grid in enumerate(grids)]
        rasters = [labels for _, labels in self._reader.pairs]
        return plan_patches(rasters, num_classes=len(self.class_names), size_px=size_px or _TILE_PX).tiling()


def _data_config(images: PathLike, labels: PathLike, unlabelled: Sequence[int]) -> DataConfig:
    """The data section for two folders or patterns anywhere on the disk."""
    patterns = [_pattern(path) for path in (images, labels)]
    folders = [pattern.parent for pattern in patterns]
    fixed = [next(f for f in (folder, *folder.parents) if not glob.has_magic(str(f))) for folder in folders]
    root = Path(os.path.commonpath(fixed))
    relative = [str(pattern.relative_to(root)) for pattern in patterns]
    return DataConfig(dataset="folder", root=root, images=relative[0], labels=relative[1], unlabelled=tuple(unlabelled))


def _pattern(path: PathLike) -> Path:
    full = Path(path).resolve()
    return full / "*" if full.is_dir() or not glob.has_magic(str(full)) else full
