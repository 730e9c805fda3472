"""A network that sees the forest's multi-scale features beside the bands."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsecover.errors import ModelError
from sparsecover.models.features import MultiScaleFeatures
from sparsecover.models.network import Logits, SegmentationNetwork


class Standardised(nn.BatchNorm2d):
    """BatchNorm that is plain arithmetic in eval mode.

    The exporter to ONNX refuses BatchNorm of the features, "for unknown channel size".
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] with mean 0 and variance 1, of the batch in training and of the running statistics later."""
        if self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        mean, spread = (each.view(-1, 1, 1) for each in (self.running_mean, (self.running_var + self.eps).sqrt()))
        return (x - mean).div_(spread)


class FeatureInput(SegmentationNetwork):
    """Any network with the features of ``random-forest-features`` as further input channels.

    The features are computed from each window, mirrored at its border, and standardised by statistics that are learnt
    from training windows (BatchNorm without its own scale and offset). The bands come first and as they are, so that
    pretrained filters keep theirs.

    Args:
        in_channels: bands C.
        make: makes the network for a number of channels.

    Raises:
        ModelError: a model that makes its own features.
    """

    def __init__(self, in_channels: int, make: Callable[[int], nn.Module]) -> None:
        features = MultiScaleFeatures(in_channels)
        network = make(features.out_channels)
        if not isinstance(network, SegmentationNetwork) or hasattr(network, "fit_pixels"):
            own = type(network).__name__
            raise ModelError(f"features=True is for networks that learn in epochs; {own} takes the bands alone.")
        super().__init__(in_channels, network.num_classes, stride=network.stride)
        self.features = features
        self.scale = Standardised(features.out_channels - in_channels, affine=False)
        self.network = network

    def forward(self, images: Tensor) -> Logits:
        """Logits of normalised images [N, C, H, W]; see :class:`SegmentationNetwork`."""
        self._check(images)
        made = self.scale(self.features(images.float())[:, self.in_channels :])
        logits: Logits = self.network(torch.cat([images, made.to(images.dtype)], dim=1))
        return logits

    def encoder_module(self) -> nn.Module | None:
        """The network's own."""
        return self.network.encoder_module()
