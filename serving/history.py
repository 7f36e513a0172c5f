"""What happened to a model in the store: one JSON object a line, only ever appended."""

import json
import os
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def append(path: Path, event: str, **facts: str | int | None) -> None:
    """Add one event and make it durable. The caller holds the store's lock."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | facts
    with path.open("ab") as file:
        # A writer killed in mid-line leaves no newline: its torn line must not swallow ours.
        torn = file.tell() > 0 and not _ends_with_newline(path)
        file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Event]:
    """Every event, oldest first; a line torn by a crash is left out."""
    if not path.exists():
        return []
    events = (_parse(line) for line in path.read_bytes().splitlines())
    return [event for event in events if event]


def stable_versions(events: Sequence[Event], live: int | None) -> list[int]:
    """The versions a rollback can walk back through, ending with the live one.

    A rollback takes the version it leaves off the end, so a version found bad is never its target
    again, and so is one that was withdrawn. models.config is the truth: where a crash kept its last
    change out of the history, the result still ends with `live`.
    """
    stack: list[int] = []
    for event in events:
        if event.get("label") == "stable":
            stack = _move(stack, event["version"])
        elif event["event"] == "withdraw":
            stack = [version for version in stack if version != event["version"]]
    return stack if live is None else _move(stack, live)


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
    return {event["version"] for event in events if event["event"] == "withdraw"}


def published(events: Sequence[Event]) -> set[int]:
    """The versions whose publishing is on record."""
    return {event["version"] for event in events if event["event"] == "publish"}


def untold(events: Sequence[Event], present: Collection[int], gone: Collection[int]) -> list[int]:
    """Versions that are `gone`, or missing from those present, and not on record as deleted.

    A process killed while it deletes leaves one such version.
    """
    told = {event["version"] for event in events if event["event"] == "delete"}
    return sorted((published(events) - set(present) - told) | set(gone))


def _move(stack: list[int], version: int) -> list[int]:
    return stack[: stack.index(version) + 1] if version in stack else [*stack, version]


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
