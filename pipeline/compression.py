"""What a file is compressed with, by its first bytes."""

import gzip
import zlib
from pathlib import Path

GZIP = b"\x1f\x8b"
OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "compress",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}


def is_gzip(path: Path) -> bool:
    """Tell whether a file is compressed by gzip. Raises ValueError when by anything else."""
    with path.open("rb") as file:
        start = file.read(max(map(len, OTHERS)))
    for magic, name in OTHERS.items():
        if start.startswith(magic):
            raise ValueError(
                f"{path} is compressed by {name}; expected gzip, or no compression. Unpack it"
            )
    return start.startswith(GZIP)


def read(path: Path) -> bytes:
    """Return a file's content, unpacked if need be. Raises ValueError when that cannot be."""
    content = path.read_bytes()
    if not is_gzip(path):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise ValueError(f"{path} is damaged: as gzip, {problem}") from None
