"""Where a model comes from: what one needs to know, or to train it again."""

import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from jobs.config import Job
from jobs.fingerprint import fingerprint
from jobs.rundir import RunDir
from pipeline.dataset import DataInfo
from serving.store import Store

LIBRARIES = ("convoy-trainer", "tensorflow", "keras", "tensorflow-datasets", "numpy")


def make_card(job: Job, run: RunDir, info: DataInfo) -> dict[str, Any]:
    """Give the provenance of the run's model as plain JSON values."""
    return {
        "name": job.name,
        "run": run.path.name,
        "fingerprint": fingerprint(job, info.digest),
        "config": job.model_dump(mode="json", by_alias=True, exclude_none=True),
        "data": asdict(info),
        "seeds": {"data": job.data.seed, "train": job.train.seed},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "git_revision": _git_revision(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "metrics": run.read_json("evaluation.json"),
        "blessing": run.read_json("blessing.json"),
        "parent_version": Store(job.publish.store).live(job.name),
    }


def _git_revision() -> str | None:
    """Give the git revision of the working directory, where the job file lives.

    None outside a checkout.
    """
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
