"""Files and directories that are written whole or not at all."""

import os
import shutil
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader, or a crash, finds the old content or the new.

    It is written beside its place, as `.NAME.partial`, has reached the disk, and is renamed.
    """
    staged = _staged(path)
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)


def copy_whole(source: Path, path: Path) -> None:
    """Copy a directory to a place that is free: what is there is all of it, or nothing."""
    staged = _staged(path)
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(source, staged)
    staged.rename(path)


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
