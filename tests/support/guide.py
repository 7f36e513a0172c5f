"""A page of the guide: the files and commands that it shows, in a reader's order."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SHELLS = ("bash", "sh")  # every line is a command; in console blocks those behind a "$ " are
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"<!-- picture (\S+) from (\S+) -->")


@dataclass(frozen=True)
class File:
    """A file that the page asks its reader to write."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command, and where in the page its output stands: start and end in characters."""

    line: str
    start: int
    end: int
    shown: str


@dataclass(frozen=True)
class Picture:
    """A picture of the page, and the pattern of the file that a command left it in."""

    path: str
    source: str


Step = File | Command


def name(page: Path) -> str:
    """Give a page's path from the root of the project."""
    return page.relative_to(ROOT).as_posix()


def steps(text: str) -> list[Step]:
    """Give the titled files and the commands of a page."""
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        language, title, body = block.groups()
        if title:
            found.append(File(title, body))
        elif language == "console":
            found += _console(body, block.start(3))
        elif language in SHELLS:
            found += _shell(body, block.start(3))
    return found


def pictures(text: str) -> list[Picture]:
    """Give the pictures that the page takes from its commands."""
    return [Picture(*found) for found in _PICTURE.findall(text)]


def languages(text: str) -> Iterator[str]:
    """Give the language of every block."""
    return (block.group(1) for block in _BLOCK.finditer(text))


def _console(body: str, offset: int) -> list[Command]:
    """Read `$ command` lines, those that a backslash continues, and the output below each."""
    starts = [found.start() for found in re.finditer(r"^\$ ", body, re.MULTILINE)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
        entry = re.match(r"\$ ((?:[^\n]*\\\n)*[^\n]*\n)", body[start:end])
        if entry is None:
            raise ValueError(f"no command in {body[start:end]!r}")
        below = start + entry.end()
        line = entry.group(1).replace("\\\n", " ").strip()
        found.append(Command(line, offset + below, offset + end, body[below:end]))
    return found


def _shell(body: str, offset: int) -> list[Command]:
    lines = (line.partition(" #")[0].strip() for line in body.splitlines())
    kept = (line for line in lines if line and not line.startswith("#"))
    return [Command(line, offset, offset, "") for line in kept]
