"""Which entries of a model's directory are versions, by this store's rule and TensorFlow Serving's.

A version is an ASCII decimal number up to 2^63-1, and its directory may carry leading zeros, as in
TensorFlow Serving's own examples: it is remembered by its own name. TensorFlow Serving itself reads
more (absl::SimpleAtoi: `+5`, ` 7`, `-3`), so such a name beside ours may take a version's place.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from serving.errors import StoreError

LARGEST = 2**63 - 1  # TensorFlow Serving's versions are int64
_DECIMAL = re.compile(r"[0-9]+")
_SIMPLE_ATOI = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*")


def number(name: str) -> int | None:
    """Return the version that a directory's name stands for, or None when it is none."""
    if not _DECIMAL.fullmatch(name):
        return None
    # Past 20 significant digits it is too large; int() itself refuses 4,301 of them.
    digits = name.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 and int(digits) <= LARGEST else None


def find(model: Path) -> dict[int, Path]:
    """Return the directory of each version of a model, oldest first; links are followed."""
    if not model.is_dir():
        return {}
    found = {version: path for version, path in _numbered(model) if path.is_dir()}
    return dict(sorted(found.items()))


def strays(model: Path) -> list[str]:
    """Return names that TensorFlow Serving takes for versions, and this store does not.

    Of two directories of one number, such as `7` and `007`, the second is one as well. So is a file
    that a number names: TensorFlow Serving does not ask what an entry is, and fails to load it.
    """
    if not model.is_dir():
        return []
    twins = {path.name for _, path in _numbered(model)} - {
        path.name for path in find(model).values()
    }
    odd = {path.name for path in model.iterdir() if _only_there(path.name)}
    return sorted(odd | twins)


def refuse(model: Path) -> None:
    """Raise StoreError when a model's directory holds names that two servers read differently."""
    if found := strays(model):
        raise StoreError(
            f"{model} holds {_listed(found)}, which TensorFlow Serving takes for versions that "
            "this store does not know. Versions are plain decimal numbers up to 2^63-1: rename "
            "these entries or move them away"
        )


def _numbered(model: Path) -> Iterator[tuple[int, Path]]:
    """Versions by number; the plain name of a number comes last, so that it is the one kept."""
    entries = sorted(model.iterdir(), key=lambda path: (-len(path.name), path.name))
    for path in entries:
        if (version := number(path.name)) is not None:
            yield version, path


def _only_there(name: str) -> bool:
    if number(name) is not None or not _SIMPLE_ATOI.fullmatch(name):
        return False
    digits = name.strip().lstrip("+-0")
    return len(digits) < 20 and -LARGEST - 1 <= int(name) <= LARGEST


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
