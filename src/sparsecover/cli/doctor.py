"""``sparsecover doctor``."""

import click

# What each optional part brings, and the extra that installs it.
OPTIONAL_PARTS = {
    "segmentation_models_pytorch": ("smp", "encoders and decoders of segmentation-models-pytorch"),
    "torchvision": ("torchvision", "torchvision's DeepLabV3"),
    "onnxruntime": ("onnx", "export and ONNX Runtime"),
    "distributed": ("dask", "prediction on several processes or machines"),
    "tensorboard": ("tensorboard", "TensorBoard logs"),
}
FORMATS = ("GTiff", "COG", "VRT", "JP2OpenJPEG", "PNG", "JPEG")


@click.command("doctor")
def command() -> None:
    """Show versions, devices, formats and optional parts, and what to install for what is missing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for what, state, advice in _findings():
        mark = "[green]ok[/]" if not advice else "[yellow]--[/]"
        table.add_row(mark, Text(what), Text(state), Text(advice))
    Console().print(table)


def _findings() -> list[tuple[str, str, str]]:
    """Rows (what, state, advice or nothing)."""
    return [*_versions(), *_devices(), *_formats(), *_optional()]


def _versions() -> list[tuple[str, str, str]]:
    import platform
    from importlib.metadata import version

    names = ("sparsecover", "torch", "lightning-fabric", "rasterio", "geopandas", "numpy", "scikit-learn")
    return [("Python", platform.python_version(), ""), *((name, version(name), "") for name in names)]


def _devices() -> list[tuple[str, str, str]]:
    import psutil
    import torch

    memory = f"{psutil.virtual_memory().available / 2**30:.1f} GiB free of {psutil.virtual_memory().total / 2**30:.1f}"
    rows = [("CPU", f"{torch.get_num_threads()} threads, {memory}", "")]
    for index in range(torch.cuda.device_count()):
        size = torch.cuda.get_device_properties(index).total_memory / 2**30
        rows.append((f"GPU {index}", f"{torch.cuda.get_device_name(index)}, {size:.1f} GiB", ""))
    if torch.backends.mps.is_available():
        rows.append(("GPU", "Apple Metal (mps)", ""))
    if len(rows) == 1:
        rows.append(("GPU", "none found", "networks train on the CPU; a CUDA build of torch would use an NVIDIA GPU"))
    return rows


def _formats() -> list[tuple[str, str, str]]:
    from sparsecover.raster import available_formats

    present = available_formats()
    return [
        (f"format {name}", "reads" if name in present else "missing", "" if name in present else "reinstall rasterio")
        for name in FORMATS
    ]


def _optional() -> list[tuple[str, str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    rows = []
    for module, (extra, purpose) in OPTIONAL_PARTS.items():
        try:
            rows.append((extra, f"{version(module.replace('_', '-'))}: {purpose}", ""))
        except PackageNotFoundError:
            rows.append((extra, f"not installed: {purpose}", f"pip install 'sparsecover[{extra}]'"))
    return rows
