"""Recipes by name: those that come with the package, and files."""

from pathlib import Path

import sparsecover
from sparsecover.config import read_yaml
from sparsecover.errors import ConfigError, nearest

_PACKAGE = Path(sparsecover.__file__).parent
_SHELVES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")  # installed; in a checkout


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe, given as a path or by the name of one that comes with the package.

    Raises:
        ConfigError: there is none; the message names the nearest ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    shelved = shelved_recipes()
    if str(name) not in shelved:
        raise ConfigError(f"There is no recipe {str(name)!r}, as a file or by name. {nearest(str(name), shelved)}")
    return shelved[str(name)]


def paths_start(recipe: Path) -> Path:
    """Where relative paths in a recipe start: in its folder, and of those of the package in the working one."""
    return Path() if recipe.resolve().parent in _SHELVES else recipe.parent


def shelved_recipes() -> dict[str, Path]:
    """Recipes of experiments that come with the package, by name."""
    files = [path for shelf in _SHELVES if shelf.is_dir() for path in sorted(shelf.glob("*.yaml"))]
    return {path.stem: path for path in files if "grid" in read_yaml(path)}
