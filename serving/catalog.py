"""models.config: which versions of which models are served, under which labels.

A text-format ModelServerConfig, the file that TensorFlow Serving and the embedded server poll. Its
base paths are those of a container that mounts the store at /models; a server that reads the store
where it lies maps them back with `local_path`.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from google.protobuf import text_format

from serving.errors import StoreError
from serving.wire import config_pb2

CONFIG = "models.config"
MOUNT = PurePosixPath("/models")


def read(root: Path) -> config_pb2.ModelServerConfig:
    """The store's configuration; an empty one when the file is not there. Raises StoreError."""
    path = root / CONFIG
    if not path.exists():
        return empty()
    try:
        return text_format.Parse(path.read_text(), config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is no text-format ModelServerConfig: {error}") from None


def write(root: Path, config: config_pb2.ModelServerConfig) -> None:
    """Replace the file in one step: a poller reads the old text or the new, never a part."""
    fresh = root / f"{CONFIG}.new"
    with fresh.open("w") as file:
        file.write(text_format.MessageToString(config))
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o644)
    fresh.replace(root / CONFIG)
    sync_directory(root)


def empty() -> config_pb2.ModelServerConfig:
    """A configuration that serves nothing, yet says that it is a list of models."""
    config = config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    return config


def labels(config: config_pb2.ModelServerConfig, name: str) -> dict[str, int]:
    """Label to version of one model."""
    found = _find(config, name)
    return dict(found.version_labels) if found else {}


def served(config: config_pb2.ModelServerConfig, name: str) -> set[int]:
    """The versions of one model that servers are told to load."""
    found = _find(config, name)
    return set(found.model_version_policy.specific.versions) if found else set()


def assign(
    config: config_pb2.ModelServerConfig,
    name: str,
    versions: Collection[int],
    version_labels: Mapping[str, int],
) -> None:
    """Serve exactly `versions` of one model under `version_labels`; none takes the model off."""
    models = config.model_config_list.config
    entry = _find(config, name)
    if not versions:
        if entry:
            models.remove(entry)
        return
    entry = entry or models.add(name=name, base_path=str(MOUNT / name))
    entry.model_platform = "tensorflow"
    entry.model_version_policy.specific.versions[:] = sorted(versions)
    entry.version_labels.clear()
    entry.version_labels.update(version_labels)


def local_path(base_path: str, root: Path) -> Path:
    """Where a base path of models.config lies for a process that sees the store at `root`."""
    path = PurePosixPath(base_path)
    return root / path.relative_to(MOUNT) if path.is_relative_to(MOUNT) else Path(path)


def sync_directory(path: Path) -> None:
    """Make the renames done in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find(config: config_pb2.ModelServerConfig, name: str) -> config_pb2.ModelConfig | None:
    return next((model for model in config.model_config_list.config if model.name == name), None)
