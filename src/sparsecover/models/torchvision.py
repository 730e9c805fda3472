"""torchvision's DeepLabV3 with a ResNet-50 (extra ``torchvision``), for any number of bands and any size."""

import functools

from torch import Tensor, nn

from sparsecover.errors import ModelError, nearest
from sparsecover.models.network import SegmentationNetwork
from sparsecover.models.pretrained import State, download, is_file_name, load_encoder, read_weights
from sparsecover.models.torchvision_pairing import import_beside_torchvision

_WEIGHTS = {"imagenet": "IMAGENET1K_V2", "imagenet-v1": "IMAGENET1K_V1"}


class TorchvisionDeepLabV3(SegmentationNetwork):
    """DeepLabV3 (Chen et al. 2017) with an encoder of output stride 8.

    Args:
        in_channels: bands C.
        num_classes: classes K.
        encoder_weights: ``"imagenet"`` or ``"imagenet-v1"`` (downloaded), path of a local file of a ResNet-50, or None.
        binary_head: one logit z, returned as (0, z); needs K = 2.

    Raises:
        ModelError: weights that cannot be had.
        MissingPartError: torchvision is not installed.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        encoder_weights: str | None = None,
        binary_head: bool = False,
    ) -> None:
        super().__init__(in_channels, num_classes, stride=8, binary_head=binary_head)
        library = import_beside_torchvision("torchvision.models", extra="torchvision")
        self.network = library.segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=self.head_channels, aux_loss=False
        )
        first = self.network.backbone.conv1
        self.network.backbone.conv1 = nn.Conv2d(
            in_channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False
        )
        if encoder_weights is not None:
            load_encoder(self.network.backbone, resnet50_weights(encoder_weights), repr(encoder_weights))

    def compute_logits(self, images: Tensor) -> Tensor:
        """The main output."""
        logits: Tensor = self.network(images)["out"]
        return logits

    def encoder_module(self) -> nn.Module:
        """The ResNet."""
        backbone: nn.Module = self.network.backbone
        return backbone


def resnet50_weights(weights: str) -> State:
    """Tensors of torchvision's ResNet-50 by name, from a local file or downloaded."""
    if is_file_name(weights):
        return read_weights(weights)
    if weights not in _WEIGHTS:
        raise ModelError(f"Unknown weights {weights!r} of ResNet-50. {nearest(weights, _WEIGHTS)}")
    library = import_beside_torchvision("torchvision.models", extra="torchvision")
    chosen = library.ResNet50_Weights[_WEIGHTS[weights]]
    fetch = functools.partial(chosen.get_state_dict, progress=False, check_hash=True)
    return download(fetch, weights, "resnet50", chosen.url)
