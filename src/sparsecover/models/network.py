"""What all networks share: any number of bands, any height and width, the one-logit head, frozen encoder stages.

Padding happens here and nowhere else. A network only says its ``stride`` (sizes inside are multiples of it) and
computes logits of the padded image; reflecting keeps the texture at the border, and replicating takes over where an
image is too small to reflect.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsecover.errors import ModelError

Logits = Tensor | list[Tensor]


class SegmentationNetwork(nn.Module):
    """Float images [N, C, H, W] to logits [N, K, H, W]; subclasses write :meth:`compute_logits`.

    Args:
        in_channels: bands C.
        num_classes: classes K.
        stride: padded heights and widths are multiples of this many pixels.
        minimum_px: padded heights and widths are at least this.
        binary_head: compute one logit z for the class with index 1 and return the two logits (0, z); needs K = 2.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, stride: int = 1, minimum_px: int = 1, binary_head: bool = False
    ) -> None:
        super().__init__()
        if binary_head and num_classes != 2:
            raise ModelError(f"binary_head needs num_classes=2, not {num_classes}. Leave binary_head out.")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.stride = stride
        self.minimum_px = minimum_px
        self.binary_head = binary_head

    @property
    def head_channels(self) -> int:
        """Channels that the last layer computes."""
        return 1 if self.binary_head else self.num_classes

    def compute_logits(self, images: Tensor) -> Logits:
        """Logits of images whose sizes fit; a list of them under deep supervision."""
        raise NotImplementedError

    def encoder_module(self) -> nn.Module | None:
        """The part that can be frozen and have its own learning rate, or None."""
        return None

    def forward(self, images: Tensor) -> Logits:
        """Pad, compute, crop.

        Raises:
            ModelError: not a float tensor [N, C, H, W] with the network's number of bands; in training, a batch too
                small to normalise over.
        """
        self._check(images)
        height, width = images.shape[-2:]
        padded = channels_last(pad(images, self.stride, self.minimum_px))
        try:
            logits = self.compute_logits(padded)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ModelError(
                f"A batch {list(images.shape)} leaves BatchNorm a single value per channel, which has no spread. Train "
                "with batches of at least 2 images, with larger ones, or with norm='group' where the network has it."
            ) from error
        if isinstance(logits, Tensor):
            return self._finish(logits, height, width)
        return [self._finish(each, height, width) for each in logits]

    def train(self, mode: bool = True) -> "SegmentationNetwork":
        """Set the training mode; a BatchNorm with frozen parameters stays in eval mode and keeps its statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and is_frozen(module):
                module.eval()
        return self

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ModelError(
                f"The network takes images [N, {self.in_channels}, H, W], but got {list(images.shape)}. "
                f"Select {self.in_channels} bands, or make the network with in_channels={images.shape[-3:][0]}."
            )
        if not images.is_floating_point():
            raise ModelError(f"The network takes normalised float images, but got {images.dtype}. Normalise them.")

    def _finish(self, logits: Tensor, height: int, width: int) -> Tensor:
        logits = logits[..., :height, :width]
        return two_logits(logits) if self.binary_head else logits


class AnySize(SegmentationNetwork):
    """A foreign network that takes only sizes that are multiples of its stride, made to take any.

    Args:
        network: [N, C, h, w] to [N, K, h, w] (K = 1 with ``binary_head``).
        in_channels: bands C.
        num_classes: classes K.
        stride: h and w are multiples of this many pixels.
        minimum_px: h and w are at least this.
        binary_head: see :class:`SegmentationNetwork`.
        encoder: the name of the network's submodule that can be frozen, such as ``"encoder"``; None has none.
    """

    def __init__(
        self,
        network: nn.Module,
        in_channels: int,
        num_classes: int,
        *,
        stride: int,
        minimum_px: int = 1,
        binary_head: bool = False,
        encoder: str | None = None,
    ) -> None:
        super().__init__(in_channels, num_classes, stride=stride, minimum_px=minimum_px, binary_head=binary_head)
        self.network = network
        self.encoder_name = encoder

    def compute_logits(self, images: Tensor) -> Logits:
        """The foreign network's output."""
        logits: Tensor = self.network(images)
        return logits

    def encoder_module(self) -> nn.Module | None:
        """The foreign network's encoder."""
        return None if self.encoder_name is None else self.network.get_submodule(self.encoder_name)


def pad(images: Tensor, multiple: int, minimum_px: int = 1) -> Tensor:
    """Pad [N, C, H, W] at the bottom and right to multiples of ``multiple`` that are at least ``minimum_px``.

    Each axis is reflected where it is longer than what is missing, else its last row or column is replicated.
    """
    height, width = images.shape[-2:]
    below = _missing(height, multiple, minimum_px)
    right = _missing(width, multiple, minimum_px)
    if below:
        images = F.pad(images, (0, 0, 0, below), mode="reflect" if below < height else "replicate")
    if right:
        images = F.pad(images, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    return images


def _missing(length: int, multiple: int, minimum_px: int) -> int:
    least = max(length, minimum_px)
    # Never divides a negative number, which ONNX rounds the other way.
    return (least + multiple - 1) // multiple * multiple - length


def channels_last(images: Tensor) -> Tensor:
    """The same images with the bands of a pixel side by side, the layout in which convolutions are fastest.

    Every layer after keeps the layout of its input, so weights may stay as they are.
    """
    if images.device.type not in ("cpu", "cuda"):
        return images
    if images.shape[1] == 1:  # both layouts at once, and torch would take it for the plain one
        number, _, height, width = images.shape
        return images.reshape(number, height, width, 1).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)


def two_logits(logit: Tensor) -> Tensor:
    """One logit z [N, 1, H, W] of the class with index 1 as the two logits (0, z), whose softmax is sigmoid(z)."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)


def is_frozen(module: nn.Module) -> bool:
    """True where a module has parameters and none is trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)
