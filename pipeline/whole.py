"""Files and directories that are written whole or not at all."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

log = logging.getLogger(__name__)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader, or a crash, finds the old content or the new."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """Open a file that takes the place of `path` in one step, when the block has ended well.

    It is written beside its place, as `.NAME.partial`, has reached the disk, and is renamed.
    """
    staged = _staged(path)
    with room_given_back(staged):
        with staged.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staged.rename(path)


def copy_whole(source: Path, path: Path) -> None:
    """Copy a directory to a place that is free: what is there is all of it, or nothing."""
    staged = _staged(path)
    shutil.rmtree(staged, ignore_errors=True)
    with room_given_back(staged):
        shutil.copytree(source, staged)
        staged.rename(path)


@contextmanager
def room_given_back(staged: Path) -> Iterator[None]:
    """Delete what the block has written to `staged` when it fails: a disk may be full of it."""
    try:
        yield
    except Exception:
        clear(staged)
        raise


def clear(path: Path) -> bool:
    """Delete a file or a directory that is done with, and tell whether all of it is gone.

    Housekeeping is no reason for what has succeeded to fail: what cannot be deleted (another user's
    files, those that NFS keeps while they are open) is left, with one warning. A link is unlinked.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)  # it goes on past what cannot be deleted,
            shutil.rmtree(path)  # and this one says what that is
    except FileNotFoundError:
        return True
    except OSError as problem:
        log.warning("cannot delete %s: %s", path, problem)
        return False
    return True


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
