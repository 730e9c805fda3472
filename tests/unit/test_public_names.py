"""Public names that are imported on first use."""

import importlib
import pkgutil

import sparsecover


def test_no_public_name_is_also_a_module_which_an_import_would_put_in_its_place() -> None:
    packages = [sparsecover, *(importlib.import_module(m.name) for m in pkgutil.walk_packages(
        sparsecover.__path__, "sparsecover.") if m.ispkg)]  # fmt: skip
    clashes = {
        f"{package.__name__}.{module.name}"
        for package in packages
        for module in pkgutil.iter_modules(package.__path__)
        if module.name in getattr(package, "__all__", ())
    }
    assert len(packages) > 10
    assert not clashes
