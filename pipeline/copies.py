"""Copies of data that are kept from run to run: which ones a process uses, and how old ones go."""

import fcntl
import os
import shutil
from pathlib import Path

_held: dict[Path, int] = {}  # the copies that this process uses, and their open locks


def hold(place: Path) -> None:
    """Keep a copy, there already or about to be made, until this process ends.

    Call it before looking whether the copy is there: another process may be removing it just now.
    """
    place = place.resolve()
    if place not in _held:
        place.parent.mkdir(parents=True, exist_ok=True)
        _held[place] = _open_lock(place)
        fcntl.flock(_held[place], fcntl.LOCK_SH)


def held() -> list[Path]:
    """Give the absolute paths of the copies that this process has opened so far."""
    return sorted(_held)


def discard(place: Path) -> bool:
    """Remove a copy unless a process holds it, and tell whether it was removed.

    It disappears in one step: a removal that is killed leaves nothing that is taken for a copy, and
    is completed by the next one.
    """
    trash = place.with_name(f".{place.name}.trash")
    if not (place.exists() or trash.exists()):
        return False
    lock = _open_lock(place)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(trash)
        if place.exists():
            place.rename(trash)
            _remove(trash)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def _open_lock(place: Path) -> int:
    return os.open(place.with_name(f".{place.name}.use"), os.O_RDWR | os.O_CREAT, 0o666)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
