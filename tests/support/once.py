"""What is made once for all processes of a test session, and copied by whoever changes it."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

PLACE = "CONVOY_TEST_PLACE"  # a directory that several sessions share, as those of one CI run do


class Once:
    """A directory that the session's processes share, on one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the directory `name`, which `make` has filled, in this process or another.

        The others wait meanwhile. What `make` leaves is there whole, or, when it fails, not at all.
        """
        place = self.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.with_name(f".{place.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_dir():
                draft = place.with_name(f".{place.name}.draft")
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                make(draft)
                draft.rename(place)
        return place


def session_place(factory: pytest.TempPathFactory) -> Path:
    """Return the directory that all workers of this session see."""
    if named := os.environ.get(PLACE):
        return Path(named)
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
