"""Archives of images, unpacked once and safely: nothing outside, no links, no bombs.

And whole: what is damaged is refused, where `tarfile` would end early and say nothing.
"""

import errno
import hashlib
import io
import logging
import lzma
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from pipeline import copies
from pipeline.listing import directories, passed_over
from pipeline.lock import locked
from pipeline.whole import clear

SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar")
MOST_FILES = 5_000_000
MOST_BYTES = 1 << 40  # 1 TiB, unpacked
BLOCK = 4096  # bytes that a file takes on a disk, empty or not
LONGEST_NAME = 255  # bytes, of the file systems in use
LONGEST_PATH = 2048  # half of what the system takes: it begins elsewhere
MOST_METADATA = 1 << 20  # bytes of a tar's extended header; names and times need a hundred
MOST_TIMES_LARGER = 200  # than the archive; images are compressed already, bombs reach 1,000
UTF8_FLAG = 0x800  # of a zip entry, "APPNOTE.TXT" 4.4.4
ENCRYPTED_FLAG = 0x1
METHODS = {  # of compression, "APPNOTE.TXT" 4.4.5, which zipfile reads
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
}
ZIP_MAGIC = b"PK\3\4"
SAYS_MORE = (  # types of tar's headers that are about the next member, or all that follow
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
TAR_MODES = {b"\x1f\x8b": "r:gz", b"BZh": "r:bz2", b"\xfd7zXZ": "r:xz"}
METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
DAMAGE = (  # what zipfile, tarfile and those below them raise; EINVAL for places before a file
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError, OverflowError, UnicodeError, LookupError, struct.error),
)
UNPACK_IT = "unpack it yourself and give the directory"
LEGACY_ENCODINGS = ("utf-8", "cp949")  # zip tools that set no flag: macOS, and Korean Windows
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """A file inside an archive."""

    name: str
    size: int  # bytes, as the archive claims
    is_link: bool
    open: Callable[[], IO[bytes]]


class Header(tarfile.TarInfo):
    """A header that is damaged, or missing, is an error: tarfile takes it for the end.

    The end is a block of zeros (cpython#120740). What stands before a member to say more of it is
    read whole by tarfile, so it may not be large.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header from its block."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in SAYS_MORE and header.size > MOST_METADATA:
            raise tarfile.ReadError(f"it has a header of {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as problem:
            at = f"at byte {tarfile_.offset:,}"
            raise tarfile.ReadError(f"it is damaged or cut off {at}: {problem}") from None


def is_archive(path: Path) -> bool:
    """Tell by its name whether a path is an archive that `unpack` takes."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, data_dir: Path) -> Path:
    """Unpack below `data_dir`, and return the directory, which is named by the archive's sha256.

    An archive that was unpacked before is not unpacked again; an interrupted unpacking leaves
    nothing that is taken for a whole one, and goes on with the files that it lacks. Raises
    ValueError when a member would leave the directory, is a link, has a password or an unknown
    compression, or the limits on number and size are passed, before any byte is written; and for a
    damaged archive.
    """
    target = data_dir / "archives" / _sha256(archive)[:16]
    copies.hold(target)
    if not target.is_dir():
        with locked(target.with_suffix(".lock")):
            _unpack_once(archive, target)
    return target


def step_in(root: Path) -> Path:
    """Return the directory with the classes: what is wrapped around it, once or more, is left.

    A lone directory is a wrapper when it holds further directories and no image of its own.
    """
    while len(inner := directories(root)) == 1 and _wraps(inner[0]):
        root = inner[0]
    return root


def _wraps(directory: Path) -> bool:
    files = (path for path in directory.iterdir() if not path.is_dir())
    return bool(directories(directory)) and all(passed_over(file, directory) for file in files)


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
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as zipped:
                _write(archive, _checked(archive, _zip_members(zipped)), directory)
        else:
            with tarfile.open(archive, _tar_mode(archive), tarinfo=Header) as tarred:
                _write(archive, _checked(archive, _tar_members(tarred)), directory)
    except DAMAGE as problem:
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):
            raise  # of a full disk, say: what is unpacked stays, and is gone on with
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise ValueError(f"{archive} is no archive that can be unpacked: {reason}") from None


def _is_zip(archive: Path) -> bool:
    return archive.name.lower().endswith(".zip") or _starts_with(archive, ZIP_MAGIC)


def _tar_mode(archive: Path) -> Any:
    """Return the mode for the compression that the first bytes tell of."""
    return next((mode for magic, mode in TAR_MODES.items() if _starts_with(archive, magic)), "r:")


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _write(archive: Path, members: list[Member], directory: Path) -> None:
    places = _places(members)
    _check_places(archive, places)
    last = {directory / name: member for name, member in places.items()}
    budget = sum(member.size for member in last.values())
    for path, member in last.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size == member.size:  # before an interruption
            budget -= member.size
        else:
            with member.open() as source, path.open("wb") as target:
                budget -= _copy(source, target, budget)


def _places(members: list[Member]) -> dict[str, Member]:
    """Return the members by their paths; of equal names the last counts, as tar has it.

    Names that differ in their normal form alone keep what they are: they are different files.
    """
    spelled: dict[str, set[str]] = {}
    for member in members:
        spelled.setdefault(_normal(member.name), set()).add(member.name)
    places = {
        member.name if len(spelled[_normal(member.name)]) > 1 else _normal(member.name): member
        for member in members
    }
    if repeated := len(members) - len(places):
        log.warning("%d files of the archive have the name of a later one, which counts", repeated)
    return places


def _check_places(archive: Path, places: Collection[str]) -> None:
    above = {str(parent) for name in places for parent in PurePosixPath(name).parents}
    if both := sorted(above.intersection(str(PurePosixPath(name)) for name in places)):
        raise ValueError(f"{archive}: {both[0]!r} is a file and a directory at once")


def _checked(archive: Path, members: Iterable[Member]) -> list[Member]:
    """Read the members to the last, or to the first that says what the archive is."""
    found, size = [], 0
    most = min(MOST_BYTES, max(MOST_TIMES_LARGER * archive.stat().st_size, 1 << 20))
    for member in members:
        _check(archive, member)
        found.append(member)
        size += max(member.size, BLOCK)
        if len(found) > MOST_FILES or size > most:
            raise ValueError(
                f"{archive} would unpack to {len(found):,} files of {size:,} bytes or more; at "
                f"most {MOST_FILES:,} files and {MOST_TIMES_LARGER} times the archive's size are "
                "taken"
            )
    return found


def _check(archive: Path, member: Member) -> None:
    path = PurePosixPath(member.name.replace("\\", "/"))
    if not path.parts:
        raise ValueError(f"{archive}: a file is named {member.name!r}, which is no name")
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"{archive}: {member.name!r} lies outside of its directory")
    lengths = [len(part.encode(errors="surrogateescape")) for part in path.parts]
    if max(lengths) > LONGEST_NAME or sum(lengths) + len(lengths) > LONGEST_PATH:
        raise ValueError(
            f"{archive}: {member.name[:40]!r}... is longer than the {LONGEST_NAME} bytes of a name "
            f"or the {LONGEST_PATH} of a path"
        )
    if member.is_link:
        raise ValueError(f"{archive}: {member.name!r} is a link; only files are taken")


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
        if not entry.filename.endswith(("/", "\\")):  # of a directory
            _check_readable(archive, entry)
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            yield Member(_zip_name(entry), entry.file_size, is_link, partial(archive.open, entry))


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for entry in archive:
        if not entry.isdir():
            name = _legible(entry.name.encode("utf-8", "surrogateescape"), entry.name)
            is_link = not entry.isfile()
            yield Member(name, entry.size, is_link, partial(_extract, archive, entry))
    _check_end(archive)


def _check_readable(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    which = f"{archive.filename}: {entry.filename!r}"
    if entry.flag_bits & ENCRYPTED_FLAG:
        raise ValueError(f"{which} has a password; {UNPACK_IT}")
    if entry.compress_type not in METHODS:
        method = METHOD_NAMES.get(entry.compress_type, f"method {entry.compress_type}")
        raise ValueError(f"{which} is compressed by {method}, which is not read; {UNPACK_IT}")


def _check_end(archive: tarfile.TarFile) -> None:
    """Read on to the end: zeros alone stand behind the last member, and then a checksum."""
    while archive.fileobj and (end := archive.fileobj.read(1 << 20)):
        if any(end):
            raise tarfile.ReadError(f"something stands behind its end at byte {archive.offset:,}")


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(entry)
    return file if file is not None else io.BytesIO()


def _zip_name(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & UTF8_FLAG:
        return entry.filename
    return _legible(entry.filename.encode("cp437"), entry.filename)  # what zipfile took them for


def _legible(raw: bytes, otherwise: str) -> str:
    for encoding in LEGACY_ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return otherwise


def _normal(name: str) -> str:
    """Compose what macOS decomposes, so that a class has one name wherever its archive was made."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
