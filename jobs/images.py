"""The image files that a command is given."""

import logging
import re
from pathlib import Path

from jobs.exits import CommandError
from pipeline.listing import SIGNATURES, SUFFIXES, count_reasons, files_below, passed_over

log = logging.getLogger(__name__)


def find_images(files: list[Path]) -> list[Path]:
    """Expand directories, and raise CommandError for what is missing or is no image."""
    found: list[Path] = []
    for path in files:
        found += _inside(path) if path.is_dir() else [path]
    for path in found:
        _check(path)
    return found


def _inside(directory: Path) -> list[Path]:
    try:
        reasons = {path: passed_over(path, directory) for path in files_below(directory)}
    except OSError as problem:
        raise CommandError(f"cannot read {problem.filename}: {problem.strerror}") from None
    others = [(str(path), reason) for path, reason in reasons.items() if reason]
    if others:
        told = count_reasons(others)
        log.warning("%s: passed over, %d in all: %s", directory, len(others), told)
    if len(others) == len(reasons):
        raise CommandError(f"no image in {directory}; expected {', '.join(sorted(SUFFIXES))}")
    return [path for path, reason in reasons.items() if not reason]


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError as problem:
        raise CommandError(f"cannot read {path}: {problem.strerror}") from None
    if not any(re.match(signature, start, re.DOTALL) for signature in SIGNATURES.values()):
        raise CommandError(f"{path} is no image: expected one of {', '.join(SIGNATURES)}")
