"""Networks by name. This table needs no torch; a network's module is imported when one is made."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sparsecover.errors import ModelError
from sparsecover.registry import Part, Registry

if TYPE_CHECKING:
    from torch import nn

_UNET = "sparsecover.models.unet:UNet"
_SMP = "sparsecover.models.smp:create_smp"

_MODELS = Registry(
    "model",
    {
        "unet": Part(_UNET),
        "unet-maxpool-transpose": Part(_UNET, {"downsample": "maxpool", "upsample": "transpose"}),
        "unet-maxpool-upsample": Part(_UNET, {"downsample": "maxpool", "upsample": "bilinear"}),
        "unet-strided-transpose": Part(_UNET, {"downsample": "strided", "upsample": "transpose"}),
        "unet-strided-upsample": Part(_UNET, {"downsample": "strided", "upsample": "bilinear"}),
        "unet-dropout": Part(_UNET, {"dropout": "growing"}),
        "unetplusplus": Part("sparsecover.models.unetpp:UNetPlusPlus"),
        "torchvision-deeplabv3": Part("sparsecover.models.torchvision:TorchvisionDeepLabV3"),
        "hypercolumns": Part("sparsecover.models.hypercolumns:Hypercolumns"),
        "random-forest": Part("sparsecover.models.forest:create_forest"),
        "random-forest-features": Part("sparsecover.models.forest:create_feature_forest"),
        "smp-unet": Part(_SMP, {"architecture": "Unet"}),
        "smp-unetplusplus": Part(_SMP, {"architecture": "UnetPlusPlus"}),
        "smp-manet": Part(_SMP, {"architecture": "MAnet"}),
        "smp-linknet": Part(_SMP, {"architecture": "Linknet"}),
        "smp-fpn": Part(_SMP, {"architecture": "FPN"}),
        "smp-pspnet": Part(_SMP, {"architecture": "PSPNet"}),
        "smp-pan": Part(_SMP, {"architecture": "PAN"}),
        "smp-deeplabv3": Part(_SMP, {"architecture": "DeepLabV3"}),
        "smp-deeplabv3plus": Part(_SMP, {"architecture": "DeepLabV3Plus"}),
        "smp-upernet": Part(_SMP, {"architecture": "UPerNet"}),
        "smp-segformer": Part(_SMP, {"architecture": "Segformer"}),
    },
    {"in_channels": "the bands (data.bands)", "num_classes": "the classes"},
)


def list_models() -> list[str]:
    """Names that :func:`create_model` knows, sorted.

    >>> "unet" in list_models()
    True
    """
    return _MODELS.names()


def register_model(name: str, factory: Callable[..., "nn.Module"], *, replace: bool = False) -> None:
    """Make a network usable by name everywhere: in configurations, on the command line, in checkpoints.

    Args:
        name: the new name.
        factory: called as ``factory(in_channels=..., num_classes=..., **options)``; returns a module from float
            [N, C, H, W] to logits [N, K, H, W]. A network that only takes some sizes can be wrapped in
            :class:`~sparsecover.models.network.AnySize`.
        replace: allow a name that exists.

    Raises:
        ModelError: the name exists, or the factory cannot be called.
    """
    _MODELS.register(name, factory, replace=replace)


def check_model(name: str, options: Mapping[str, Any] | None = None) -> None:
    """See whether a configuration names a network and options that it takes, before anything is read or made.

    Args:
        name: one of :func:`list_models`.
        options: the network's own; None looks at the name alone, which needs no torch.

    Raises:
        ModelError: unknown name or option (the message lists near matches), or a value that cannot be meant.
    """
    own = None if options is None else {option: options[option] for option in options if option != "features"}
    features = (options or {}).get("features", False)
    if not isinstance(features, bool):
        raise ModelError(f"model.features is {features!r}; expected true or false.")
    _MODELS.check(name, own, lambda: _make_without_weights(name, options or {}))


def _make_without_weights(name: str, options: Mapping[str, Any]) -> None:
    from sparsecover.models.weightless import without_weights

    with without_weights():
        create_model(name, 3, 2, **{option: options[option] for option in options if option != "encoder_weights"})


def create_model(
    name: str, in_channels: int, num_classes: int, *, features: bool = False, **options: Any
) -> "nn.Module":
    """Make a network by name.

    Args:
        name: one of :func:`list_models`.
        in_channels: bands, from 1.
        num_classes: classes K, from 2 (two classes with one output: ``binary_head=True``).
        features: give the network the multi-scale features of ``random-forest-features`` beside the bands.
        **options: the network's own. ``encoder_weights`` is only needed where weights are first loaded: a network that
            is restored from a checkpoint is made with ``encoder_weights=None``.

    Returns:
        A module from float [N, C, H, W], any H and W from 1, to logits [N, K, H, W].

    Raises:
        ModelError: unknown name or option (the message lists near matches), or counts that cannot be meant.
        MissingPartError: the network needs an optional part that is not installed.

    >>> create_model("unet", 3, 5, base_channels=8).num_classes
    5
    """
    for what, count, least in (("in_channels", in_channels, 1), ("num_classes", num_classes, 2)):
        if isinstance(count, bool) or not isinstance(count, int) or count < least:
            hint = " Two classes with one output are num_classes=2, binary_head=True." if what == "num_classes" else ""
            raise ModelError(f"{what} is {count!r}; expected a whole number from {least}.{hint}")
    if features:
        from sparsecover.models.feature_input import FeatureInput

        return FeatureInput(in_channels, lambda channels: create_model(name, channels, num_classes, **options))
    network: nn.Module = _MODELS.create(name, options, in_channels=in_channels, num_classes=num_classes)
    return network
