"""SavedModel directories to publish: empty shells for the store, real ones for the servers."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.store import Store


def write_manifest(directory: Path) -> None:
    """List every file of an export, as the trainer's export does."""
    files = {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    extra = directory / "assets.extra"
    extra.mkdir(exist_ok=True)
    manifest = {"algorithm": "sha256", "files": files}
    (extra / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Path]:
    """Make a directory that the store takes for a SavedModel; no server could load it."""

    def make(content: str = "graph", name: str = "export", weights: bytes = b"w") -> Path:
        directory = tmp_path / name
        (directory / "variables").mkdir(parents=True, exist_ok=True)
        (directory / "saved_model.pb").write_text(content)
        (directory / "variables" / "variables.index").write_bytes(weights)
        write_manifest(directory)
        return directory

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")
