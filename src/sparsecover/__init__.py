"""Land-cover maps from sparse labels.

Public names are imported on first use, so that ``import sparsecover`` costs nothing and needs neither torch nor GDAL.
"""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sparsecover.checkpoint import Checkpoint as Checkpoint
    from sparsecover.checkpoint import load_checkpoint as load_checkpoint
    from sparsecover.checkpoint import load_model as load_model
    from sparsecover.classes import UNLABELLED as UNLABELLED
    from sparsecover.classes import ClassScheme as ClassScheme
    from sparsecover.config import Config as Config
    from sparsecover.datasets import make_demo as make_demo
    from sparsecover.errors import SparseCoverError as SparseCoverError
    from sparsecover.evaluation import Assessment as Assessment
    from sparsecover.grid import Grid as Grid
    from sparsecover.grid import Window as Window
    from sparsecover.inference import MapProduct as MapProduct
    from sparsecover.inference import export as export
    from sparsecover.inference import predict as predict
    from sparsecover.labels import LabelRaster as LabelRaster
    from sparsecover.labels import burn_labels as burn_labels
    from sparsecover.labels import read_labels as read_labels
    from sparsecover.labels import simulate_labels as simulate_labels
    from sparsecover.losses import create_loss as create_loss
    from sparsecover.losses import register_loss as register_loss
    from sparsecover.models import create_model as create_model
    from sparsecover.models import register_model as register_model
    from sparsecover.patches import PatchDataset as PatchDataset
    from sparsecover.patches import plan_patches as plan_patches
    from sparsecover.pipeline import evaluate as evaluate
    from sparsecover.pipeline import make_map as make_map
    from sparsecover.raster import Scene as Scene
    from sparsecover.raster import open_scene as open_scene
    from sparsecover.training import Trainer as Trainer
    from sparsecover.training import fit as fit

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Checkpoint": "checkpoint",
        "load_checkpoint": "checkpoint",
        "load_model": "checkpoint",
        "ClassScheme": "classes",
        "UNLABELLED": "classes",
        "Config": "config",
        "make_demo": "datasets",
        "SparseCoverError": "errors",
        "Assessment": "evaluation",
        "Grid": "grid",
        "Window": "grid",
        "MapProduct": "inference",
        "export": "inference",
        "predict": "inference",
        "LabelRaster": "labels",
        "burn_labels": "labels",
        "read_labels": "labels",
        "simulate_labels": "labels",
        "create_loss": "losses",
        "register_loss": "losses",
        "create_model": "models",
        "register_model": "models",
        "PatchDataset": "patches",
        "plan_patches": "patches",
        "evaluate": "pipeline",
        "make_map": "pipeline",
        "Scene": "raster",
        "open_scene": "raster",
        "Trainer": "training",
        "fit": "training",
    },
)
