"""The job file: TOML read once into frozen settings, with errors that a person can act on."""

import json
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jobs.exits import ConfigError
from jobs.release_config import BlessConfig, PublishConfig, RunsConfig
from jobs.tfx_config import TfxConfig
from pipeline.config import DataConfig
from trainer.config import ModelConfig, TrainConfig
from trainer.evaluate_config import EvaluateConfig
from tuning.config import TuneConfig


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
    tfx: TfxConfig = TfxConfig()

    @model_validator(mode="after")
    def _augmentation_has_an_effect(self) -> "Job":
        """Leave searches alone: of what they draw, some does nothing."""
        searched = self.tune is not None and any(
            path.startswith("data.augment.") for path in self.tune.space
        )
        if (reason := self.data.augment.idle) and not searched:
            raise ValueError(f"data.augment.{reason}")
        return self

    def to_toml(self) -> str:
        """Give the fully resolved job file."""
        return tomli_w.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def load(path: Path, overrides: list[str] | None = None, space: Path | None = None) -> Job:
    """Read a job file and apply `section.key=value` overrides.

    The values are in TOML's syntax, or plain text. `space` is a file whose tune section comes
    before the overrides, its keys in place of the job's.
    """
    tree = _read(path)
    if space is not None:
        tree["tune"] = tree.get("tune", {}) | _read_space(space)
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


def _read(path: Path, kind: str = "job file") -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no {kind} {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigError(f"{path} is not readable TOML: {problem}") from None


def _read_space(path: Path) -> dict[str, Any]:
    tree = _read(path, "search space")
    if set(tree) != {"tune"} or not isinstance(tree["tune"], dict):
        raise ConfigError(
            f"{path} is no search space: expected the section tune alone, received "
            f"{', '.join(tree) or 'nothing'}"
        )
    return dict(tree["tune"])


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
