"""Archives of images, unpacked once and safely: nothing outside, no links, no bombs."""

import hashlib
import io
import logging
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline import copies
from pipeline.lock import locked
from pipeline.whole import clear

SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar")
MOST_FILES = 5_000_000
MOST_BYTES = 1 << 40  # 1 TiB, unpacked
MOST_TIMES_LARGER = 200  # than the archive; images are compressed already, bombs reach 1,000
UTF8_FLAG = 0x800  # of a zip entry, "APPNOTE.TXT" 4.4.4
LEGACY_ENCODINGS = ("utf-8", "cp949")  # zip tools that set no flag: macOS, and Korean Windows
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """A file inside an archive."""

    name: str
    size: int  # bytes, as the archive claims
    is_link: bool
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Tell by its name whether a path is an archive that `unpack` takes."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, data_dir: Path) -> Path:
    """Unpack below `data_dir`, in a directory named by the archive's sha256, and return its root.

    An archive that was unpacked before is not unpacked again; an interrupted unpacking leaves
    nothing that is taken for a whole one, and goes on with the files that it lacks. A single
    directory around everything is stepped into. Raises ValueError when a member would leave the
    directory, is a link, or the limits on number and size are passed, before any byte is written;
    and for a damaged archive.
    """
    target = data_dir / "archives" / _sha256(archive)[:16]
    copies.hold(target)
    if not target.is_dir():
        with locked(target.with_suffix(".lock")):
            _unpack_once(archive, target)
    return _step_in(target)


def _unpack_once(archive: Path, target: Path) -> None:
    if target.is_dir():
        return  # another process did, while this one waited for the lock
    log.info("unpacking %s", archive)
    staged = target.with_suffix(".partial")  # an interrupted unpacking left it, and goes on there
    staged.mkdir(exist_ok=True)
    try:
        _unpack_into(archive, staged)
    except ValueError:
        clear(staged)
        raise
    staged.rename(target)


def _unpack_into(archive: Path, directory: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _write(archive, list(_zip_members(zipped)), directory)
        else:
            with tarfile.open(archive) as tarred:
                _write(archive, list(_tar_members(tarred)), directory)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise  # of a full disk, say: what is unpacked stays, and is gone on with
        raise ValueError(f"{archive} is no archive that can be unpacked: {problem}") from None


def _write(archive: Path, members: list[Member], directory: Path) -> None:
    _check(archive, members)
    last = {directory / _normal(member.name): member for member in members}  # of equal names
    budget = sum(member.size for member in last.values())
    for path, member in last.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size == member.size:  # before an interruption
            budget -= member.size
        else:
            with member.open() as source, path.open("wb") as target:
                budget -= _copy(source, target, budget)


def _check(archive: Path, members: list[Member]) -> None:
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise ValueError(f"{archive}: {member.name!r} lies outside of its directory")
        if member.is_link:
            raise ValueError(f"{archive}: {member.name!r} is a link; only files are taken")
    size, most = sum(m.size for m in members), MOST_TIMES_LARGER * archive.stat().st_size
    if len(members) > MOST_FILES or size > min(MOST_BYTES, max(most, 1 << 20)):
        raise ValueError(
            f"{archive} would unpack to {len(members):,} files of {size:,} bytes; at most "
            f"{MOST_FILES:,} files and {MOST_TIMES_LARGER} times the archive's size are taken"
        )


def _copy(source: IO[bytes], target: IO[bytes], budget: int) -> int:
    """Copy at most `budget` bytes and give their number: an archive may lie about sizes."""
    copied = 0
    while chunk := source.read(1 << 20):
        copied += len(chunk)
        if copied > budget:
            raise ValueError("the archive holds more bytes than it says")
        target.write(chunk)
    return copied


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for entry in archive.infolist():
        if not entry.is_dir():
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            yield Member(_zip_name(entry), entry.file_size, is_link, partial(archive.open, entry))


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for entry in archive:
        if not entry.isdir():
            yield Member(
                entry.name, entry.size, not entry.isfile(), partial(_extract, archive, entry)
            )


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(entry)
    return file if file is not None else io.BytesIO()


def _zip_name(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & UTF8_FLAG:
        return entry.filename
    raw = entry.filename.encode("cp437")  # what zipfile took the bytes for
    for encoding in LEGACY_ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _normal(name: str) -> str:
    """Compose what macOS decomposes, so that a class has one name wherever its archive was made."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _step_in(root: Path) -> Path:
    children = [child for child in root.iterdir() if not child.name.startswith((".", "__MACOSX"))]
    wraps = len(children) == 1 and children[0].is_dir()
    inner = [child for child in children[0].iterdir() if child.is_dir()] if wraps else []
    return children[0] if inner else root


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
