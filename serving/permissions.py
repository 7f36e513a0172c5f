"""Permissions of what the store writes: only ever added, and only where some are missing.

A server in a container runs as another user than the publisher, whatever the publisher's umask, and
a store may belong to a group (mode 2775): what lies in a directory that the group may write to is
written to by the group as well. Who owns nothing there may still publish.
"""

import logging
import os
import stat
from pathlib import Path

DIRECTORY, FILE = 0o755, 0o644
GROUP_WRITE = 0o020
log = logging.getLogger(__name__)


def widen(path: Path) -> None:
    """Let every user read a file or directory, and its directory's group write to it too."""
    found = path.stat()
    least = DIRECTORY if stat.S_ISDIR(found.st_mode) else FILE
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode | least | (path.parent.stat().st_mode & GROUP_WRITE)
    if wanted == mode:
        return
    try:
        path.chmod(wanted)
    except PermissionError:  # its owner's affair, where the server can read it anyway
        log.warning("%s has mode %o and is not ours to make %o", path, mode, wanted)


def open_lock(path: Path) -> int:
    """Open a lock file, made if need be; for reading alone where it is another user's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # flock does not ask for more
    return descriptor
