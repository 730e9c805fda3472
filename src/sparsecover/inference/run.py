"""One scene's map from its first strip to its last file."""

import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecover.atomic import replacing
from sparsecover.classes import ClassScheme
from sparsecover.errors import SceneError, SparseCoverError
from sparsecover.grid import Window, tiles
from sparsecover.inference.cluster import Cluster, open_cluster
from sparsecover.inference.generalising import Codes, generalise, scratch_bytes, scratch_map, unit_px
from sparsecover.inference.job import Engine, Job
from sparsecover.inference.journal import Journal
from sparsecover.inference.outputs import MapProduct, OutputPaths
from sparsecover.inference.polygons import write_polygons
from sparsecover.inference.products import MapStrip, Products, Tally
from sparsecover.inference.progress import Meter, Reporter
from sparsecover.inference.threads import alongside
from sparsecover.raster import MapWriter, check_room, remove_leftovers
from sparsecover.raster.gdal import is_local

_ROWS = 256
_WAITING_STRIPS = 1
_KEPT_ON_RESUME = ("runtime", "batch_size", "ram_mb", "device", "compiled")


class Run:
    """One scene from its first strip to its last file."""

    def __init__(self, job: Job, scheme: ClassScheme, paths: OutputPaths, reporter: Reporter | None) -> None:
        self._job, self._scheme, self._paths = job, scheme, paths
        self._grid = job.scene.grid
        self._products = Products(scheme, job.settings.encodings, job.settings.threshold)
        self._meter = Meter(job.scene.name, self._grid.window.size, reporter, job.notes)
        self._tally = Tally(scheme, self._grid)
        self._cluster: Cluster | None = None
        self._check(job)

    def _check(self, job: Job) -> None:
        """Refuse now what would fail after the work."""
        settings = job.settings
        if settings.min_area_ha is not None:
            unit_px(self._grid, settings.min_area_ha)
        if self._paths.map.parent.is_dir():  # else the writer says so
            scratch = scratch_bytes(self._grid, settings.majority_px, settings.min_area_ha)
            check_room(self._paths.map, self._grid.window.size * job.output_bytes, scratch)

    def begin(self) -> Journal:
        """A new journal."""
        # What was measured or sized by this machine may show in the last digits, so a resumed run takes it over.
        chosen = {name: getattr(self._job.settings, name) for name in _KEPT_ON_RESUME}
        return Journal.create(self._paths.journal, {"made_from": self._job.key, "chosen": chosen})

    def finish(self, journal: Journal, cluster: Cluster | None) -> MapProduct:
        """Compute what the journal lacks and write all outputs: all of them, or none.

        Raises:
            SparseCoverError: nothing is left; but where a scene on the net could not be read, the journal is.
            KeyboardInterrupt, SystemExit: the journal is left, and a note says so.
        """
        older = self._paths.existing()
        for path in self._paths.written:
            remove_leftovers(path)  # of a run that was killed
        try:
            with open_cluster(self._job.settings) if cluster is None else nullcontext(cluster) as self._cluster:
                self._write_rasters(journal)
            if self._paths.polygons:
                write_polygons(self._paths.map, self._scheme, self._paths.polygons)
            statistics = self._tally.as_dict() | {
                "scene": self._job.scene.name,
                "runtime": self._job.settings.runtime,
                "made_from": self._job.key,
            }
            with replacing(self._paths.statistics) as temporary:
                temporary.write_text(json.dumps(statistics, indent=2), encoding="utf-8")
        except SparseCoverError as error:
            if isinstance(error, SceneError) and not all(map(is_local, self._job.scene.paths)):
                journal.close()  # a network may be back later
                raise SceneError(f"{error} {_how_to_go_on(journal)}") from error
            journal.remove()
            self._paths.remove(self._paths.existing() - older)
            raise
        except BaseException as stop:
            journal.close()
            stop.add_note(_how_to_go_on(journal))
            raise
        journal.remove()
        return self._paths.product((*self._job.notes, *self._remarks(statistics)))

    def _remarks(self, statistics: dict[str, Any]) -> list[str]:
        if statistics["pixels"]:
            return []
        return [f"{self._job.scene.name} holds no valid pixel where it was to be predicted; the map is all nodata."]

    def _write_rasters(self, journal: Journal) -> None:
        settings = self._job.settings
        calmer = settings.majority_px > 1 or settings.min_area_ha is not None
        with ExitStack() as stack:
            writers = stack.enter_context(self._writers())
            if not calmer:
                self._pour(journal, writers)
                return
            # The filters look at neighbours, so the map is gathered in full before it is written.
            folder = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix=f".{self._paths.map.name}.", dir=self._paths.map.parent)
                )
            )
            codes = scratch_map(folder, "map", self._grid)
            class_map = writers.pop("map")
            self._pour(journal, writers, codes)
            codes = generalise(codes, self._grid, folder, settings.majority_px, settings.min_area_ha)
            self._tally = self._tally.restart()
            for window in tiles(self._grid.window, _ROWS, self._grid.width):
                class_map.write(window, codes[window.slices])
                self._tally.add(window, self._count(codes[window.slices]))

    def _count(self, codes: Codes) -> npt.NDArray[np.int64]:
        return np.bincount(codes.ravel(), minlength=256)[list(self._scheme.map_codes)].astype(np.int64)

    def _pour(self, journal: Journal, writers: dict[str, MapWriter], codes: Codes | None = None) -> None:
        """Write strips of the journal, then new ones."""
        self._meter.add(0)  # the first strip may take long, and who waits should see what for
        done: list[Window] = []
        for strip in journal.strips():
            done.append(strip.window)
            self._put(strip, writers, codes)
            self._meter.add(strip.window.size, replayed=True)

        def store(strip: MapStrip) -> None:
            journal.append(strip)
            self._put(strip, writers, codes)
            self._meter.add(strip.window.size)

        # Closed here, or an error that is kept would keep the threads at their work.
        with closing(self._compute(_remaining(self._job.panels(), done))) as strips:
            for _ in alongside(store, strips, _WAITING_STRIPS):
                pass

    def _put(self, strip: MapStrip, writers: dict[str, MapWriter], codes: Codes | None) -> None:
        if not strip.arrays:  # without data, which is what pixels are that are never written
            return
        if codes is not None:
            codes[strip.window.slices] = strip.arrays["map"]
        for name, writer in writers.items():
            writer.write(strip.window, strip.arrays[name])
        self._tally.add(strip.window, strip.counts, strip.confidence_sum)

    def _compute(self, regions: Sequence[Window]) -> Generator[MapStrip]:
        if not regions:
            return
        if self._cluster is not None:
            yield from self._cluster.strips(self._job, self._products, regions)
            return
        with closing(Engine(self._job)) as engine:
            for region in regions:
                yield from self._products.strips(engine.blended(region))

    @contextmanager
    def _writers(self) -> Iterator[dict[str, MapWriter]]:
        """Writers of all layers; they are finished side by side, or leave nothing."""
        with ExitStack() as unfinished:
            writers = {}
            for name in ("map", *self._paths.layers):
                writers[name] = self._writer(name)
                unfinished.callback(writers[name].discard)
            yield dict(writers)
            with ThreadPoolExecutor() as pool:
                for closed in [pool.submit(writer.close) for writer in writers.values()]:
                    closed.result()

    def _writer(self, name: str) -> MapWriter:
        scene, overwrite = self._job.scene, self._job.settings.overwrite or self._job.settings.resume
        if name == "map":
            return MapWriter(self._paths.map, self._grid, scheme=self._scheme, overwrite=overwrite, like=scene)
        encoding = self._products.encodings[name]
        bands = self._scheme.map_names if name == "probabilities" else (name,)
        nodata = float("nan") if encoding == "float32" else 255
        return MapWriter(
            self._paths.layers[name], self._grid, dtype=encoding, count=len(bands), nodata=nodata, band_names=bands,
            overwrite=overwrite, like=scene,
        )  # fmt: skip


def _how_to_go_on(journal: Journal) -> str:
    return f"{journal.path} holds what is done: the same command with --resume goes on from there."


def _remaining(panels: Sequence[Window], done: Sequence[Window]) -> list[Window]:
    """The part of each panel below the strips that are done."""
    regions = []
    for panel in panels:
        row = max((strip.row_stop for strip in done if strip.col == panel.col), default=panel.row)
        if row < panel.row_stop:
            regions.append(Window(row, panel.col, panel.row_stop - row, panel.width))
    return regions
