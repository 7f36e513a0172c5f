"""The manifest of a SavedModel directory: sha256 of every other file but its own signature."""

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from serving.errors import StoreError

MANIFEST = "assets.extra/manifest.json"
SIGNATURE = "assets.extra/manifest.sig"  # of its digest and the version's name: see serving.seal
AT_ONCE = 1 << 20  # bytes read
FICLONE = 0x40049409  # linux/fs.h
Check = Callable[[bytes], None]  # takes the manifest's bytes; raises StoreError


def verify(
    directory: Path, check: Check | None = None, into: Path | None = None, follow: bool = False
) -> None:
    """Compare every file of a SavedModel directory with its manifest, each read once.

    The manifest itself is given to `check`. `into`: where what was read is written, byte by byte,
    so that nobody who writes to the directory meanwhile has a say in it. `follow`: links are taken
    for what they point at. Raises StoreError when the directory is no SavedModel, has no readable
    manifest, or when a file is missing, unlisted, different or no file.
    """
    if not (directory / "saved_model.pb").is_file():
        raise StoreError(f"{directory} is no SavedModel: it has no saved_model.pb")
    raw = read(directory, follow)
    if check:
        check(raw)
    listed = _parse(directory / MANIFEST, raw)
    present = _files(directory)
    if listed.keys() != present.keys():
        raise StoreError(_difference(directory, set(listed), set(present)))
    for name, path in present.items():
        if _digest(path, into / name if into else None, follow) != listed[name]:
            raise StoreError(f"{path} does not match its manifest: it was changed after the export")


def read(directory: Path, follow: bool = False) -> bytes:
    """Return the manifest's bytes. Raises StoreError when there is none."""
    try:
        return b"".join(contents(directory / MANIFEST, follow))
    except FileNotFoundError:
        raise StoreError(
            f"{directory} has no {MANIFEST}, so its files cannot be verified. "
            "Export the model again with convoy, which writes it."
        ) from None


def contents(path: Path, follow: bool = False) -> Iterator[bytes]:
    """Read a regular file, no further than it reaches at first. Raises StoreError for another."""
    with _opened(path, follow) as file:
        yield from _chunks(file)


def size(directory: Path) -> int:
    """Return the bytes of a directory's files."""
    return sum(path.lstat().st_size for path in directory.rglob("*"))


def _digest(path: Path, copy: Path | None, follow: bool) -> str:
    """Return a file's digest; of the bytes that the copy then has, where there is to be one."""
    found = hashlib.sha256()
    if copy is None:
        for chunk in contents(path, follow):
            found.update(chunk)
        return found.hexdigest()
    copy.parent.mkdir(parents=True, exist_ok=True)
    _copy(path, copy, follow)
    with copy.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(path: Path, copy: Path, follow: bool) -> None:
    """Copy a file into a directory of our own, at once where the file system shares blocks.

    A clone is another file, which no change of the first one reaches: a link would not do.
    """
    with _opened(path, follow) as source, copy.open("xb") as target:
        try:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        except OSError:  # another file system, or one that cannot
            target.writelines(_chunks(source))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    left = os.fstat(file.fileno()).st_size  # what grows meanwhile could fill a disk
    while left > 0 and (chunk := file.read(min(AT_ONCE, left))):
        left -= len(chunk)
        yield chunk


def _opened(path: Path, follow: bool) -> IO[bytes]:
    """Open a regular file; a pipe does not block, and `follow` says whether a link is followed.

    Raises StoreError for anything else.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise StoreError(f"{path} is a link; only files are taken") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")


def _parse(path: Path, raw: bytes) -> dict[str, str]:
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError) as error:
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
