"""models.config: which versions of which models are served, under which labels.

A text-format ModelServerConfig, the file that TensorFlow Serving and the embedded server poll. Its
base paths are those of a container that mounts the store at /models; a server that reads the store
where it lies maps them back with `local_path`.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from google.protobuf import text_format

from serving import permissions, signed_config
from serving.errors import StoreError
from serving.wire import config_pb2

if TYPE_CHECKING:
    from serving.seal import Signer

CONFIG = "models.config"
HISTORIES = "*/history.jsonl"
MOUNT = PurePosixPath("/models")


def read(root: Path) -> config_pb2.ModelServerConfig:
    """The store's configuration; an empty one of a store that never had a model.

    Raises StoreError when it cannot be parsed, and when it is missing or empty beside histories:
    served as it is, it would take every model off.
    """
    path = root / CONFIG
    text = _text(path)
    if not text.strip():
        if any(root.glob(HISTORIES)):
            raise StoreError(
                f"{path} is {'empty' if path.exists() else 'missing'}, and there are histories of "
                "models beside it, so this is damage and not a store that serves nothing. "
                f"Rebuild it with: convoy models repair --store {root}"
            )
        return empty()
    try:
        return text_format.Parse(text, config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise StoreError(f"{path} is no text-format ModelServerConfig: {error}") from None


def is_written(root: Path) -> bool:
    """Tell whether the file is there and not empty."""
    return bool(_text(root / CONFIG).strip())


def is_lost(root: Path) -> bool:
    """Tell whether the file is missing or empty although models have histories."""
    return not _text(root / CONFIG).strip() and any(root.glob(HISTORIES))


def write(root: Path, config: config_pb2.ModelServerConfig, signer: "Signer | None" = None) -> None:
    """Replace the file in one step: a poller reads the old text or the new, never a part.

    Raises StoreError for a signed one that is to be replaced without a key.
    """
    text = text_format.MessageToString(config).encode()
    check_signer(root, signer)
    if signer:
        signed_config.sign(root / CONFIG, text, signer)
    fresh = root / f"{CONFIG}.new"
    fresh.unlink(missing_ok=True)  # a killed writer's, who may be another user
    with fresh.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    permissions.widen(fresh)
    fresh.replace(root / CONFIG)
    sync_directory(root)


def check_signer(root: Path, signer: "Signer | None") -> None:
    """Raise StoreError when a store's configuration is signed and there is no key to go on with."""
    if signer is None and signed_config.is_signed(root / CONFIG):
        raise StoreError(
            f"{root / CONFIG} is signed, so what is served changes with a key alone: give "
            "--signing-key, or publish.signing_key in a job"
        )


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


def models(config: config_pb2.ModelServerConfig) -> list[str]:
    """The names of all models that are served, in the file's order."""
    return [model.name for model in config.model_config_list.config]


def base_path(config: config_pb2.ModelServerConfig, name: str, root: Path) -> Path:
    """Where a model that is served lies, for a process that sees the store at `root`."""
    found = _find(config, name)
    return local_path(found.base_path, root) if found else root / name


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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no text-format ModelServerConfig: {error}") from None


def _find(config: config_pb2.ModelServerConfig, name: str) -> config_pb2.ModelConfig | None:
    return next((model for model in config.model_config_list.config if model.name == name), None)
