"""Variation of training windows, for any number of bands, a whole batch at a time on the device where it is.

Geometry moves image, labels and valid mask alike; labels by nearest, and what comes from outside the window is invalid
and unlabelled, so no label is ever invented. Colour changes only valid pixels; invalid ones stay 0. All sizes are
relative to the spread of the values in the batch, so that one preset fits every normalisation and sensor. CutMix comes
last: a rectangle of another window of the batch, image, labels and valid mask alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from sparsecover.classes import UNLABELLED
from sparsecover.config import AugmentConfig
from sparsecover.errors import ConfigError, ModelError, nearest
from sparsecover.patches.batch import Batch
from sparsecover.registry import converted

_SHARES = ("affine", "blur", "band_dropout", "cutmix")  # of windows; all other strengths have no upper end


class _Spread(NamedTuple):
    """Statistics of the valid pixels of a batch by band, each [C, 1, 1]."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class Augmenter:
    """Draws new versions of a batch; all strengths are upper limits, 0 leaves that part out.

    Attributes:
        symmetries: flips and quarter turns, all eight equally likely (four where windows are not square).
        affine: share of the windows that are shifted, scaled and rotated.
        shift: largest shift relative to the window's side.
        scale: largest zoom in or out; 0.25 is from 1/1.25 to 1.25.
        rotation: largest angle in degrees, either way.
        brightness: largest offset, in standard deviations of a band.
        contrast: largest stretch about a band's mean; 0.2 is from 1/1.2 to 1.2.
        gamma: largest exponent on the range of a band; 0.2 is from 1/1.2 to 1.2.
        noise: largest standard deviation of added noise, in standard deviations of a band.
        blur: share of the windows blurred by a Gaussian of up to 1 px.
        band_dropout: share of the windows in which one band is replaced by its mean.
        cutmix: share of the windows into which a rectangle of another one is put (Yun et al. 2019).
        groups: a number for each band; bands of one number are brightened, stretched and curved together. Default: all
            mostly together, as light is, and partly each by itself.

    Raises:
        ConfigError: a strength below 0 or not finite, a share above 1.
    """

    symmetries: bool = True
    affine: float = 0.0
    shift: float = 0.1
    scale: float = 0.25
    rotation: float = 45.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    band_dropout: float = 0.0
    cutmix: float = 0.0
    groups: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.type is float):
            value = getattr(self, name)
            if not (0 <= value < math.inf and (value <= 1 or name not in _SHARES)):
                expected = "a share of the windows from 0 to 1" if name in _SHARES else "a number of at least 0"
                raise ConfigError(f"augment.{name} is {value:g}; expected {expected} (0 leaves it out).")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """``none``, ``light`` (symmetries), ``standard`` (also moved and lit otherwise), ``strong`` (everything).

        Args:
            changes: attributes that differ from the preset's, as a user wrote them.

        Raises:
            ConfigError: an unknown preset or attribute, a value of another type or out of its range.
        """
        if name not in PRESETS:
            raise ConfigError(f"Unknown augmentation {name!r}. {nearest(name, PRESETS)}")
        known = [field.name for field in fields(cls)]
        for change in changes:
            if change not in known:
                raise ConfigError(f"Unknown setting augment.{change}. {nearest(change, known)}")
        try:
            changes = converted(f"augmentation {name!r}", cls, changes)
        except ModelError as error:
            raise ConfigError(str(error)) from None
        return cls(**{**PRESETS[name], **changes})

    @classmethod
    def from_config(cls, config: str | AugmentConfig) -> Self:
        """As ``preset``, from a configuration's ``augment``."""
        return cls.preset(config) if isinstance(config, str) else cls.preset(config.name, **config.options)

    @property
    def varies_colours(self) -> bool:
        """Whether it changes more than places."""
        return any((self.brightness, self.contrast, self.gamma, self.noise, self.blur, self.band_dropout))

    @property
    def colours(self) -> Self:
        """What of it changes colours; it moves nothing."""
        return replace(self, symmetries=False, affine=0.0, cutmix=0.0)

    def check_bands(self, bands: int) -> None:
        """Refuse groups of another number of bands than the windows have."""
        if self.groups is not None and len(self.groups) != bands:
            raise ConfigError(f"augment.groups names {len(self.groups)} bands; the windows have {bands}.")

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """A varied copy of a batch.

        Args:
            batch: windows on any device.
            generator: on the CPU; its state alone decides what is drawn.
        """
        varied = self._photometric(self._geometric(batch, generator), generator)
        return _cutmix(varied, self.cutmix, generator) if self.cutmix else varied

    def _geometric(self, batch: Batch, generator: torch.Generator) -> Batch:
        count, (height, width) = len(batch), batch.labels.shape[-2:]
        flags = torch.randint(2, (count, 3), generator=generator) * self.symmetries
        flags[:, 2] *= height == width  # others cannot be transposed
        chosen = torch.rand(count, generator=generator) < self.affine
        draws = torch.rand(count, 4, generator=generator) * 2 - 1
        out = batch.each(torch.clone)
        for i in torch.nonzero(~chosen & flags.any(1))[:, 0].tolist():
            for source, target in zip(batch.planes, out.planes, strict=True):
                target[i] = _symmetry(source[i], flags[i].tolist())
        maps = _affine_maps(
            math.radians(self.rotation) * draws[:, 0],
            (1 + self.scale) ** draws[:, 1],
            2 * self.shift * draws[:, 2:],
            flags,
            width / height,
        )
        # One by one a window stays in a processor's cache; a GPU takes them all at once.
        at_once = 1 if batch.images.device.type == "cpu" else count
        for part in torch.split(torch.nonzero(chosen)[:, 0], at_once):
            if len(part):
                _resample(batch, maps[part].to(batch.images.device), part.to(batch.images.device), out)
        return out

    def _photometric(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Changes the colours in place: the geometry has made a copy."""
        if not self.varies_colours:
            return batch
        images, valid = batch.images, batch.valid[:, None]
        count, bands = images.shape[:2]
        self.check_bands(bands)
        spread = _spread(images, valid)

        def draw(strength: float) -> Tensor:
            return strength * _band_draws(count, bands, self.groups, generator).to(images.device)

        if self.gamma:
            span = (spread.high - spread.low).clamp_min(1e-6)
            curve = ((images - spread.low) / span).clamp_(0, 1).pow_((1 + self.gamma) ** draw(1))
            images = spread.low + span * curve
        stretch = (1 + self.contrast) ** draw(1)
        offset = spread.mean * (1 - stretch) + spread.std * draw(self.brightness)
        dropped = _dropped(count, bands, self.band_dropout, generator).to(images.device)
        images.mul_(torch.where(dropped, 0, stretch)).add_(torch.where(dropped, spread.mean, offset))
        if self.noise:
            images.add_(spread.std * self._noise(images, generator))
        if self.blur:
            _blur(images, valid, _chosen(count, self.blur, generator), generator)
        return replace(batch, images=images.mul_(valid))

    def _noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Noise [N, C, h, w] drawn where the images are, from a seed drawn on the CPU."""
        seed = int(torch.randint(2**62, (), generator=generator))
        here = torch.Generator(images.device).manual_seed(seed)
        strength = self.noise * torch.rand(len(images), 1, 1, 1, generator=generator)
        return torch.randn(images.shape, generator=here, device=images.device) * strength.to(images.device)


PRESETS: dict[str, dict[str, Any]] = {
    "none": {"symmetries": False},
    "light": {},
    "standard": {"affine": 0.5, "brightness": 0.2, "contrast": 0.2},
    "strong": {
        "affine": 0.8,
        "scale": 0.5,
        "brightness": 0.4,
        "contrast": 0.4,
        "gamma": 0.4,
        "noise": 0.1,
        "blur": 0.2,
        "band_dropout": 0.1,
        "cutmix": 0.3,
    },
}


def _symmetry(values: Tensor, flags: Sequence[int]) -> Tensor:
    """One of the eight symmetries of the square, exact: flip columns, flip rows, transpose."""
    flipped = values.flip([axis for flag, axis in zip(flags, (-1, -2), strict=False) if flag])
    return flipped.transpose(-1, -2) if flags[2] else flipped


def _affine_maps(angle: Tensor, zoom: Tensor, shift: Tensor, flags: Tensor, aspect: float) -> Tensor:
    """Maps [n, 2, 3] from places in the new window to places in the old one, x before y, both from -1 to 1.

    Rotation is in pixels, hence the aspect (width / height) between the two axes; flips and the transposition (of
    square windows) are part of the map.
    """
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    linear = torch.stack([torch.stack([cos, -sin / aspect], 1), torch.stack([sin * aspect, cos], 1)], 1)
    linear = linear * (1 - 2 * flags[:, None, :2])
    linear = torch.where(flags[:, 2, None, None].bool(), linear.flip(-1), linear)
    return torch.cat([linear, shift[:, :, None]], 2)


def _resample(batch: Batch, maps: Tensor, index: Tensor, out: Batch) -> None:
    """Write the windows ``index`` of a batch, moved by ``maps``, into the same places of ``out``."""
    images, valid = batch.images[index], batch.valid[index, None]
    grid = functional.affine_grid(maps.to(images.dtype), list(valid.shape), align_corners=False)
    # Bilinear weights of invalid neighbours are taken out again by dividing by the weight of the valid ones.
    weighted = torch.cat([images, valid.to(images.dtype)], 1)
    sampled = functional.grid_sample(weighted, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    weight = sampled[:, -1:]
    inside = weight > 0.5
    out.images[index] = sampled[:, :-1].div_(weight.clamp_min(0.5)).mul_(inside)
    out.valid[index] = inside[:, 0]
    sources, targets = ([b.labels] if b.hints is None else [b.labels, b.hints] for b in (batch, out))
    # Labels are counted from UNLABELLED, so that the zeros from outside mean unlabelled.
    counted = torch.stack([source[index] for source in sources], 1).to(images.dtype) - UNLABELLED
    moved = functional.grid_sample(counted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    for target, plane in zip(targets, (moved.mul_(inside) + UNLABELLED).unbind(1), strict=True):
        target[index] = plane.to(target.dtype)


def _cutmix(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Put a rectangle of another window into some windows; its part of the area is even between 0 and 1."""
    count, (height, width) = len(batch), batch.labels.shape[-2:]
    chosen = torch.rand(count, generator=generator) < share
    # A shift by less than the batch is another window for all but a batch of one, which is left as it is.
    partner = (torch.arange(count) + torch.randint(1, max(count, 2), (), generator=generator)) % count
    side = torch.rand(count, generator=generator).sqrt() * chosen
    place = torch.rand(count, 2, generator=generator)
    inside = _spans(place[:, 0], side, height)[:, :, None] & _spans(place[:, 1], side, width)[:, None]
    inside, partner = inside.to(batch.images.device), partner.to(batch.images.device)
    return batch.each(lambda plane: torch.where(inside[:, None] if plane.ndim == 4 else inside, plane[partner], plane))


def _spans(place: Tensor, side: Tensor, length: int) -> Tensor:
    """Masks [N, length] of stretches that take ``side`` of the length, from the first place they fit to the last."""
    size = (side * length).round()[:, None]
    start = ((length - size) * place[:, None]).round()
    index = torch.arange(length)[None]
    return (index >= start) & (index < start + size)


def _chosen(count: int, share: float, generator: torch.Generator) -> Tensor:
    """Indices on the CPU of the windows that a part is applied to, so that no device has to be waited for."""
    return torch.nonzero(torch.rand(count, generator=generator) < share)[:, 0]


def _band_draws(count: int, bands: int, groups: Sequence[int] | None, generator: torch.Generator) -> Tensor:
    """Draws from -1 to 1 as [N, C, 1, 1]: one for each group, or mostly common to all bands, partly each band's own."""
    if groups is not None:
        numbers = torch.unique(torch.tensor(groups), return_inverse=True)[1]
        return (torch.rand(count, int(numbers.max()) + 1, 1, 1, generator=generator) * 2 - 1)[:, numbers]
    common = torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1
    own = torch.rand(count, bands, 1, 1, generator=generator) * 2 - 1
    return (2 * common + own) / 3


def _dropped(count: int, bands: int, share: float, generator: torch.Generator) -> Tensor:
    """Mask [N, C, 1, 1] of the dropped bands: at most one a window, never the only one."""
    victims = torch.randint(bands, (count,), generator=generator)
    dropped = (torch.rand(count, generator=generator) < share) & (bands > 1)
    return (functional.one_hot(victims, bands).bool() & dropped[:, None])[:, :, None, None]


def _spread(images: Tensor, valid: Tensor) -> _Spread:
    """From every fourth pixel either way: enough for strengths, and a sixteenth of the work."""
    images, valid = images[..., ::4, ::4], valid[..., ::4, ::4]
    count = valid.sum().clamp_min(1)
    mean = images.sum((0, 2, 3)) / count  # invalid pixels are 0
    square = (images * images).sum((0, 2, 3)) / count
    low = torch.where(valid, images, torch.inf).amin((0, 2, 3))
    high = torch.where(valid, images, -torch.inf).amax((0, 2, 3))
    known = torch.isfinite(low)  # without a valid pixel there is nothing to spread
    parts = (mean, (square - mean * mean).clamp_min(0).sqrt(), torch.where(known, low, 0), torch.where(known, high, 0))
    return _Spread(*(part[:, None, None] for part in parts))


def _blur(images: Tensor, valid: Tensor, chosen: Tensor, generator: torch.Generator) -> None:
    """Blur the chosen windows in place by 5 x 5 Gaussians, without letting invalid pixels bleed in."""
    sigma = 0.3 + 0.7 * torch.rand(len(chosen), 1, generator=generator)
    if not len(chosen):
        return
    kernel = torch.exp(-0.5 * (torch.arange(-2, 3) / sigma) ** 2).to(images.device, images.dtype)
    index = chosen.to(images.device)
    weights = valid[index].to(images.dtype)
    images[index] = _convolve(images[index] * weights, kernel) / _convolve(weights, kernel).clamp_min(1e-6)


def _convolve(images: Tensor, kernel: Tensor) -> Tensor:
    """Separable convolution of images [n, C, h, w] with a kernel [n, 5] for each."""
    count, bands, height, width = images.shape
    flat = images.reshape(1, count * bands, height, width)
    weight = kernel.repeat_interleave(bands, 0)
    flat = functional.conv2d(flat, weight[:, None, :, None], padding=(2, 0), groups=count * bands)
    flat = functional.conv2d(flat, weight[:, None, None, :], padding=(0, 2), groups=count * bands)
    return flat.reshape(images.shape)
