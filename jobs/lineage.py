"""What two versions of a model do not have in common, by their cards."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

SECTIONS = {  # a card's part -> what a reader calls it
    "config": "settings",
    "data": "data",
    "seeds": "settings",
    "search": "settings",
    "metrics": "metrics",
    "versions": "versions",
    "git_revision": "code",
    "git_dirty": "code",
    "machine": "machine",
    "imported": "data",
    "digest": "data",
}
ORDER = ("settings", "data", "code", "versions", "machine", "metrics")
# Many numbers that say in detail what others sum up.
LEFT_OUT = ("metrics.confusion", "metrics.calibration.bins", "metrics.intervals", "metrics.slices")


@dataclass(frozen=True)
class Change:
    """One fact that differs; None where a card does not have it."""

    section: str
    key: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """Give the change as plain JSON values."""
        return asdict(self)


def diff(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Compare two cards fact by fact, ordered by section and then as the cards are."""
    old, new = dict(_facts(before, "")), dict(_facts(after, ""))
    found = [
        Change(SECTIONS[key.split(".")[0]], key.removeprefix("config."), old.get(key), new.get(key))
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key)
    ]
    return sorted(found, key=lambda change: ORDER.index(change.section))


def _facts(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every fact by its dotted path; entries of a list that have a label or name go by that."""
    if path in LEFT_OUT or (path and path.split(".")[0] not in SECTIONS):
        return
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _facts(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and node and all(isinstance(entry, dict) for entry in node):
        for number, entry in enumerate(node):
            key = entry.get("label", entry.get("name", number))
            rest = {k: v for k, v in entry.items() if k not in ("label", "name")}
            yield from _facts(rest, f"{path}.{key}")
    else:
        yield path, node
