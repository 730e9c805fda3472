"""What all pages share: templates, filters for figures, pictures inlined. Nothing is loaded from elsewhere."""

import base64
import math
from typing import TYPE_CHECKING

from sparsecover import figures

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment(*packages: str) -> "Environment":
    """Templates of some packages, found in their order; all texts are escaped, unknown names are errors."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "score": lambda x: "–" if math.isnan(x) else f"{x:.3f}",
        "percent": _percent,
        "area": _area,
        "duration": _duration,
        "css": lambda color: "#{:02x}{:02x}{:02x}".format(*color),
        "png": lambda picture: data_uri(figures.encode(picture, "png"), "png"),
        "jpeg": lambda picture: data_uri(figures.encode(picture, "jpeg"), "jpeg"),
    }
    return environment


def data_uri(data: bytes, kind: str) -> str:
    """A picture as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _percent(share: float) -> str:
    if share and share < 0.001:
        return f"{100 * share:.2g}%"
    return f"{100 * share:.1f}%"


def _area(hectares: float) -> str:
    digits = 0 if hectares >= 1000 else 1 if hectares >= 10 else 3
    return f"{hectares:,.{digits}f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
