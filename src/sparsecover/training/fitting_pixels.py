"""Models that are fitted to labelled pixels at once, without a training loop: forests and hypercolumns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sparsecover.checkpoint import Checkpoint, save_checkpoint
from sparsecover.classes import UNLABELLED
from sparsecover.config import Config
from sparsecover.errors import ConfigError, SceneError
from sparsecover.grid import Grid, Window
from sparsecover.losses import create_loss
from sparsecover.models.label_shift import LEAST_PLACES, LabelShift
from sparsecover.models.pixel_draw import Relight
from sparsecover.models.places import PLACE_PX
from sparsecover.patches import Augmenter, Batch, Patch, PatchPlan
from sparsecover.training.history import History, as_csv
from sparsecover.training.loader import PatchLoader
from sparsecover.training.objective import as_objective
from sparsecover.training.record import make_checkpoint
from sparsecover.training.run import Run
from sparsecover.training.run_files import LAST, RunFiles
from sparsecover.training.validation import Scores, validate

_SHOWS = 0.05  # logits that a map may show
_BLOCK_PX = 512  # tiles in such a block may be read together
_GROUND_WINDOWS, _GROUND_PX = 64, 64  # 0.3 MPix tell how common classes are
_GROUND_FRAME_PX = 32  # what is seen around a window


def check_needs_no_loop(run: Run) -> None:
    """Refuse what only the loop has, where a model is fitted without one."""
    model = run.config.model
    if run.devices * run.nodes > 1:
        raise ConfigError(f"{model.name} is fitted in one process; give one device.")
    if run.regularisers:
        raise ConfigError(
            f"{model.name} is fitted at once: leave out train.regularisers ({', '.join(run.regularisers)})."
        )
    if model.freeze_encoder_epochs or model.encoder_lr_factor != 1:
        raise ConfigError(
            f"{model.name} is fitted at once and trains no encoder: leave out model.freeze_encoder_epochs (given: "
            f"{model.freeze_encoder_epochs}) and model.encoder_lr_factor (given: {model.encoder_lr_factor:g})."
        )
    if run.spec.options.get("encoder_weights", "") is None:
        raise ConfigError(f"{model.name} trains no encoder and needs a taught one: leave out model.encoder_weights.")


def fit_pixels(run: Run, files: RunFiles) -> Checkpoint:
    """Fit a model that takes labelled pixels and needs no loop: each labelled pixel is given once."""
    loader = PatchLoader(run.window_reader(run.pairs), _surroundings(run, run.plan), 1)

    def windows() -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate(loader.epoch(0), start=1):
            yield batch.images, batch.labels.long()
            run.reporter.progress(number, len(loader))

    counts = run.plan.class_counts.tolist()
    grow = cast(Callable[..., dict[str, Any]], run.model.fit_pixels)
    run.note_absent_classes()
    with _rounding(run):
        options = grow(windows(), counts, run.config.seed, _relight(run.config), _ground(run))
    run.note_unreadable()
    notes = _about_shares(run) if getattr(run.model, "estimate_shares", False) else []
    for note in notes:
        run.reporter.note(note)
    model = run.model.eval()
    scores = None if run.held is None else _scored(run, run.held)
    save_checkpoint(files.out / LAST, make_checkpoint(run, model, scores, options, notes))
    losses: dict[int, float] = getattr(run.model, "losses", {})  # a forest has none
    history: History = [{"step": step, "train_loss": loss} for step, loss in losses.items()]
    if history:
        files.write_text("history.csv", as_csv(history))
    return files.finish(LAST, history)


def _ground(run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows drawn from all over the ground: images [1, C, h, w], and where in their middle is data [1, h, w].

    What cannot be read is left out: labels lie elsewhere.
    """
    random = np.random.default_rng(run.config.seed)
    # A scene smaller than a window shows less of itself at a time, and so is looked at more often.
    sides = [(scene.grid.height, scene.grid.width) for scene in run.ground]
    windows = np.array([max(1, height / _GROUND_PX) * max(1, width / _GROUND_PX) for height, width in sides])
    for number in sorted(random.choice(len(windows), _GROUND_WINDOWS, p=windows / windows.sum()).tolist()):
        scene = run.ground[number]
        own = _drawn_window(scene.grid, random)
        around = own.expand(_GROUND_FRAME_PX).intersect(scene.grid.window)  # beyond the scene nothing, as with labels
        try:
            values, valid = scene.read(around)
        except SceneError as error:
            run.unreadable.add(str(error))
            continue
        known = np.zeros_like(valid)
        inside = own.relative_to(around).slices
        known[inside] = valid[inside]
        yield torch.from_numpy(run.normalizer(values, valid))[None], torch.from_numpy(known)[None]


def _drawn_window(grid: Grid, random: np.random.Generator) -> Window:
    """A square anywhere on a grid, or as much of one as fits."""
    height, width = min(_GROUND_PX, grid.height), min(_GROUND_PX, grid.width)
    row, col = random.integers(grid.height - height + 1), random.integers(grid.width - width + 1)
    return Window(int(row), int(col), height, width)


def _about_shares(run: Run) -> list[str]:
    """Whether classes are preferred that are common on the ground, or why not."""
    shift, places = cast(LabelShift | None, run.model.shift), cast(dict[int, int], run.model.class_places)
    names = run.scheme.names
    if shift is None:
        few = [f"{names[each]}: {count}" for each, count in places.items() if count < LEAST_PLACES]
        why = (
            f"each class must train in {LEAST_PLACES} places, squares of {PLACE_PX} px ({', '.join(few)}). "
            "Larger polygons show no place"
            if few
            else "that takes two classes with labels, and ground with data"
        )
        return [f"How common classes are was not estimated: {why}."]
    if np.abs(shift.logits).max() <= _SHOWS:
        return ["No class was found to be more common on the ground than among the labels."]
    shares = ", ".join(f"{names[each]} {shift.shares[each]:.0%}" for each in places)
    return [f"Estimated shares on the ground: {shares}; common classes are preferred."]


def _rounding(run: Run) -> torch.autocast:
    """The precision in which a pretrained encoder computes for the fit: bf16 where asked for, else full."""
    return torch.autocast(torch.device(run.device).type, torch.bfloat16, enabled=run.config.train.precision == "bf16")


def _relight(config: Config) -> Relight | None:
    """Draws other light for images, 0 in all bands where invalid, as far as augmentation varies colours."""
    augmenter = Augmenter.from_config(config.augment)
    if not augmenter.varies_colours:
        return None
    colours, generator = augmenter.colours, torch.Generator().manual_seed(config.seed)

    def relight(images: Tensor) -> Tensor:
        valid = (images != 0).any(1)
        unlabelled = torch.full_like(valid, UNLABELLED, dtype=torch.uint8)
        with torch.autocast(images.device.type, enabled=False):  # only the encoder may round
            return colours(Batch(images, unlabelled, valid), generator).images

    return relight


def _scored(run: Run, held: PatchPlan) -> Scores:
    """Scores of a model that needs no loop on the validation labels, with as much around them as for a map."""
    device = torch.device(run.device)
    windows = PatchLoader(run.window_reader(run.held_pairs), _surroundings(run, held), 1)
    objective = as_objective(create_loss("ce"))
    return validate(run.model, objective, windows.epoch(0), lambda b: b.to(device), ignore_index=UNLABELLED)


def _surroundings(run: Run, plan: PatchPlan) -> list[Patch]:
    """The tiles with labels and as much around them as the model's features see; near ones together, where cheaper."""
    halo = int(getattr(run.model, "context_px", 0))
    blocks: dict[tuple[int, int, int], list[Window]] = {}
    for patch in plan.tiling():
        own = patch.own or patch.window
        blocks.setdefault((patch.pair, own.row // _BLOCK_PX, own.col // _BLOCK_PX), []).append(own)
    found = []
    for (pair, _, _), owned in blocks.items():
        whole = plan.grids[pair].window
        alone = [Patch(pair, own.expand(halo).intersect(whole), own) for own in owned]
        joined = _around(owned)
        together = Patch(pair, joined.expand(halo).intersect(whole), joined)
        found += [together] if together.window.size <= sum(patch.window.size for patch in alone) else alone
    return found


def _around(windows: Sequence[Window]) -> Window:
    """The smallest window that holds all."""
    row, col = min(w.row for w in windows), min(w.col for w in windows)
    return Window(row, col, max(w.row_stop for w in windows) - row, max(w.col_stop for w in windows) - col)
