"""Disks without room: a small one that is mounted for a test, and a limit on the size of files."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# `convoy ARGUMENTS...` that may write no file of more bytes than its first argument says. What the
# kernel answers then differs from a full disk's answer by its number alone.
LIMITED = """
import resource, sys
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
from jobs.cli import main
main()
"""
TOO_LARGE, NO_SPACE = "File too large", "No space left on device"


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Callable[[int], None]]:
    """Mount a disk of a size at a place for the length of a block; gives what resizes it.

    Skips the test where that is not allowed.
    """
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root and mount")
    place.mkdir(exist_ok=True)
    done = _mount(place, f"size={kilobytes}k")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def resize(kilobytes: int) -> None:
        assert _mount(place, f"remount,size={kilobytes}k").returncode == 0

    try:
        yield resize
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def _mount(place: Path, options: str) -> "subprocess.CompletedProcess[str]":
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
