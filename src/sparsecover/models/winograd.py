"""3 x 3 convolutions with a quarter of the multiplications, for inference on CPUs (Lavin & Gray 2016, F(4 x 4, 3 x 3)).

An image is cut into tiles of 6 x 6 that overlap by 2. Transformed to 36 numbers each, tiles are multiplied by the
transformed filters number by number: one matrix product over channels for each of the 36. Transformed back, each gives
4 x 4 pixels. That is 36 products for 16 pixels, where sums over 3 x 3 neighbours need 144; the transforms cost as much
for any number of filters, so wide layers gain most. Rounding is about ten times that of the direct sum: 1e-5 of the
largest output.
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TILE, _STEP = 6, 4  # sides in pixels: read, and computed
_POINTS = _TILE**2

# Narrower layers gain nothing, and less where registers are wide, as there the direct sum keeps up with the memory; the
# filters of wider ones, four times as many numbers as before, would fill the memory.
_NARROWEST = 256 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 64
_MOST_FILTERS = 1024 * 512
_FEWEST_TILES = 16  # below, reading the transformed filters takes longer than the direct sum
_BLOCK_TILES = 128  # for each thread at once: enough to reuse the filters, few enough for a core's cache

_TO_POINTS = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_FILTER_TO_POINTS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_FROM_POINTS = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


class WinogradConv2d(nn.Module):
    """The same outputs as a convolution with 3 x 3 filters, up to rounding; it cannot be trained.

    Args:
        convolution: one for which :func:`suits` is True.
    """

    filters: Tensor
    to_points: Tensor
    from_points: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.direct = convolution
        self.register_buffer("filters", _transformed(convolution.weight.detach()), persistent=False)
        self.register_buffer("to_points", _both_ways(_TO_POINTS), persistent=False)
        self.register_buffer("from_points", _both_ways(_FROM_POINTS), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to [N, K, H, W], in channels_last order."""
        number, _, height, width = images.shape
        down, right = -(-height // _STEP), -(-width // _STEP)
        if torch.compiler.is_compiling() or number * down * right < _FEWEST_TILES:
            out: Tensor = self.direct(images)
            return out
        padded = F.pad(images, (1, right * _STEP - width + 1, 1, down * _STEP - height + 1))
        made = self._rows(padded.permute(0, 2, 3, 1).contiguous(), number, down, right)
        return made[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def _rows(self, pixels: Tensor, number: int, down: int, right: int) -> Tensor:
        """Work through padded pixels [N, h, w, C] by rows of tiles, or by images where these are small."""
        rows = max(1, _BLOCK_TILES * torch.get_num_threads() // right)
        together = max(1, rows // down)
        made = pixels.new_empty(number, down * _STEP, right * _STEP, self.filters.shape[2])
        for first in range(0, number, together):
            images = slice(first, first + together)
            for row in range(0, down, rows):
                last = min(row + rows, down)
                self._fill(made[images, _STEP * row : _STEP * last], pixels[images, _STEP * row : _STEP * last + 2])
        return made

    def _fill(self, made: Tensor, pixels: Tensor) -> None:
        """Outputs [n, 4 i, 4 j, K] from the pixels [n, 4 i + 2, 4 j + 2, C]."""
        points, channels, outputs = self.filters.shape
        tiles = pixels.unfold(1, _TILE, _STEP).unfold(2, _TILE, _STEP)
        number, down, right = tiles.shape[:3]
        read = tiles.permute(4, 5, 0, 1, 2, 3).reshape(points, -1)
        products = torch.bmm(torch.mm(self.to_points, read).view(points, -1, channels), self.filters)
        back = torch.mm(self.from_points, products.view(points, -1)).view(_STEP, _STEP, number, down, right, outputs)
        if self.direct.bias is not None:
            back += self.direct.bias
        made.view(number, down, _STEP, right, _STEP, outputs).copy_(back.permute(2, 3, 0, 4, 1, 5))


def use_winograd(network: nn.Module) -> None:
    """Replace the convolutions of a network for which this is quicker, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if suits(child):
                setattr(parent, name, WinogradConv2d(child))


def suits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """True for a convolution that is quicker this way."""
    return (
        type(module) is nn.Conv2d  # a subclass may pad or scale in its own way
        and (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
        and (module.dilation, module.groups, module.padding_mode) == ((1, 1), 1, "zeros")
        and min(module.in_channels, module.out_channels) >= _NARROWEST
        and module.in_channels * module.out_channels <= _MOST_FILTERS
        and module.weight.dtype == torch.float32
    )


def _transformed(weight: Tensor) -> Tensor:
    """Filters [K, C, 3, 3] as [36, C, K]."""
    transform = torch.tensor(_FILTER_TO_POINTS, dtype=torch.float64)
    points = torch.einsum("ai,kcij,bj->abck", transform, weight.double(), transform)
    return points.reshape(_POINTS, weight.shape[1], weight.shape[0]).float()


def _both_ways(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """The transform of columns and rows as one of all numbers of a tile."""
    one_way = torch.tensor(matrix, dtype=torch.float32)
    return torch.kron(one_way, one_way)
