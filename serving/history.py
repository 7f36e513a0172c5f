"""What happened to a model in the store: one JSON object a line, only ever appended.

An event with a `label` says where that label went. With `pending` it only says where the label is
asked to go: servers load the version first, and a later event without `pending` ends the request.
"""

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving import layout, permissions

STABLE = "stable"
CANARY = "canary"
Event = dict[str, Any]


def append(path: Path, event: str, **facts: Any) -> None:
    """Add one event and make it durable. The caller holds the store's lock."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | facts
    with path.open("ab") as file:
        # A writer killed in mid-line leaves no newline: its torn line must not swallow ours.
        torn = file.tell() > 0 and not _ends_with_newline(path)
        file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    permissions.widen(path)


def read(path: Path) -> list[Event]:
    """Every event, oldest first; a line torn by a crash is left out."""
    if not path.exists():
        return []
    events = (_parse(line) for line in path.read_bytes().splitlines())
    return [event for event in events if event]


@dataclass
class State:
    """What a history comes to."""

    stable: list[int] = field(default_factory=list)  # what a rollback walks back through
    labels: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)  # where labels are asked to go
    withdrawn: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)  # a server said that it serves them

    def follow(self, event: Event) -> None:
        """Take in one more event."""
        version, label = event.get("version", 0), event.get("label")
        if event.get("servers"):
            self.confirmed.add(version)
        if event["event"] == "withdraw":
            self._withdraw(version)
        elif event["event"] == "delete":
            self._drop(version)
        elif "removed" in event:
            self.labels.pop(event["removed"], None)
            self.pending.pop(event["removed"], None)
        elif label and event.get("pending"):
            self.pending[label] = version
        elif label:
            self._move(label, version, promoted=event["event"] == "promote")

    def _move(self, label: str, version: int, promoted: bool) -> None:
        self.pending.pop(label, None)
        self.labels[label] = version
        if label == STABLE:
            self.stable = _extended(self.stable, version)
        if promoted:
            self.labels.pop(CANARY, None)

    def _withdraw(self, version: int) -> None:
        self._drop(version)
        self.withdrawn.add(version)
        self.stable = [held for held in self.stable if held != version]
        was_stable = self.labels.get(STABLE) == version
        self.labels = {label: held for label, held in self.labels.items() if held != version}
        if was_stable and STABLE in self.pending:  # servers load the one before first
            self.labels[STABLE] = version
        elif was_stable and self.stable:
            self.labels[STABLE] = self.stable[-1]

    def _drop(self, version: int) -> None:
        self.pending = {label: held for label, held in self.pending.items() if held != version}


def state(events: Sequence[Event]) -> State:
    """What the events come to, one after the other."""
    found = State()
    for event in events:
        found.follow(event)
    return found


def stable_versions(events: Sequence[Event], live: int | None) -> list[int]:
    """The versions a rollback can walk back through, ending with the live one.

    A rollback takes the version it leaves off the end, so a version found bad is never its target
    again, and so is one that was withdrawn. models.config is the truth: where a crash kept its last
    change out of the history, the result still ends with `live`.
    """
    stack = state(events).stable
    return stack if live is None else _extended(stack, live)


def rollback_target(
    events: Sequence[Event], live: int | None, present: Collection[int]
) -> int | None:
    """The latest version that was stable before `live` and is still there."""
    if live is None:
        return None
    earlier = stable_versions(events, live)[:-1]
    return next((version for version in reversed(earlier) if version in present), None)


def withdrawn(events: Sequence[Event]) -> set[int]:
    """The versions that were taken out of service for good."""
    return state(events).withdrawn


def published(events: Sequence[Event]) -> set[int]:
    """The versions whose publishing is on record."""
    return {event["version"] for event in events if event["event"] == "publish"}


def labelled(events: Sequence[Event], label: str) -> set[int]:
    """The versions that ever had a label."""
    moves = (event for event in events if event.get("label") == label)
    return {event["version"] for event in moves if not event.get("pending")}


def untold(events: Sequence[Event], present: Collection[int], gone: Collection[int]) -> list[int]:
    """Versions that are `gone`, or missing from those present, and not on record as deleted.

    A process killed while it deletes leaves one such version.
    """
    told = {event["version"] for event in events if event["event"] == "delete"}
    return sorted((published(events) - set(present) - told) | set(gone))


def _extended(stack: list[int], version: int) -> list[int]:
    return stack[: stack.index(version) + 1] if version in stack else [*stack, version]


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and _is_whole(event) else None


def _is_whole(event: Event) -> bool:
    """Whether a line says what an event says, as far as anything reads it."""
    version = event.get("version")
    texts = (event.get("event"), event.get("label") or "", event.get("removed", ""))
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(version, int)
        and not isinstance(version, bool)
        and 0 <= version <= layout.LARGEST
    )
