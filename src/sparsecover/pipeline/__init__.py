"""Whole jobs over all parts, as the command line calls them; imported on first use, since checks need no torch."""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.pipeline.checking import CheckResult as CheckResult
    from sparsecover.pipeline.checking import check_config as check_config
    from sparsecover.pipeline.checking import check_inputs as check_inputs
    from sparsecover.pipeline.cross_validating import CrossValidation as CrossValidation
    from sparsecover.pipeline.cross_validating import cross_validate as cross_validate
    from sparsecover.pipeline.demo import DemoResult as DemoResult
    from sparsecover.pipeline.demo import run_demo as run_demo
    from sparsecover.pipeline.evaluating import evaluate as evaluate
    from sparsecover.pipeline.evaluating import evaluate_checkpoint as evaluate_checkpoint
    from sparsecover.pipeline.evaluating import evaluate_map_files as evaluate_map_files
    from sparsecover.pipeline.extracting import extract_folder as extract_folder
    from sparsecover.pipeline.extracting import extract_scene as extract_scene
    from sparsecover.pipeline.inputs import Inputs as Inputs
    from sparsecover.pipeline.inputs import LabelOptions as LabelOptions
    from sparsecover.pipeline.inputs import open_inputs as open_inputs
    from sparsecover.pipeline.known_data import describe_data as describe_data
    from sparsecover.pipeline.known_data import describe_layout as describe_layout
    from sparsecover.pipeline.known_data import download_known as download_known
    from sparsecover.pipeline.label_files import burn_to_file as burn_to_file
    from sparsecover.pipeline.label_files import describe_labels as describe_labels
    from sparsecover.pipeline.label_files import simulate_to_file as simulate_to_file
    from sparsecover.pipeline.mapping import MapResult as MapResult
    from sparsecover.pipeline.mapping import make_map as make_map
    from sparsecover.pipeline.predicting import PredictedBatch as PredictedBatch
    from sparsecover.pipeline.predicting import predict_files as predict_files
    from sparsecover.pipeline.recipe import choose_recipe as choose_recipe
    from sparsecover.pipeline.scoring import score_checkpoint as score_checkpoint
    from sparsecover.pipeline.splitting import write_split as write_split
    from sparsecover.pipeline.training import find_rate as find_rate
    from sparsecover.pipeline.training import train as train

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CheckResult": "checking",
        "check_config": "checking",
        "check_inputs": "checking",
        "CrossValidation": "cross_validating",
        "cross_validate": "cross_validating",
        "DemoResult": "demo",
        "run_demo": "demo",
        "evaluate": "evaluating",
        "evaluate_checkpoint": "evaluating",
        "evaluate_map_files": "evaluating",
        "extract_folder": "extracting",
        "extract_scene": "extracting",
        "Inputs": "inputs",
        "LabelOptions": "inputs",
        "open_inputs": "inputs",
        "describe_data": "known_data",
        "describe_layout": "known_data",
        "download_known": "known_data",
        "burn_to_file": "label_files",
        "describe_labels": "label_files",
        "simulate_to_file": "label_files",
        "MapResult": "mapping",
        "make_map": "mapping",
        "PredictedBatch": "predicting",
        "predict_files": "predicting",
        "choose_recipe": "recipe",
        "score_checkpoint": "scoring",
        "find_rate": "training",
        "write_split": "splitting",
        "train": "training",
    },
)
