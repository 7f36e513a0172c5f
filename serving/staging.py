"""Whole directories that appear and disappear in one step."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import manifest
from serving.catalog import sync_directory
from serving.seal import Signer

# No server looks at a directory whose name is no integer, so neither half-copied nor half-deleted
# versions are ever seen. The next publish sweeps what a killed process left under these names.
STAGE = ".stage-"
TRASH = ".trash-"
log = logging.getLogger(__name__)


def copy(source: Path, staged: Path) -> None:
    """Copy a directory tree durably and readable by every user, following symbolic links.

    Modes are set, not inherited: the server in a container runs as another user than the publisher,
    whatever umask or private temporary directory the files come from.
    """
    staged.mkdir()
    for entry in sorted(source.iterdir()):
        target = staged / entry.name
        if entry.is_dir():
            copy(entry, target)
        else:
            _copy_file(entry, target)
    staged.chmod(0o755)
    sync_directory(staged)


def install(source: Path, final: Path, signer: Signer | None = None) -> None:
    """Copy a SavedModel beside its final place, sign it and rename it there. Raises StoreError."""
    staged = final.with_name(STAGE + final.name)
    copy(source, staged)
    manifest.verify(staged)  # of the copy: the source may have changed under our hands
    if signer:
        _write(staged / manifest.SIGNATURE, signer.sign(staged))
    staged.rename(final)
    sync_directory(final.parent)


def sign(version: Path, signer: Signer) -> None:
    """Add a signature to a version that is in place, or replace it, in one step."""
    manifest.verify(version)
    staged = version.with_name(STAGE + version.name)
    staged.mkdir(exist_ok=True)  # an attempt that was killed
    signature = staged / Path(manifest.SIGNATURE).name
    _write(signature, signer.sign(version))
    signature.rename(version / manifest.SIGNATURE)
    sync_directory((version / manifest.SIGNATURE).parent)
    staged.rmdir()


def remove(directory: Path) -> None:
    """Take a directory away from its readers in one step, then delete it."""
    trash = directory.with_name(TRASH + directory.name)
    directory.rename(trash)
    sync_directory(directory.parent)
    shutil.rmtree(trash)


def sweep(directory: Path) -> None:
    """Delete what killed processes left behind. The caller holds the store's lock."""
    litter = [path for path in directory.iterdir() if path.name.startswith((STAGE, TRASH))]
    for path in litter:
        log.warning("swept %s, left by a process that was killed", path)
        shutil.rmtree(path)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold a store against other processes; the kernel frees it when its holder dies."""
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o644)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)
    sync_directory(path.parent)
