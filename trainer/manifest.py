"""A list of sha256 digests that lets a store notice a SavedModel that changed on its way."""

import hashlib
import json
from pathlib import Path

FILE_NAME = "manifest.json"


def write(directory: Path, path: Path) -> None:
    """Write the digests of all files below `directory` but `path`, by relative POSIX path."""
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file != path)
    digests = {file.relative_to(directory).as_posix(): _sha256(file) for file in files}
    path.write_text(
        json.dumps({"algorithm": "sha256", "files": digests}, indent=2), encoding="utf-8"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
