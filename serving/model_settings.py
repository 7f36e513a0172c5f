"""What a server is told to serve, read from text-format files into checked objects."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2

from serving import catalog
from serving.errors import ConfigError

_TYPES = {model_server_config_pb2.ModelType.TENSORFLOW: "tensorflow"}

Parsed = TypeVar("Parsed", bound=Message)


@dataclass(frozen=True)
class Policy:
    """Which of the versions present are served: the latest `latest`, `specific` ones, or all."""

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def wanted(self, present: Sequence[int]) -> list[int]:
        """The versions to serve out of those present, oldest first."""
        if self.specific is not None:
            return sorted(self.specific.intersection(present))
        ordered = sorted(present)
        return ordered if self.latest is None else ordered[-self.latest :]


@dataclass(frozen=True)
class ModelSettings:
    """One model: where its versions lie and which of them are served, under which labels."""

    name: str
    base_path: Path
    policy: Policy = Policy()
    labels: Mapping[str, int] = field(default_factory=dict)


def parse(text: str, message: Parsed) -> Parsed:
    """Fill a message from text format. Raises ConfigError in TensorFlow Serving's words."""
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        kind = message.DESCRIPTOR.full_name.replace("convoy.wire", "tensorflow.serving")
        raise ConfigError(f"Error parsing text-format {kind}: {error}") from None


def read_file(path: Path, message: Parsed) -> Parsed:
    """Fill a message from a text-format file. Raises ConfigError."""
    try:
        return parse(path.read_text(), message)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None


def read_models(path: Path, store: Path | None = None) -> list[ModelSettings]:
    """The models of a ModelServerConfig file. Raises ConfigError.

    `store`: the directory that the file's /models is, for a server beside the store.
    """
    return models(read_file(path, model_server_config_pb2.ModelServerConfig()), store)


def parse_named(text: str, store: Path | None = None) -> list[ModelSettings]:
    """The models of a ModelServerConfig that names each version to serve. Raises ConfigError."""
    found = models(parse(text, model_server_config_pb2.ModelServerConfig()), store)
    if unnamed := [model.name for model in found if model.policy.specific is None]:
        raise ConfigError(
            f"the signed configuration names no versions of {', '.join(unnamed)}, so any that was "
            "ever signed could come back; give them a policy of specific versions"
        )
    return found


def models(config: Any, store: Path | None = None) -> list[ModelSettings]:
    """The models of a ModelServerConfig. Raises ConfigError."""
    match config.WhichOneof("config"):
        case "custom_model_config":
            raise ConfigError("custom_model_config is not supported; use model_config_list")
        case None:  # a file cut to nothing, say: it must not unload what is served
            raise ConfigError(
                "there is no model_config_list; an empty one, which serves nothing, is written "
                "as model_config_list {}"
            )
    found = [_model(entry, store) for entry in config.model_config_list.config]
    names = [model.name for model in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Illegal to list model {twice[0]} multiple times in config")
    return found


def _model(entry: Any, store: Path | None) -> ModelSettings:
    if not entry.name or not entry.base_path:
        raise ConfigError(
            f"every model needs a name and a base_path, got name {entry.name!r} and "
            f"base_path {entry.base_path!r}"
        )
    if _platform(entry) != "tensorflow":
        raise ConfigError(
            f"model {entry.name}: model_platform {entry.model_platform!r} is not supported; "
            "use 'tensorflow'"
        )
    base_path = catalog.local_path(entry.base_path, store) if store else Path(entry.base_path)
    if not base_path.is_absolute():
        raise ConfigError(
            f"Expected model {entry.name} to have an absolute path or URI; "
            f"got base_path()={entry.base_path}"
        )
    if store and not Path(os.path.normpath(base_path)).is_relative_to(store):
        raise ConfigError(
            f"model {entry.name}: base_path {entry.base_path} is outside of the store {store}, and "
            "this server serves nothing else"
        )
    policy = _policy(entry.model_version_policy)
    return ModelSettings(entry.name, base_path, policy, dict(entry.version_labels))


def _platform(entry: Any) -> str:
    """The platform by either of its names. Raises ConfigError (server_core.cc, GetPlatform)."""
    if entry.model_type and entry.model_platform:
        raise ConfigError("Illegal setting both model_type(deprecated) and model_platform.")
    if not entry.model_type and not entry.model_platform:
        raise ConfigError("Illegal setting neither model_type(deprecated) nor model_platform.")
    return entry.model_platform or _TYPES.get(entry.model_type, "other")


def _policy(policy: Any) -> Policy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return Policy(latest=None)
        case "specific":
            return Policy(specific=frozenset(policy.specific.versions))
        case _:
            return Policy(latest=max(1, policy.latest.num_versions))
