"""The manifest of a SavedModel directory: sha256 of every other file but its own signature."""

import hashlib
import json
from pathlib import Path

from serving.errors import StoreError

MANIFEST = "assets.extra/manifest.json"
SIGNATURE = "assets.extra/manifest.sig"  # of the manifest's bytes: see serving.seal


def verify(directory: Path) -> None:
    """Compare every file of a SavedModel directory with its manifest.

    Raises StoreError when the directory is no SavedModel, has no readable manifest, or when a file
    is missing, unlisted or different.
    """
    if not (directory / "saved_model.pb").is_file():
        raise StoreError(f"{directory} is no SavedModel: it has no saved_model.pb")
    listed = _read(directory)
    present = _files(directory)
    if listed.keys() != present.keys():
        raise StoreError(_difference(directory, set(listed), set(present)))
    for name, path in present.items():
        if sha256(path) != listed[name]:
            raise StoreError(f"{path} does not match its manifest: it was changed after the export")


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(directory: Path) -> dict[str, str]:
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(
            f"{directory} has no {MANIFEST}, so its files cannot be verified. "
            "Export the model again with convoy, which writes it."
        ) from None
    except ValueError as error:
        raise StoreError(f"{path} is no JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("algorithm") != "sha256":
        raise StoreError(f'{path} must say "algorithm": "sha256", the only one known')
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise StoreError(f'{path} must map each file to its digest under "files"')
    return files


def _files(directory: Path) -> dict[str, Path]:
    """Every file the manifest has to list, by its path relative to the directory."""
    paths = (path for path in directory.rglob("*") if not path.is_dir())
    named = {path.relative_to(directory).as_posix(): path for path in paths}
    return {name: path for name, path in named.items() if name not in (MANIFEST, SIGNATURE)}


def _difference(directory: Path, listed: set[str], present: set[str]) -> str:
    missing = sorted(listed - present)[:3]
    unlisted = sorted(present - listed)[:3]
    return (
        f"{directory} does not match its manifest: missing {missing or 'nothing'}, "
        f"unlisted {unlisted or 'nothing'}"
    )
