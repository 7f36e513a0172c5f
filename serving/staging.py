"""Whole directories that appear and disappear in one step."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import manifest, permissions
from serving.catalog import sync_directory
from serving.seal import Signer

# No server looks at a directory whose name is no integer, so neither half-copied nor half-deleted
# versions are ever seen. The next publish sweeps what is left under these names.
STAGE = ".stage-"
TRASH = ".trash-"
log = logging.getLogger(__name__)


def copy(source: Path, staged: Path) -> None:
    """Copy a directory tree durably and readable by every user, following symbolic links.

    Modes are not those of the source: the server in a container runs as another user than the
    publisher, whatever umask or private temporary directory the files come from.
    """
    staged.mkdir()
    for entry in sorted(source.iterdir()):
        target = staged / entry.name
        if entry.is_dir():
            copy(entry, target)
        else:
            _copy_file(entry, target)
    permissions.widen(staged)
    sync_directory(staged)


def install(source: Path, final: Path, signer: Signer | None = None) -> None:
    """Copy a SavedModel beside its final place, sign it and rename it there. Raises StoreError."""
    staged = final.with_name(STAGE + final.name)
    try:
        copy(source, staged)
        manifest.verify(staged)  # of the copy: the source may have changed under our hands
        if signer:
            signature = signer.sign(staged, final.parent.name, int(final.name))
            _write(staged / manifest.SIGNATURE, signature)
    except OSError:
        _delete(staged)  # of a full disk: it would hold what room is left
        raise
    staged.rename(final)
    sync_directory(final.parent)


def sign(version: Path, model: str, number: int, signer: Signer) -> None:
    """Add a signature to a version that is in place, or replace it, in one step."""
    manifest.verify(version)
    staged = version.with_name(STAGE + version.name)
    staged.mkdir(exist_ok=True)  # an attempt that was killed
    signature = staged / Path(manifest.SIGNATURE).name
    _write(signature, signer.sign(version, model, number))
    signature.rename(version / manifest.SIGNATURE)
    sync_directory((version / manifest.SIGNATURE).parent)
    _delete(staged)


def remove(version: Path) -> bool:
    """Take a version away from its readers in one step, then delete it, or return False.

    A link is unlinked, and what it points at stays. What cannot be deleted (another user's files,
    files that NFS keeps while they are open) is left under another name for a later sweep.
    """
    try:
        if version.is_symlink():
            version.unlink()
            return True
        trash = _unused(version.with_name(TRASH + version.name))
        version.rename(trash)
        sync_directory(version.parent)
    except OSError as problem:
        log.warning("cannot retire %s: %s; the next publish tries again", version, problem)
        return False
    if left := _delete(trash):
        log.warning("cannot delete %s: %s; every publish tries again", trash, left)
    return True


def sweep(directory: Path) -> None:
    """Delete what killed processes and failed deletions left. The caller holds the store's lock."""
    litter = [path for path in directory.iterdir() if path.name.startswith((STAGE, TRASH))]
    for path in litter:
        if problem := _delete(path):
            log.info("still cannot delete %s: %s", path, problem)  # the first time was a warning
        else:
            log.warning("swept %s, left by a process that was killed or could not delete it", path)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold a store against other processes; the kernel frees it when its holder dies."""
    descriptor = permissions.open_lock(root / ".lock")
    with os.fdopen(descriptor) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    permissions.widen(target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    permissions.widen(path)
    sync_directory(path.parent)


def _delete(path: Path) -> OSError | None:
    """Delete a file, link or directory, all of it that can be; return why some is left, if any."""
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)  # it goes on past what cannot be deleted,
            shutil.rmtree(path)  # and this one says what that is
    except FileNotFoundError:
        return None
    except OSError as problem:
        return problem
    return None


def _unused(path: Path) -> Path:
    """Return a name that nothing has: what an earlier deletion left must not be in the way."""
    names = (path, *(path.with_name(f"{path.name}.{count}") for count in range(1, 10_000)))
    return next(name for name in names if not os.path.lexists(name))
