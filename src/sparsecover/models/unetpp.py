"""U-Net++ (Zhou et al. 2018): every skip is a chain of blocks, each fed by all before it and by the level below.

With depth 4, node ``i_j`` is the j-th block of level i; ``0_1``, ``0_2`` and ``0_3`` can each give a map::

    0_0 ── 0_1 ── 0_2 ── 0_3
       ╲  ╱   ╲  ╱   ╲  ╱
       1_0 ── 1_1 ── 1_2
          ╲  ╱   ╲  ╱
          2_0 ── 2_1
             ╲  ╱
             3_0
"""

import torch
from torch import Tensor, nn

from sparsecover.errors import ModelError
from sparsecover.models.blocks import ConvBlock, Downsample, Norm, Upsample, upsampling
from sparsecover.models.levels import Dropout, encoder, minimum_px, rates_of, stride_of, widths_of
from sparsecover.models.network import Logits, SegmentationNetwork
from sparsecover.models.pretrained import load_encoder_file


class UNetPlusPlus(SegmentationNetwork):
    """U-Net++ for any number of bands and any size of image.

    Args:
        in_channels: bands C.
        num_classes: classes K.
        base_channels: maps at full resolution; each level below has twice as many.
        depth: resolution levels, from 2 (5 levels are 4 downsamplings).
        deep_supervision: in training, return the logits of every node ``0_1 ... 0_{depth-1}`` as a list, whose losses
            are averaged; in eval mode the last alone.
        downsample: ``maxpool`` or ``strided``.
        upsample: ``transpose``, ``bilinear`` or ``nearest``.
        dropout: share of maps dropped after each block, in [0, 1): one for all levels, or one each, shallow to deep;
            ``growing`` is 0.1, 0.1, 0.2, 0.2, 0.3, ...
        norm: ``batch``, ``group`` or ``instance``.
        binary_head: one logit z, returned as (0, z); needs K = 2.
        encoder_weights: a local file with weights of this very encoder, such as a checkpoint, or None.

    Raises:
        ModelError: an option that cannot be meant.

    >>> UNetPlusPlus(in_channels=3, num_classes=5, base_channels=4, depth=3)(torch.zeros(1, 3, 9, 9)).shape
    torch.Size([1, 5, 9, 9])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        base_channels: int = 64,
        depth: int = 5,
        deep_supervision: bool = False,
        downsample: Downsample = "maxpool",
        upsample: Upsample = "transpose",
        dropout: Dropout = 0.0,
        norm: Norm = "batch",
        binary_head: bool = False,
        encoder_weights: str | None = None,
    ) -> None:
        if depth < 2:
            raise ModelError(f"depth is {depth}; U-Net++ needs at least 2 resolution levels.")
        stride = stride_of(depth)
        super().__init__(
            in_channels, num_classes, stride=stride, minimum_px=minimum_px(norm, stride), binary_head=binary_head
        )
        self.depth = depth
        self.deep_supervision = deep_supervision
        widths, rates = widths_of(base_channels, depth), rates_of(dropout, depth)
        self.encoder = encoder(in_channels, widths, rates, downsample, norm)
        self.up, self.nodes = nn.ModuleDict(), nn.ModuleDict()
        for level, column in self._skips():
            width = widths[level]
            self.up[f"{level}_{column}"] = upsampling(upsample, widths[level + 1], width)
            self.nodes[f"{level}_{column}"] = ConvBlock((column + 1) * width, width, norm, rates[level])
        heads = depth - 1 if deep_supervision else 1
        self.heads = nn.ModuleList([nn.Conv2d(widths[0], self.head_channels, kernel_size=1) for _ in range(heads)])
        if encoder_weights is not None:
            load_encoder_file(self.encoder, encoder_weights)

    def _skips(self) -> list[tuple[int, int]]:
        """(level, column) of every node right of the encoder, in the order of computation."""
        return [(level, column) for column in range(1, self.depth) for level in range(self.depth - column)]

    def compute_logits(self, images: Tensor) -> Logits:
        """Column by column; ``rows[i]`` holds the nodes ``i_0, i_1, ...`` so far."""
        rows: list[list[Tensor]] = []
        x = images
        for stage in self.encoder:
            x = stage(x)
            rows.append([x])
        for level, column in self._skips():
            name = f"{level}_{column}"
            raised = self.up[name](rows[level + 1][column - 1])
            rows[level].append(self.nodes[name](torch.cat([*rows[level], raised], dim=1)))
        if self.deep_supervision and self.training:
            return [head(node) for head, node in zip(self.heads, rows[0][1:], strict=True)]
        logits: Tensor = self.heads[-1](rows[0][-1])
        return logits

    def encoder_module(self) -> nn.Module:
        """The way down."""
        return self.encoder
