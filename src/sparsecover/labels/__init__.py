"""Labels: vectors burnt, rasters read, partial ones simulated, groups held out, classes weighed.

Names are imported on first use: drawing samples needs neither GDAL nor pandas, which take ten times its memory.
"""

from typing import TYPE_CHECKING

from sparsecover.lazy import lazy_names

if TYPE_CHECKING:
    from sparsecover.labels.arrays import check_memory as check_memory
    from sparsecover.labels.burn import Conflict as Conflict
    from sparsecover.labels.code_table import CodeTable as CodeTable
    from sparsecover.labels.coding import scheme_of as scheme_of
    from sparsecover.labels.coding import unknown_in_files as unknown_in_files
    from sparsecover.labels.features import is_vector as is_vector
    from sparsecover.labels.features import place_features as place_features
    from sparsecover.labels.features import read_features as read_features
    from sparsecover.labels.features import split_layer as split_layer
    from sparsecover.labels.groups import LabelGroups as LabelGroups
    from sparsecover.labels.groups import label_groups as label_groups
    from sparsecover.labels.groups import pixel_weights as pixel_weights
    from sparsecover.labels.holdout import apart as apart
    from sparsecover.labels.holdout import assign_groups as assign_groups
    from sparsecover.labels.holdout import buffer_note as buffer_note
    from sparsecover.labels.holdout import hold_out as hold_out
    from sparsecover.labels.holdout import k_folds as k_folds
    from sparsecover.labels.holdout import near as near
    from sparsecover.labels.label_file import LabelFile as LabelFile
    from sparsecover.labels.label_raster import LabelRaster as LabelRaster
    from sparsecover.labels.label_raster import LabelSet as LabelSet
    from sparsecover.labels.mask import read_labels as read_labels
    from sparsecover.labels.mask_file import MaskFile as MaskFile
    from sparsecover.labels.opening import open_labels as open_labels
    from sparsecover.labels.samplers import SAMPLERS as SAMPLERS
    from sparsecover.labels.shared_ground import apart_on_ground as apart_on_ground
    from sparsecover.labels.shared_ground import ground_of as ground_of
    from sparsecover.labels.shared_ground import held_elsewhere as held_elsewhere
    from sparsecover.labels.shared_ground import sharing_ground as sharing_ground
    from sparsecover.labels.shared_ground import without_ground as without_ground
    from sparsecover.labels.simulate import check_request as check_request
    from sparsecover.labels.simulate import fewer_than_asked as fewer_than_asked
    from sparsecover.labels.simulate import simulate_labels as simulate_labels
    from sparsecover.labels.simulate_windows import simulate_file as simulate_file
    from sparsecover.labels.valid_pixels import ValidPixels as ValidPixels
    from sparsecover.labels.valid_pixels import valid_mask as valid_mask
    from sparsecover.labels.vector import burn_label_set as burn_label_set
    from sparsecover.labels.vector import burn_labels as burn_labels
    from sparsecover.labels.vector import count_features as count_features
    from sparsecover.labels.vector import vector_values as vector_values
    from sparsecover.labels.vectorize import check_vector_file as check_vector_file
    from sparsecover.labels.vectorize import labels_to_vectors as labels_to_vectors
    from sparsecover.labels.vectorize import write_label_vectors as write_label_vectors
    from sparsecover.labels.weights import class_counts as class_counts
    from sparsecover.labels.weights import class_weights as class_weights

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "check_memory": "arrays",
        "Conflict": "burn",
        "scheme_of": "coding",
        "unknown_in_files": "coding",
        "is_vector": "features",
        "split_layer": "features",
        "place_features": "features",
        "read_features": "features",
        "LabelGroups": "groups",
        "label_groups": "groups",
        "pixel_weights": "groups",
        "apart": "holdout",
        "assign_groups": "holdout",
        "buffer_note": "holdout",
        "hold_out": "holdout",
        "k_folds": "holdout",
        "near": "holdout",
        "LabelFile": "label_file",
        "LabelRaster": "label_raster",
        "LabelSet": "label_raster",
        "read_labels": "mask",
        "CodeTable": "code_table",
        "MaskFile": "mask_file",
        "open_labels": "opening",
        "SAMPLERS": "samplers",
        "apart_on_ground": "shared_ground",
        "ground_of": "shared_ground",
        "held_elsewhere": "shared_ground",
        "sharing_ground": "shared_ground",
        "without_ground": "shared_ground",
        "fewer_than_asked": "simulate",
        "check_request": "simulate",
        "simulate_labels": "simulate",
        "simulate_file": "simulate_windows",
        "ValidPixels": "valid_pixels",
        "valid_mask": "valid_pixels",
        "burn_label_set": "vector",
        "burn_labels": "vector",
        "count_features": "vector",
        "vector_values": "vector",
        "check_vector_file": "vectorize",
        "labels_to_vectors": "vectorize",
        "write_label_vectors": "vectorize",
        "class_counts": "weights",
        "class_weights": "weights",
    },
)
