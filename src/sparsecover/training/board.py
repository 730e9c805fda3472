"""The history for TensorBoard, where it is installed."""

import importlib.util
from pathlib import Path
from typing import Any

from sparsecover.training.history import Row


class Board:
    """Writes rows of a history as scalars; without TensorBoard installed it does nothing.

    A row that is written again after a resume stands at the same step with the same values.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, row: Row) -> None:
        """Write all figures of an epoch, so that they can be seen at once."""
        if importlib.util.find_spec("tensorboard") is None:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        for name, value in row.items():
            if value is not None and name not in ("epoch", "step"):
                self._writer.add_scalar(_tag(name), value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Write no more."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tag(column: str) -> str:
    """Columns grouped as TensorBoard shows them: losses together, IoU by class together."""
    if column.startswith("iou_"):
        return f"iou/{column.removeprefix('iou_')}"
    return f"loss/{column.removesuffix('_loss')}" if column.endswith("_loss") else column
