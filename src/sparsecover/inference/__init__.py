"""Maps of scenes of any size: streamed, blended, resumable, in bounded memory."""

from sparsecover.inference.cluster import Cluster, open_cluster
from sparsecover.inference.exporting import ExportReport, export
from sparsecover.inference.many import predict_many
from sparsecover.inference.outputs import MapProduct
from sparsecover.inference.predicting import Strip, predict, predict_strips
from sparsecover.inference.progress import Progress, Reporter
from sparsecover.inference.settings import Settings

__all__ = [
    "Cluster",
    "ExportReport",
    "MapProduct",
    "Progress",
    "Reporter",
    "Settings",
    "Strip",
    "export",
    "open_cluster",
    "predict",
    "predict_many",
    "predict_strips",
]
