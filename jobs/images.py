"""The image files that a command is given."""

import re
from pathlib import Path

from jobs.exits import CommandError

SIGNATURES = {  # of a file's first bytes; "." stands for any byte
    rb"\xff\xd8\xff": "JPEG",
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"BM": "BMP",
    rb"GIF8": "GIF",
    rb"RIFF....WEBP": "WebP",
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}


def find_images(files: list[Path]) -> list[Path]:
    """Expand directories, and raise CommandError for what is missing or is no image."""
    found: list[Path] = []
    for path in files:
        found += _inside(path) if path.is_dir() else [path]
    for path in found:
        _check(path)
    return found


def _inside(directory: Path) -> list[Path]:
    images = sorted(p for p in directory.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not images:
        raise CommandError(f"no image in {directory}; expected {', '.join(sorted(SUFFIXES))}")
    return images


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError as problem:
        raise CommandError(f"cannot read {path}: {problem.strerror}") from None
    if not any(re.match(signature, start, re.DOTALL) for signature in SIGNATURES):
        raise CommandError(f"{path} is no image: expected one of {', '.join(SIGNATURES.values())}")
