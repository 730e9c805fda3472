"""A prediction laid out: what is read, by which networks, in which windows. Any process can do a part of it."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import torch

from sparsecover.checkpoint import Checkpoint
from sparsecover.grid import Grid, Window, tiles
from sparsecover.inference.area import Area
from sparsecover.inference.lanes import Lanes, lane_count
from sparsecover.inference.layout import Layout, smallest_side
from sparsecover.inference.matching import at_training_resolution, check_scale, match_bands
from sparsecover.inference.networks import Member, Networks, load_networks
from sparsecover.inference.predictor import Predictor
from sparsecover.inference.reading import ForgivingReader, read_mirrored
from sparsecover.inference.regridding import on_own_grid
from sparsecover.inference.runtimes import pick_device, quicker_runtime
from sparsecover.inference.settings import Settings
from sparsecover.inference.streaming import Blended, blend_region
from sparsecover.labels import split_layer
from sparsecover.raster import Scene, read_in_order

_PLAIN_PATCH_PX = 512
_HALO_PATCH_PX = 1024  # windows whose margins are thrown away
_SCATTERED_PX = 128  # of such windows beyond their margins, where only scattered places are wanted
_BATCH_PX = {"cpu": 2**18, "cuda": 2**21, "mps": 2**20}  # CPUs gain nothing from more than one window of 512 px
_LARGEST_BATCH = 64
_SUMS_SHARE = 0.5  # of the memory allowed; the rest is GDAL's blocks, windows read ahead and files being written
_PANEL_STEP = 512  # panels end where blocks of the map do
_WIDEST_PANEL = 24 * 512  # memory stays the same for wider scenes, at the price of one column of windows in thirty


@dataclass(frozen=True, eq=False)
class Job:
    """One scene's prediction, picklable.

    Attributes:
        scene: with its bands in the network's order, on its own grid, which is the map's.
        working: the same at the training's resolution; ``scene`` itself where that is near enough.
        networks: their probabilities are averaged.
        num_classes: K.
        layout: the windows over ``working``.
        settings: with every choice made.
        notes: what the user should know.
    """

    scene: Scene
    working: Scene
    networks: tuple[Member, ...]
    num_classes: int
    layout: Layout
    settings: Settings
    notes: tuple[str, ...]

    @classmethod
    def plan(cls, scene: Scene, networks: Networks, settings: Settings) -> Self:
        """Load the networks, match the scene to them and lay out the windows.

        Raises:
            SparseCoverError: networks that do not belong together, a scene that does not fit them.
        """
        members = load_networks(networks)
        first = members[0].network
        notes: list[str] = []
        working = scene
        if isinstance(first, Checkpoint):
            scene, notes = match_bands(scene, first.bands)
            notes += check_scale(scene, first.normalizer)
            working = scene
            if not settings.native:
                working, resized = at_training_resolution(scene, first)
                notes += resized
        trained_px = first.patch_size_px if isinstance(first, Checkpoint) else _PLAIN_PATCH_PX
        halo = _halo_px(members)
        if halo is None:
            layout, overlap = _blended(members, working.grid, settings, trained_px)
        else:
            layout, overlap = _exact(working.grid, settings, trained_px, halo), settings.overlap
        device = pick_device(settings.device)
        runtime = settings.runtime if halo is None or settings.runtime != "auto" else "torch"
        if runtime == "auto":
            runtime = quicker_runtime(members[0].module, device, len(scene.bands), layout.size, layout.count)
        chosen = dataclasses.replace(
            settings,
            patch_size=max(layout.rows.size, layout.cols.size),
            overlap=overlap,
            device=str(device),
            runtime=runtime,
            batch_size=settings.batch_size or _batch_size(device, layout),
            area=settings.area.absolute() if isinstance(settings.area, Path) else settings.area,  # workers ask for it
        )
        return cls(scene, working, members, members[0].num_classes(len(scene.bands)), layout, chosen, tuple(notes))

    def panels(self) -> list[Window]:
        """Parts of the scene of full height, so narrow that the sums of one fit into their share of ``ram_mb``.

        The windows on the line between two panels are computed for both.
        """
        grid, rows = self.scene.grid, self.layout.rows
        # What two rows of windows share; and the outputs of a row, as blocks, joined, and compressed.
        column_bytes = 4 * (self.num_classes + 1) * rows.most_shared + 3 * self.output_bytes * rows.size
        fitting = int(self.settings.ram_mb * 2**20 * _SUMS_SHARE) // column_bytes
        widest = max(_PANEL_STEP, min(fitting, _WIDEST_PANEL))
        even = math.ceil(grid.width / math.ceil(grid.width / widest))
        return list(tiles(grid.window, grid.height, math.ceil(even / _PANEL_STEP) * _PANEL_STEP))

    @property
    def _area_file(self) -> tuple[str, ...]:
        return (str(split_layer(self.settings.area)[0]),) if isinstance(self.settings.area, Path) else ()

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs for a pixel, before compression."""
        sizes = {"uint8": 1, "float32": 4}
        encodings = self.settings.encodings
        return 1 + sum(sizes[e] * (self.num_classes if n == "probabilities" else 1) for n, e in encodings.items())

    @cached_property
    def key(self) -> str:
        """A digest of what decides the pixels of the outputs: scene, networks and settings."""
        scene = self.scene
        known = {
            "scene": [scene.grid.height, scene.grid.width, [band.name for band in scene.bands], str(scene.dtype)],
            "files": [[path, *_stamp(path)] for path in (*scene.paths, *self._area_file)],
            "networks": [member.digest for member in self.networks],
            **self.settings.fingerprint(),
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


class Engine:
    """A job made ready on this process's device, with threads that ``close`` ends."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = torch.device(job.settings.device)
        settings = job.settings
        batches = math.ceil(job.layout.count / (settings.batch_size or 1))
        self._lanes = Lanes(lane_count(self.device, settings.compiled, batches))
        shape = (len(job.scene.bands), job.layout.size)
        made = (settings.runtime, self.device, *shape, settings.compiled, self._lanes.count)
        members = [(member.runtime(*made), member.normalizer) for member in job.networks]
        self.predictor = Predictor(members, job.num_classes, self.device, job.settings.tta)
        # One for all regions: another would open the files anew, and have its own share of the memory they take.
        self._reading = ThreadPoolExecutor(1, "reading", read_in_order)
        self._read = ForgivingReader() if settings.on_read_error == "nodata" else read_mirrored
        self._area = None if job.settings.area is None else Area.open(job.scene.grid, job.settings.area)

    def blended(self, region: Window) -> Iterator[Blended]:
        """Probabilities of a region of the scene on its own grid, in blocks by rows from top to bottom."""
        job = self.job
        blend: Callable[[Window], Iterator[Blended]] = partial(
            blend_region,
            job.working,
            self.predictor,
            job.layout,
            batch_size=job.settings.batch_size or 1,
            wanted=None if self._area is None else dataclasses.replace(self._area, grid=job.working.grid).touches,
            read=self._read,
            thread=self._reading,
            lanes=self._lanes,
        )
        strips = blend(region) if job.working is job.scene else on_own_grid(job.scene, job.working, region, blend)
        for strip in strips:
            yield strip if self._area is None else strip._replace(valid=strip.valid & self._area.mask(strip.window))

    def close(self) -> None:
        """End the threads: what they are at is finished, what waits is dropped."""
        self._lanes.close()
        self._reading.shutdown(wait=False, cancel_futures=True)


def _halo_px(members: Sequence[Member]) -> int | None:
    """How far the networks look, where all of them know it, as forests do."""
    halos = [getattr(member.module, "halo_px", None) for member in members]
    known = [int(halo) for halo in halos if halo is not None]
    return max(known) if len(known) == len(halos) else None


def _blended(members: Sequence[Member], grid: Grid, settings: Settings, trained_px: int) -> tuple[Layout, float]:
    """Windows whose outputs are blended, and their overlap in pixels: a share is one of the windows of the training."""
    side = settings.patch_size or trained_px
    overlap = round(settings.overlap * side) if settings.overlap < 1 else round(settings.overlap)
    # Some networks see no further in larger windows than in those of the training, and are quicker in them.
    largest = min(int(getattr(member.module, "window_px", 0)) for member in members)
    enlarged = settings.patch_size is None and largest > side > overlap >= 0
    if enlarged and not _scattered(settings, grid, side):
        side = smallest_side(grid.height, grid.width, largest, overlap)
        overlap = min(overlap, side - 1)
    return Layout.plan(grid.height, grid.width, side, overlap, settings.blend), overlap


def _exact(grid: Grid, settings: Settings, trained_px: int, halo: int) -> Layout:
    """Windows of networks that look ``halo`` pixels far."""
    small = 2 * halo + _SCATTERED_PX
    usual = small if _scattered(settings, grid, small) else max(trained_px, _HALO_PATCH_PX)
    return Layout.exact(grid.height, grid.width, settings.patch_size or usual, halo)


def _scattered(settings: Settings, grid: Grid, side: int) -> bool:
    """Whether only places are wanted that windows of this side around them cover less than the whole scene."""
    area = settings.area
    places = area if isinstance(area, tuple) and isinstance(area[0], Window) else ()
    return 0 < len(places) * side**2 < grid.window.size


def _batch_size(device: torch.device, layout: Layout) -> int:
    fitting = _BATCH_PX.get(device.type, _BATCH_PX["cpu"]) // layout.window_px
    return max(1, min(fitting, _LARGEST_BATCH, layout.count))


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:  # remote files have no such times
        return 0, 0
    return status.st_mtime_ns, status.st_size
