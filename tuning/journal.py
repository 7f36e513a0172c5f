"""What happened in a search, one line of JSON for each event, on disk before it counts."""

import json
import os
import time
from pathlib import Path
from typing import Any

from pipeline.whole import write_whole

Event = dict[str, Any]


class DamagedJournal(Exception):
    """The journal cannot be continued; the message says where it is damaged."""


class Journal:
    """An append-only file. A last line that a crash has cut is dropped when it is opened again."""

    def __init__(self, path: Path) -> None:
        """Open or begin the file. Raises DamagedJournal when a line before the last is no event."""
        self.path = path
        self.events = read(path) if path.exists() else []
        text = "".join(json.dumps(event) + "\n" for event in self.events)
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
            write_whole(path, text.encode())

    def append(self, event: Event) -> None:
        """Add an event, with the time of now; when this returns it has reached the disk."""
        now = time.time_ns() // 1_000_000 / 1000  # rounded down: no event lies in the future
        stamped = {**event, "at": now}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(stamped) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.events.append(stamped)


def read(path: Path) -> list[Event]:
    """Read the events, without a last line that is cut.

    Raises DamagedJournal when another line is no event.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            events.append({**event, "event": str(event["event"])})
        except (ValueError, TypeError, KeyError):
            if number < len(lines):  # the last piece has no line end: it was being written
                raise DamagedJournal(
                    f"{path} is damaged in line {number} of {len(lines)}: expected a JSON object "
                    f"with an event. Remove that line and all after it to continue from there"
                ) from None
    return events
