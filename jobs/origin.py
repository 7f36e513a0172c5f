"""The place that a model was trained in: machine, interpreter and source code."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import tensorflow as tf


def machine() -> dict[str, Any]:
    """Give the processor, its cores, the memory in GiB, and the accelerators."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads(),
        "memory_gib": round(pages / 2**30, 1),
        "accelerators": [_describe(device) for device in tf.config.list_physical_devices("GPU")],
    }


def threads() -> int:
    """Give the threads that share a computation of TensorFlow: sums depend on how they are cut."""
    asked = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    return chosen or (int(asked) if asked.isdigit() else 0) or len(os.sched_getaffinity(0))


def python() -> str:
    """Give the interpreter's version."""
    return platform.python_version()


def git_revision() -> str | None:
    """Give the revision of the working directory, where the job file lives.

    None outside a checkout.
    """
    return _git("rev-parse", "HEAD")


def git_dirty() -> bool | None:
    """Tell whether tracked files differ from that revision; None outside a checkout."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return None if changed is None else bool(changed)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607  # whichever the user has  # nosec B607
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """Give the processor's model where Linux names it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _describe(device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", device.name))
