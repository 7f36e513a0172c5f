"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader, or a crash, finds the old content or the new.

    It is written beside its place, as `.NAME.partial`, has reached the disk, and is renamed.
    """
    staged = path.with_name(f".{path.name}.partial")
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)
