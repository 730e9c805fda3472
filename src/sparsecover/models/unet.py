"""U-Net (Ronneberger et al. 2015) as a factory of variants; read it top to bottom.

With depth 5 and 64 base channels::

    level 0   64 ─────────────────────────── cat ─ 64 ─ head
    level 1     └ 128 ───────────────── cat ─ 128 ┘
    level 2         └ 256 ───────── cat ─ 256 ┘
    level 3             └ 512 ─ cat ─ 512 ┘
    level 4                 └ 1024 ┘
"""

import torch
from torch import Tensor, nn

from sparsecover.models.blocks import ConvBlock, Downsample, Norm, Upsample, upsampling
from sparsecover.models.levels import Dropout, encoder, minimum_px, rates_of, stride_of, widths_of
from sparsecover.models.network import SegmentationNetwork
from sparsecover.models.pretrained import load_encoder_file


class UNet(SegmentationNetwork):
    """U-Net for any number of bands and any size of image.

    Args:
        in_channels: bands C.
        num_classes: classes K.
        base_channels: maps at full resolution; each level below has twice as many.
        depth: resolution levels (5 levels are 4 downsamplings).
        downsample: ``maxpool`` or ``strided`` (a 3 x 3 convolution).
        upsample: ``transpose`` (a 2 x 2 transposed convolution), ``bilinear`` or ``nearest``.
        dropout: share of maps dropped after each block, in [0, 1): one for all levels, or one each, shallow to deep;
            ``growing`` is 0.1, 0.1, 0.2, 0.2, 0.3, ...
        norm: ``batch``, ``group`` or ``instance``; the last two also train with a batch of one small image.
        binary_head: one logit z, returned as (0, z); needs K = 2.
        encoder_weights: a local file with weights of this very encoder, such as a checkpoint, or None.

    Raises:
        ModelError: an option that cannot be meant.

    >>> UNet(in_channels=4, num_classes=6, base_channels=8)(torch.zeros(1, 4, 37, 50)).shape
    torch.Size([1, 6, 37, 50])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        base_channels: int = 64,
        depth: int = 5,
        downsample: Downsample = "maxpool",
        upsample: Upsample = "transpose",
        dropout: Dropout = 0.0,
        norm: Norm = "batch",
        binary_head: bool = False,
        encoder_weights: str | None = None,
    ) -> None:
        stride = stride_of(depth)
        super().__init__(
            in_channels, num_classes, stride=stride, minimum_px=minimum_px(norm, stride), binary_head=binary_head
        )
        widths, rates = widths_of(base_channels, depth), rates_of(dropout, depth)
        self.encoder = encoder(in_channels, widths, rates, downsample, norm)
        shallower = range(depth - 1)
        self.up = nn.ModuleList([upsampling(upsample, widths[i + 1], widths[i]) for i in shallower])
        self.decoder = nn.ModuleList([ConvBlock(2 * widths[i], widths[i], norm, rates[i]) for i in shallower])
        self.head = nn.Conv2d(widths[0], self.head_channels, kernel_size=1)
        if encoder_weights is not None:
            load_encoder_file(self.encoder, encoder_weights)

    def compute_logits(self, images: Tensor) -> Tensor:
        """Down the encoder, up the decoder."""
        skips: list[Tensor] = []
        x = images
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        logits: Tensor = self.head(x)
        return logits

    def encoder_module(self) -> nn.Module:
        """The way down."""
        return self.encoder
