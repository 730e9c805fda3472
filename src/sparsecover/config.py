"""The typed configuration: one object, from YAML and ``key=value`` settings, saved in every checkpoint."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sparsecover.errors import ConfigError, near_files
from sparsecover.mistakes import explain


def color_code(value: Any) -> Any:
    """``#RRGGBB`` as the code it has in a colour mask, red * 65536 + green * 256 + blue; all else as it is.

    >>> color_code("#0001FF"), color_code("7")
    (511, '7')
    """
    return int(value[1:], 16) if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value) else value


Auto = Literal["auto"]
Code = Annotated[int, BeforeValidator(color_code)]
_Share = Annotated[float, Field(gt=0)]
_Side = Annotated[int, Field(ge=1)]
_Distance = Annotated[int, Field(ge=0)]
AugmentPreset = Literal["none", "light", "standard", "strong"]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NamedPart(BaseModel):
    """A part chosen by name; all further keys are that part's own options, which it checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The part's own options."""
        return dict(self.model_extra or {})


class SimulateConfig(Section):
    """Partial labels made from dense ones; applied to training labels only."""

    sampler: str = Field("pixels", description="by name (data.md)")
    fraction: float | None = Field(None, gt=0, le=1, description="share of the labelled pixels to keep")
    n: int | None = Field(None, ge=1, description="number for each class and scene, in place of a share")
    seed: int = Field(0, description="of the draw; the same labels each time")
    options: dict[str, int] = Field({}, description="of the sampler, such as min_distance_px of points (data.md)")


class DataConfig(Section):
    """Where scenes and labels are and how they are read."""

    dataset: Literal["folder", "patches", "table", "landcoverai", "deepglobe", "oxford-pet"] = Field(
        "folder", description="layout of the files below root"
    )
    root: Path = Field(Path(), description="folder of the data, relative to the configuration; table: its file")
    images: str | None = Field(None, description="glob below root; dataset folder")
    labels: str | None = Field(None, description="glob below root, paired with images by stem; or one vector file")
    pair_by: str | None = Field(None, description="regular expression with one group that pairs images and labels")
    field: str | None = Field(None, description="attribute of vector labels that holds the class")
    unlabelled: tuple[Code, ...] = Field(
        (), description="codes of unlabelled pixels, beside nodata, -1 and 255; '#RRGGBB' in colour masks"
    )
    bands: tuple[int, ...] | None = Field(None, description="band numbers from 1; default: all")
    mask: str | None = Field(None, description="glob below root of rasters that are not 0 where images count as nodata")
    resize: _Share | tuple[_Side, _Side] | None = Field(None, description="factor, or [height, width] in pixels")
    resolution: float | None = Field(None, gt=0, description="pixel size in metres to work at, instead of resize")
    simulate: SimulateConfig | None = Field(None, description="partial labels drawn from dense ones, see below")
    skip_unpaired: bool = Field(False, description="leave out files without a partner instead of stopping")
    on_read_error: Literal["stop", "skip"] = Field("stop", description="at a scene that cannot be read")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resize is not None and self.resolution is not None:
            raise ValueError("data.resize and data.resolution both set the size of pixels; give one of them")
        return self


class SplitConfig(Section):
    """Which labels train, which steer, which test."""

    by: Literal["pattern", "scene", "block", "polygon", "files"] = Field("block", description="what stays together")
    pattern: str | None = Field(
        None, description="regular expression; its first group is compared with the lists below"
    )
    train: tuple[str, ...] = Field((), description="names, or what pattern finds; by pattern and files")
    validation: tuple[str, ...] = Field((), description="the same, for what steers the training")
    test: tuple[str, ...] = Field((), description="the same, for what scores")
    fractions: tuple[float, float, float] = Field(
        (0.75, 0.25, 0.0), description="shares for train, validation and test; by scene, block and polygon"
    )
    block_px: _Side | Auto = Field("auto", description="side of a block in pixels")
    buffer_px: _Distance | Auto = Field("auto", description="training labels this near to another side's are left out")
    folds: int | None = Field(None, ge=2, description="number of folds; each unit scores once")
    plan: Path | None = Field(None, description="a split written earlier (split.json), taken as it stands")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions) < 0:
            raise ValueError(f"split.fractions are {list(self.fractions)}; they must not be negative and must sum to 1")
        if self.by == "pattern" and self.pattern is None:
            raise ValueError("split.by is pattern, but split.pattern is missing; for example '(tile[0-9]+)'")
        listed = [side for side in ("train", "validation", "test") if getattr(self, side)]
        if listed and self.by not in ("pattern", "files"):
            raise ValueError(
                f"split.{listed[0]} lists names, but split.by is {self.by}, which deals out labels by split.fractions; "
                "to name scenes say split.by: files, to name parts of their names split.by: pattern"
            )
        return self


class PatchConfig(Section):
    """Windows for training."""

    size_px: _Side | Auto = Field("auto", description="side of a training window in pixels")
    per_epoch: _Side | Auto = Field("auto", description="windows an epoch; auto: one a tile with labels, 128 to 1000")
    sampling: Literal["auto", "labels", "balanced", "random", "grid"] = Field("auto", description="where windows lie")
    cache: Literal["auto", "device", "memory", "none"] = Field("auto", description="where scenes are held")


class AugmentConfig(NamedPart):
    """A preset with some of its strengths changed; ``Augmenter`` has the list."""

    name: AugmentPreset = Field("standard", description="preset; strengths stand beside")


class ModelConfig(NamedPart):
    """The network and its options."""

    name: str = Field("unet", description="by name (`sparsecover models`); its options stand beside")
    encoder_lr_factor: float = Field(1.0, gt=0, description="learning rate of the encoder relative to the rest")
    freeze_encoder_epochs: int = Field(0, ge=0, description="epochs in which a pretrained encoder is not changed")
    unfreeze: Literal["all", "stages"] = Field("all", description="after that: at once, or a stage an epoch")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unfreeze == "stages" and not self.freeze_encoder_epochs:
            raise ValueError("model.unfreeze is stages, but nothing is frozen; give model.freeze_encoder_epochs")
        return self


class LossConfig(NamedPart):
    """The loss on labelled pixels and its options."""

    name: str = Field("ce", description="by name (models-and-losses.md); its options stand beside")
    class_weights: Literal["none", "inverse", "tempered"] | tuple[float, ...] = Field(
        "tempered", description="of rare classes, or a number for each class"
    )

    @model_validator(mode="before")
    @classmethod
    def _balance_once(cls, data: Any) -> Any:
        """An option that balances two classes by itself takes the place of the default class weights."""
        if not isinstance(data, dict) or "class_weights" in data:
            return data
        focal = data.get("name") in ("focal", "focal_dice", "combo")
        balanced = data.get("pos_weight") is not None or (focal and data.get("alpha") is not None)
        return {**data, "class_weights": "none"} if balanced else data


class OptimConfig(Section):
    """The optimiser."""

    name: Literal["adam", "adamw", "sgd"] = Field("adamw", description="method of descent")
    lr: float = Field(1e-3, gt=0, description="learning rate; `train --find-lr` looks for one")
    weight_decay: float = Field(0.01, ge=0, description="of weights; norms and biases have none")


class ScheduleConfig(Section):
    """The learning rate over time."""

    name: Literal["constant", "cosine", "one_cycle", "reduce_plateau"] = Field(
        "cosine", description="course of the learning rate"
    )
    warmup_epochs: float = Field(1.0, ge=0, description="epochs over which it rises")
    warmup_steps: int | None = Field(None, ge=0, description="in place of warmup_epochs")
    warmup_start: float = Field(0.1, gt=0, le=1, description="first learning rate relative to the full one")
    patience: int = Field(5, ge=1, description="validations without progress before reduce_plateau steps down")
    factor: float = Field(0.5, gt=0, lt=1, description="by which reduce_plateau multiplies the rate")

    @model_validator(mode="before")
    @classmethod
    def _warm_up_once(cls, data: Any) -> Any:
        """one_cycle warms up by itself and takes the place of the default warm-up; one that is asked for is refused."""
        if not isinstance(data, dict) or data.get("name") != "one_cycle":
            return data
        return {"warmup_epochs": 0, **data}


class RegulariserConfig(NamedPart):
    """A term of the loss on pixels without a label, and its options."""


class TrainConfig(Section):
    """The loop."""

    epochs: int = Field(30, ge=1, description="rounds of patches.per_epoch windows")
    batch_size: int = Field(16, ge=1, description="windows a step and process")
    accumulate: int = Field(1, ge=1, description="batches that make one step")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: bf16 where it is faster")
    compile: bool = Field(False, description="by torch.compile")
    ema: bool = Field(True, description="validate and keep an average of the weights")
    early_stopping: int | None = Field(None, ge=1, description="validations without progress before the end")
    validate_every: int = Field(1, ge=1, description="epochs from one validation to the next")
    minutes: float | None = Field(None, gt=0, description="the schedule of epochs is shortened to end in this time")
    save_every_minutes: float = Field(5.0, gt=0, description="state for --resume")
    save_top_k: int = Field(0, ge=0, description="networks of the best epochs to keep")
    save_every_epochs: int | None = Field(None, ge=1, description="a network to keep every so many epochs")
    samples_every: int | None = Field(10, ge=1, description="epochs between sheets of validation samples; null: none")
    sync_batchnorm: bool = Field(False, description="batch statistics over all GPUs of a training on several")
    workers: int | Auto = Field("auto", description="threads that read windows")
    deterministic: bool = Field(False, description="the same bits on a GPU each time; slower")
    regularisers: tuple[RegulariserConfig, ...] = Field((), description="terms on pixels without a label, each once")

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [part.name for part in self.regularisers]
        if len({*names}) < len(names):
            raise ValueError(f"train.regularisers are {', '.join(names)}; each can be given once")
        return self


class Config(Section):
    """Everything that defines a run."""

    data: DataConfig = DataConfig()
    classes: tuple[str, ...] | dict[int, str] | Path | None = Field(
        None,
        description="names by code: a list (codes from 0), a mapping, or a file (.csv, .qml); else what labels hold",
    )
    split: SplitConfig = SplitConfig()
    patches: PatchConfig = PatchConfig()
    normalize: Literal["none", "dtype", "minmax", "percentile", "zscore"] = Field(
        "percentile", description="how the values of bands are scaled"
    )
    augment: AugmentPreset | AugmentConfig = Field(
        "standard", description="variation of windows: a preset, or a section"
    )
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig = TrainConfig()
    seed: int = Field(0, ge=0, description="of weights, windows and divisions")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Validate plain values.

        Raises:
            ConfigError: unknown keys (with the nearest known one) and values that cannot be meant, all at once.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(explain(cls, error.errors())) from None

    @classmethod
    def from_yaml(cls, path: Path, settings: Iterable[str] = ()) -> Self:
        """Read a YAML file and apply settings of the form ``dotted.key=value``; paths are relative to the file."""
        data = read_yaml(path)
        if {"base", "grid"} <= data.keys():
            raise ConfigError(f"{path} is a study of several configurations; run it by: sparsecover experiment {path}")
        for setting in settings:
            apply_setting(data, setting)
        return cls.from_dict(data).anchored(path.parent)

    @classmethod
    def from_settings(cls, settings: Iterable[str]) -> Self:
        """The defaults with settings of the form ``dotted.key=value`` applied."""
        return cls.from_dict(nested(settings))

    def anchored(self, folder: Path) -> Self:
        """With ``data.root``, a class file and a plan relative to ``folder`` unless absolute or found from here."""
        changes: dict[str, Any] = {}
        if not self.data.root.is_absolute() and not self.data.root.exists():
            changes["data"] = self.data.model_copy(update={"root": folder / self.data.root})
        if isinstance(self.classes, Path) and not self.classes.exists():
            changes["classes"] = folder / self.classes
        if self.split.plan is not None and not self.split.plan.exists():
            changes["split"] = self.split.model_copy(update={"plan": folder / self.split.plan})
        return self.model_copy(update=changes)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with ``dotted.key: value`` replaced, validated again."""
        data = self.to_dict()
        for key, value in changes.items():
            put_setting(data, key, value)
        return type(self).from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The resolved configuration as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


_NAMED = frozenset({"augment", "model", "loss"})  # sections that a name alone may stand for


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; a missing or broken file raises ConfigError."""
    if not path.is_file():
        raise ConfigError(f"The configuration {path} does not exist. {near_files(path)}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(error).replace(' in "<unicode string>",', " at")
        raise ConfigError(f"{path} is not YAML: {said}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds a {type(data).__name__}; expected keys such as data:, model:, train:.")
    return data


def apply_setting(data: dict[str, Any], setting: str) -> None:
    """Put ``dotted.key=value`` into nested plain values; the value is read as YAML."""
    key, sign, value = setting.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"The setting {setting!r} is not of the form dotted.key=value, for example optim.lr=0.001.")
    try:
        put_setting(data, key.strip(), yaml.safe_load(value))
    except yaml.YAMLError:
        raise ConfigError(f"The value in the setting {setting!r} is not YAML.") from None


def nested(settings: Iterable[str]) -> dict[str, Any]:
    """Settings of the form ``dotted.key=value`` as nested plain values."""
    data: dict[str, Any] = {}
    for setting in settings:
        apply_setting(data, setting)
    return data


def put_setting(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value under a dotted key of nested plain values; a part given by its name alone keeps it.

    >>> data = {"augment": "strong"}
    >>> put_setting(data, "augment.noise", 0.2)
    >>> data
    {'augment': {'name': 'strong', 'noise': 0.2}}
    """
    *parents, last = dotted.split(".")
    for parent in parents:
        inner = data.get(parent)
        if not isinstance(inner, dict):
            named = parent in _NAMED and isinstance(inner, str)
            inner = data[parent] = {"name": inner} if named else {}
        data = inner
    data[last] = value
