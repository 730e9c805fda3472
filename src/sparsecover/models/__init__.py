"""Networks by name, ours and others'; nothing here imports torch before it is used."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.models.freezing import EncoderFreezer as EncoderFreezer
    from sparsecover.models.freezing import encoder_parameters as encoder_parameters
    from sparsecover.models.fusing import fold_batchnorm as fold_batchnorm
    from sparsecover.models.fusing import prepare_for_cpu as prepare_for_cpu
    from sparsecover.models.network import AnySize as AnySize
    from sparsecover.models.network import SegmentationNetwork as SegmentationNetwork
    from sparsecover.models.registry import check_model as check_model
    from sparsecover.models.registry import create_model as create_model
    from sparsecover.models.registry import list_models as list_models
    from sparsecover.models.registry import register_model as register_model
    from sparsecover.models.table import ModelRow as ModelRow
    from sparsecover.models.table import model_table as model_table
    from sparsecover.models.unet import UNet as UNet
    from sparsecover.models.unetpp import UNetPlusPlus as UNetPlusPlus
    from sparsecover.models.weightless import without_weights as without_weights

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EncoderFreezer": "freezing",
        "encoder_parameters": "freezing",
        "fold_batchnorm": "fusing",
        "prepare_for_cpu": "fusing",
        "AnySize": "network",
        "SegmentationNetwork": "network",
        "check_model": "registry",
        "create_model": "registry",
        "list_models": "registry",
        "register_model": "registry",
        "ModelRow": "table",
        "model_table": "table",
        "UNet": "unet",
        "UNetPlusPlus": "unetpp",
        "without_weights": "weightless",
    },
)
