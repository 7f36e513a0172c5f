"""The image files below a directory, and all else that lies there: no file is left out in silence.

Needs no TensorFlow.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}
SIGNATURES = {  # a file's first bytes; "." stands for any byte
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "BMP": b"BM",
    "GIF": b"GIF8",
    "WebP": b"RIFF....WEBP",
}
CLUTTER = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}
APPLE_DOUBLE = "._"  # macOS writes them beside files, on disks that are not its own
HIDDEN = "in a hidden directory"
DEAD = "a link to nowhere"
LOOP = "a link to a directory around it"
NOT_REGULAR = "no regular file"
SHOWN = 3  # names of each kind in a line
LeftOut = list[dict[str, str]]  # files: {"key", "reason"}


def is_clutter(name: str) -> bool:
    """Tell whether an operating system left this beside a person's files."""
    return name.startswith(APPLE_DOUBLE) or name.lower() in CLUTTER


def files_below(root: Path) -> Iterator[Path]:
    """Yield every file below a directory, whatever it is; clutter alone is left out.

    Links are followed. One to nowhere, or to a directory around itself, is yielded in place of what
    it leads to. Raises OSError for a directory that cannot be read.
    """
    waiting: list[tuple[Path, tuple[Path, ...]]] = [(root, (root.resolve(),))]
    while waiting:
        path, around = waiting.pop()
        if path != root and not path.is_dir():
            yield path
            continue
        if path != root and leads_around(path, around):
            yield path
            continue
        if path.is_symlink():
            around = (*around, path.resolve())
        children = sorted((p for p in path.iterdir() if not is_clutter(p.name)), reverse=True)
        waiting += [(child, around) for child in children]


def directories(root: Path) -> list[Path]:
    """Return the directories in one, by name: no hidden ones, and no links to what is around."""
    around = (root.resolve(),)
    children = (child for child in root.iterdir() if child.is_dir())
    return sorted(
        child
        for child in children
        if not (child.name.startswith(".") or is_clutter(child.name) or leads_around(child, around))
    )


def leads_around(path: Path, around: tuple[Path, ...]) -> bool:
    """Tell whether a path is a link to one of the directories that it was reached through."""
    return path.is_symlink() and any(place.is_relative_to(path.resolve()) for place in around)


def passed_over(path: Path, root: Path) -> str | None:
    """Say why a file below a directory is no image to be read; None when it is one."""
    if any(part.startswith(".") for part in path.relative_to(root).parts[:-1]):
        return HIDDEN
    if path.is_dir():
        return LOOP
    if not path.is_file():
        return NOT_REGULAR if path.exists() else DEAD
    if path.suffix.lower() in SUFFIXES:
        return None
    return f"*{path.suffix}" if path.suffix else "no ending"


def readable(path: Path, root: Path) -> str:
    """Return the path below `root` as text: bytes of a name that are no UTF-8 become escapes."""
    relative = path.relative_to(root).as_posix()
    return relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def count_reasons(named: Iterable[tuple[str, str]]) -> str:
    """Return one line about (file, reason) pairs: of each reason how many, and the first names."""
    groups: dict[str, list[str]] = {}
    for name, reason in named:
        groups.setdefault(reason, []).append(name)
    return "; ".join(
        f"{reason}: {len(names):,} ({_first(names)})"
        for reason, names in sorted(groups.items(), key=lambda group: -len(group[1]))
    )


def _first(names: list[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
