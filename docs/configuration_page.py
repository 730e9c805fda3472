"""Write the tables of docs/configuration.md from the configuration's own fields; to be run when these have changed.

python docs/configuration_page.py
"""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sparsecover.config import AugmentConfig, Config, SimulateConfig
from sparsecover.patches.augment import Augmenter

PAGE = Path(__file__).with_name("configuration.md")
TABLES = "\n## At the top\n"
SECTIONS = {
    "data": "Where scenes and labels are, and how they are read ([data.md](data.md)).",
    "data.simulate": "Partial labels made from dense ones; of training labels only.",
    "split": "Which labels train, which steer, which score ([data.md](data.md#splits)).",
    "patches": "Windows for training.",
    "augment": "Variation of these windows; each strength is an upper limit, 0 leaves that part out.",
    "model": "The network ([models-and-losses.md](models-and-losses.md)).",
    "loss": "The loss on labelled pixels ([models-and-losses.md](models-and-losses.md#losses)).",
    "optim": "The optimiser.",
    "schedule": "The learning rate over time ([training.md](training.md#learning-rate)).",
    "train": "The loop ([training.md](training.md)).",
}


def page() -> str:
    """The page as Markdown: its introduction as it is, and the tables anew."""
    sections = {"": Config} | {name: section(name) for name in SECTIONS}
    introduction = PAGE.read_text(encoding="utf-8").partition(TABLES)[0]
    return introduction + "".join(_table(name, model) for name, model in sections.items())


def section(name: str) -> type[BaseModel]:
    """The model of a section by its dotted name."""
    special = {"data.simulate": SimulateConfig, "augment": AugmentConfig}
    return special.get(name) or type(getattr(Config(), name))


def _table(name: str, model: type[BaseModel]) -> str:
    dotted = {f"{name}.{key}" if name else key: field for key, field in model.model_fields.items()}
    rows = [_row(key, field) for key, field in dotted.items() if field.description or key not in SECTIONS]
    rows += _strengths() if name == "augment" else ()
    heading = f"\n## `{name}`\n{SECTIONS[name]}\n\n" if name else TABLES
    return heading + "\n".join(["| key | default | says |", "|---|---|---|", *rows, ""])


def _row(key: str, field: FieldInfo) -> str:
    assert field.description, f"{key} has no description"
    return f"| `{key}` | `{_plain(field.default)}` | {_cell(field.description, _choices(field.annotation))} |"


def _strengths() -> Iterator[str]:
    """The options of an Augmenter, described in its docstring."""
    for field in fields(Augmenter):
        found = re.search(rf"^ +{field.name}: (.*?)(?=\n +\w+: |\n\n|\Z)", Augmenter.__doc__ or "", flags=re.M | re.S)
        assert found, field.name
        yield f"| `augment.{field.name}` | by preset | {_cell(' '.join(found[1].split()).rstrip('.'), ())} |"


def _cell(text: str, choices: tuple[Any, ...]) -> str:
    listed = f" ({', '.join(f'`{choice}`' for choice in choices)})" if len(choices) > 1 else ""
    return re.sub(r"\b([\w-]+\.md)\b", r"[\1](\1)", text) + listed


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal, also of one among other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


def _plain(value: Any) -> str:
    """As YAML has it, on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
