"""Encoders whose licence forbids uses that a user of MIT-licensed software expects."""

import re

from sparsecover.errors import ModelError

# The code in segmentation-models-pytorch is under these licences itself, whatever the weights.
_CODE = (
    (r"mit_b\d", "NVIDIA's licence of SegFormer: research and evaluation only, no commercial use"),
    (r"mobileone_s\d", "Apple's licence of MobileOne, which is not an open-source licence"),
)
_WEIGHTS = (
    (r"ssl|swsl|instagram", "CC BY-NC 4.0: no commercial use"),  # Facebook's semi- and weakly supervised ResNets
)
# As timm states them; anything else it states has conditions of its own. Where it states nothing, nothing is known.
_OPEN = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
_UNSTATED = ("", "unknown")


def check_licence(encoder: str, weights: str | None, stated: str | None, *, allowed: bool) -> None:
    """Refuse an encoder or its weights where the licence restricts their use.

    Args:
        encoder: name in segmentation-models-pytorch, with ``tu-`` before a name in timm.
        weights: name of the pretrained weights, or None.
        stated: the licence that timm states for the weights, or None.
        allowed: the user accepts the licence.

    Raises:
        ModelError: restricted and not allowed, with the reason.
    """
    reason = _restriction(encoder, weights, stated)
    if reason and not allowed:
        raise ModelError(
            f"The encoder {encoder!r} is under a restrictive licence ({reason}). Choose another, such as 'resnet34' or "
            "'efficientnet-b0', or accept the licence with allow_restricted_licence=True."
        )


def _restriction(encoder: str, weights: str | None, stated: str | None) -> str | None:
    for pattern, reason in _CODE:
        if re.fullmatch(pattern, encoder):
            return reason
    if weights is None:
        return None
    for pattern, reason in _WEIGHTS:
        if re.fullmatch(pattern, weights):
            return reason
    if stated not in (None, *_UNSTATED, *_OPEN):
        return f"timm states '{stated}' for these weights"
    return None
