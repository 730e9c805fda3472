"""A small network, checkpoint and scenes for the tests of inference."""

from dataclasses import replace

import numpy as np
import torch
from affine import Affine
from torch import nn

from sparsecover.checkpoint import Checkpoint, ModelSpec
from sparsecover.classes import ClassScheme
from sparsecover.grid import Grid
from sparsecover.models import register_model
from sparsecover.normalize import Normalizer
from sparsecover.raster import Scene

UTM = (
    'PROJCS["UTM 33N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",15],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",0],UNIT["metre",1]]'
)


class TinyNetwork(nn.Module):
    """Two convolutions with BatchNorm: context of 7 pixels."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, num_classes, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class PixelNetwork(nn.Module):
    """Looks at each pixel alone: class k is likeliest where the first band is about k."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.arange(num_classes).float()[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -4 * (x[:, :1] - self.centres) ** 2


register_model("test-tiny", TinyNetwork, replace=True)
register_model("test-pixel", PixelNetwork, replace=True)


def checkpoint(
    model="test-tiny", bands=("red", "green"), codes=(1, 2, 7), patch=32, normalizer=None, seed=0, **options
):
    """A checkpoint of a network with random weights."""
    torch.manual_seed(seed)
    scheme = ClassScheme.from_codes({code: f"class {code}" for code in codes})
    spec = ModelSpec(model, len(bands), len(codes), options)
    network = spec.build()
    if model == "test-tiny":
        for parameter in network.parameters():  # fresh weights would find all classes equally likely
            parameter.data.mul_(2)
    if normalizer is None:
        normalizer = Normalizer("percentile", (100.0,) * len(bands), (50.0,) * len(bands), 4.0)
    return Checkpoint({}, scheme, tuple(bands), normalizer, spec, patch, network.state_dict())


def pixel_checkpoint(codes=(1, 2, 7), **changes):
    """The class of a pixel is the value of its first band (one band, not scaled)."""
    made = checkpoint("test-pixel", ("band_1",), codes, normalizer=Normalizer("none", (0.0,), (1.0,)))
    return replace(made, **changes)


def grid(height, width, pixel_m=10.0):
    """A grid in UTM."""
    return Grid(height, width, UTM, Affine(pixel_m, 0, 400_000, 0, -pixel_m, 5_500_000))


def scene(height=75, width=90, seed=0, names=("red", "green"), nodata_corner=True, pixel_m=10.0):
    """Blurred noise with a nodata corner."""
    rng = np.random.default_rng(seed)
    values = rng.integers(40, 160, (len(names), height, width)).astype(np.uint8)
    valid = np.ones((height, width), bool)
    if nodata_corner:
        valid[: height // 3, : width // 3] = False
    return Scene.from_array(values, valid, grid(height, width, pixel_m), "noise", names)


def class_scene(classes, pixel_m=10.0):
    """A scene whose one band holds class indices; 255 is nodata."""
    classes = np.asarray(classes, np.uint8)
    return Scene.from_array(classes[None], classes != 255, grid(*classes.shape, pixel_m), "classes")


def whole(strips, shape):
    """Strips joined to probabilities [K, H, W] (0 where not valid) and valid [H, W]."""
    joined, valid, seen = None, np.zeros(shape, bool), np.zeros(shape, int)
    for window, probabilities, ok in strips:
        joined = np.zeros((len(probabilities), *shape), np.float32) if joined is None else joined
        joined[:, *window.slices] = np.where(ok, probabilities, 0)
        valid[window.slices] = ok
        seen[window.slices] += 1
    assert (seen == 1).all()
    return joined, valid
