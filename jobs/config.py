"""The job file: TOML read once into frozen settings, with errors that a person can act on."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.exits import ConfigError
from pipeline.config import DataConfig
from trainer.config import ModelConfig, TrainConfig
from trainer.evaluate_config import EvaluateConfig
from tuning.config import TuneConfig


class BlessConfig(BaseModel):
    """What a model must prove on the test split before it is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_accuracy: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest test accuracy; 0 publishes any model, so set it for production",
    )
    min_class_recall: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest recall of any class on the test split; catches a class that is given "
        "up",
    )
    max_calibration_error: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Highest expected calibration error on the test split, for applications that "
        "act on probabilities; unset allows any",
    )
    max_latency_ms: float | None = Field(
        None,
        gt=0,
        description="Milliseconds that one image may take at the median, measured by gRPC against "
        "the embedded server on this machine's CPU; unset measures nothing",
    )
    max_size_mb: float | None = Field(
        None, gt=0, description="Megabytes that the SavedModel may have; unset allows any"
    )
    compare: bool = Field(
        True,
        description="Also hold the model against the one that is live now, on the same test split; "
        "false publishes one that shall not be compared, such as one for another kind of input",
    )
    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="A loss against the live model is significant below this p-value of McNemar's "
        "exact test; 0.05 refuses at most one of twenty equally good models",
    )
    max_class_fall: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Recall that any class may lose against the live model; 0.1 is one of ten "
        "examples, so raise it where classes have fewer in the test split",
    )
    max_lost_classes: int = Field(
        0,
        ge=0,
        description="Classes of the live model that the new one may lack; 0, because a directory "
        "that went missing looks like a class that was given up",
    )


class PublishConfig(BaseModel):
    """Where blessed models go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(
        "models", description="The model store's directory; docker-compose serves ./models"
    )
    keep: int = Field(
        5, ge=2, description="Versions kept; 2 at least, or there is nothing to roll back to"
    )
    canary: bool = Field(
        False,
        description='Publish under the label "canary", beside the live version, until "convoy '
        'models promote" makes it live',
    )
    probe: tuple[Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")], ...] = Field(
        (),
        description='gRPC addresses of servers, such as "host:8500", that must serve the new '
        "version and answer like the trained network; else it is withdrawn",
    )
    probe_seconds: float = Field(
        300,
        gt=0,
        description="Seconds until every probed server must do so; 300 suffices for polling a "
        "store and loading a large model",
    )


class RunsConfig(BaseModel):
    """What is kept of past runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: int = Field(
        20,
        ge=1,
        description="Newest runs of the name that are kept whole; older ones keep their records "
        "and report, and lose checkpoints, logs and models, so that a disk lasts for years",
    )


class Job(BaseModel):
    """Everything that one training job does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$",
        description="The model's name in the store and in requests",
    )
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    tune: TuneConfig | None = Field(None, description="Optional: a search for better settings")
    evaluate: EvaluateConfig = EvaluateConfig()
    bless: BlessConfig = BlessConfig()
    publish: PublishConfig = PublishConfig()
    runs: RunsConfig = RunsConfig()

    def to_toml(self) -> str:
        """Give the fully resolved job file."""
        return tomli_w.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def load(path: Path, overrides: list[str] | None = None) -> Job:
    """Read a job file and apply `section.key=value` overrides.

    The values are in TOML's syntax, or plain text.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no job file {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigError(f"{path} is not readable TOML: {problem}") from None
    for override in overrides or []:
        _override(tree, override)
    return parse(tree, str(path))


def parse(tree: dict[str, Any], origin: str) -> Job:
    """Check a tree of settings. Raises ConfigError with one line for every wrong key."""
    try:
        return Job.model_validate(tree)
    except ValidationError as problem:
        lines = [f"{origin}: {_explain(error)}" for error in problem.errors()]
        raise ConfigError("\n".join(lines)) from None


def schema() -> dict[str, Any]:
    """Give the job file's JSON Schema."""
    return Job.model_json_schema()


def _override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    *parents, leaf = _keys(path) if equals else [""]
    if not leaf:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as train.epochs=5")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a section")
    tree[leaf] = parse_value(text.strip())


def _keys(path: str) -> list[str]:
    """Split a dotted path by TOML's own rules: a quoted part may hold dots."""
    keys: list[str] = []
    try:
        node = tomllib.loads(f"{path} = 0")
    except tomllib.TOMLDecodeError:
        return [""]
    while isinstance(node, dict):
        key, node = next(iter(node.items()))
        keys.append(key)
    return keys


def parse_value(text: str) -> Any:
    """Read a value in TOML's syntax, or take it for plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string: --set model.name=lenet5


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "the job"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key. Allowed here: {', '.join(_siblings(error['loc']))}"
    if error["type"] == "missing":
        return f"{key}: required and not set"
    message = error["msg"].removeprefix("Value error, ")
    return (
        f"{key}: {message}; received {json.dumps(error['input'], default=str, ensure_ascii=False)}"
    )


def _siblings(location: tuple[Any, ...]) -> list[str]:
    node: Any = schema()
    definitions = node["$defs"]
    for part in location[:-1]:
        node = _resolve(node.get("properties", {}).get(part, {}), definitions)
    return sorted(node.get("properties", {}))


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, also the one inside an optional section."""
    candidates = [node, *node.get("anyOf", [])]
    references = [entry["$ref"] for entry in candidates if "$ref" in entry]
    resolved: dict[str, Any] = definitions[references[0].rpartition("/")[2]] if references else node
    return resolved
