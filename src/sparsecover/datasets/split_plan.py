"""A division of labels into sides as a file: to be read, compared by its digest, changed by hand, and used again."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sparsecover.atomic import write_file
from sparsecover.config import Section
from sparsecover.errors import DataError

Side = Literal["train", "validation", "test"]


class GroupSide(Section):
    """A block or a polygon: its bounding box (row, column, height, width), its labelled pixels, its side."""

    window: tuple[int, int, int, int]
    pixels: int
    side: Side


class SceneSide(Section):
    """A scene: as a whole on one side (None: on none), or in groups on several.

    ``labels`` is a digest of the groups' pixels: a plan of groups holds for these labels only.
    """

    name: str
    side: Side | None = None
    groups: tuple[GroupSide, ...] | None = None
    labels: str | None = None


class SplitPlan(Section):
    """Which labels are on which side.

    Attributes:
        by: the kind of split; ``block`` and ``polygon`` divide the labels of each scene.
        scenes: in the order of the dataset.
        block_px: side of the blocks; None: an even division of the labelled area.
        link_px: points of a class at most this far apart are one group.
        buffer_px: training labels nearer than this to labels of another side are left out.
        buffer_may_shrink: whether a narrower buffer is taken where this one would leave too little.
    """

    format: Literal["sparsecover split 1"] = "sparsecover split 1"
    by: str
    block_px: int | None = None
    link_px: int = 0
    buffer_px: int = 0
    buffer_may_shrink: bool = True
    scenes: tuple[SceneSide, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of what the plan says: the same for the same division."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """A scene or a group a line."""
        head = self.model_dump(mode="json", exclude={"scenes"})
        lines = ",\n  ".join(_scene_json(scene) for scene in self.scenes)
        return json.dumps(head, indent=1)[:-2] + f',\n "scenes": [\n  {lines}\n ]\n}}\n'

    def write(self, path: Path) -> None:
        """Write the plan under a temporary name and rename it when it is whole.

        Raises:
            OutputError: the folder cannot be written to.
        """
        write_file(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> "SplitPlan":
        """Read a plan.

        Raises:
            DataError: no such file, or not a plan.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"The split plan {path} cannot be read: {error}.") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(f"{path} is not a split plan: {where}: {first['msg']}.") from None


def _scene_json(scene: SceneSide) -> str:
    if scene.groups is None:
        return json.dumps({"name": scene.name, "side": scene.side})
    groups: Sequence[str] = [json.dumps(group.model_dump(mode="json")) for group in scene.groups]
    head = json.dumps({"name": scene.name, "labels": scene.labels})[:-1]
    listed = ",\n    ".join(groups)
    return f'{head}, "groups": [\n    {listed}\n  ]}}'
