"""Class names: the one form that all sources give them, and the file in which they are kept."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

MARK = "\ufeff"  # a byte-order mark: Windows' editors begin a file with it
MOST_NAMED = 5  # in an error


def normal(name: str, where: str) -> str:
    """Return a class name composed (NFC), without blanks or a byte-order mark around it.

    Raises ValueError that begins with `where` for what cannot be a name: nothing, several lines, or
    bytes that are no text.
    """
    composed = unicodedata.normalize("NFC", name).strip().strip(MARK).strip()
    if not composed:
        raise ValueError(f"{where} has a class without a name")
    if "\n" in composed or "\r" in composed:
        raise ValueError(f"{where}: the class name {name!r} has a line break in it")
    try:
        composed.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: the class name {name!r} is no text in UTF-8") from None
    return composed


def distinct(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Return names in their normal form. Raises ValueError as `normal`, and for equal ones."""
    found = tuple(normal(name, where) for name in names)
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise ValueError(f"{where} names {_listed(twice)} twice; each class has a name of its own")
    return found


def to_text(names: Sequence[str]) -> str:
    """Return the content of a labels.txt: a name a line, each ended by a line feed."""
    return "".join(f"{name}\n" for name in names)


def of_text(text: str) -> tuple[str, ...]:
    """Read what `to_text` gave. `str.splitlines` would split at U+2028 and U+0085 as well."""
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def read(path: Path) -> tuple[str, ...]:
    """Read a person's file of names, one a line, as editors on any system write it.

    Raises ValueError when it is no UTF-8, a name is missing between others, or stands twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8: save it as UTF-8") from None
    return distinct(lines, str(path))


def chosen(wanted: Sequence[str], there: Sequence[str], has_names: bool, source: str) -> list[int]:
    """Return the source's number of each wanted class, in the order wanted.

    Names select and order, as `classes=` does in Keras. Where a source only numbers its classes
    (`has_names` is false), as many names as it has classes name them instead. Raises ValueError
    for anything else.
    """
    numbers = {name: number for number, name in enumerate(there)}
    unknown = [name for name in wanted if name not in numbers]
    if not unknown:
        return [numbers[name] for name in wanted]
    moved = [name for place, name in enumerate(wanted) if numbers.get(name, place) != place]
    if has_names or moved:
        raise ValueError(
            f"data.class_names: {source} has no class {_listed(unknown)}; it selects and orders "
            f"the source's own: {_listed(there)}"
        )
    if len(wanted) != len(there):
        raise ValueError(
            f"data.class_names has {len(wanted)} names; {source} numbers {len(there)} classes, and "
            "each needs one"
        )
    return list(range(len(wanted)))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
