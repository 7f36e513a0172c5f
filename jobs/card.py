"""Where a model comes from: what one needs to know, or to train it again."""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jobs import origin
from jobs.config import Job
from jobs.fingerprint import fingerprint
from jobs.rundir import RunDir, in_order
from jobs.tuned import SEARCH
from jobs.values import BEST_VALUES
from pipeline.dataset import DataInfo
from serving.store import Store

LIBRARIES = (
    "convoy-trainer",
    "tensorflow",
    "keras",
    "keras-tuner",
    "tensorflow-datasets",
    "numpy",
    "pillow",
    "scikit-learn",
)


def make_card(job: Job, run: RunDir, info: DataInfo) -> dict[str, Any]:
    """Give the provenance of the run's model as plain JSON values."""
    return {
        "name": job.name,
        "run": run.path.name,
        "fingerprint": fingerprint(run.job(), info.digest),  # what was asked, before any search
        "config": job.model_dump(mode="json", by_alias=True, exclude_none=True),
        "data": asdict(info),
        "seeds": {"data": job.data.seed, "train": job.train.seed},
        "search": _search(job, run),
        "versions": _versions(),
        "git_revision": origin.git_revision(),
        "git_dirty": origin.git_dirty(),
        "machine": origin.machine(),
        "metrics": _metrics(run),
        "blessing": run.read_json("blessing.json"),
        "parent_version": Store(job.publish.store).live(job.name),
    }


def _metrics(run: RunDir) -> dict[str, Any]:
    """Give the evaluation without who was taken for whom: a card goes into every version."""
    found: dict[str, Any] = run.read_json("evaluation.json")
    return {name: value for name, value in found.items() if name != "confusion"}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": origin.python()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # convoy itself, run from a checkout that is not installed
            found[name] = None
    return found


def _search(job: Job, run: RunDir) -> dict[str, Any] | None:
    """Give the run's own search, else the last whose best values the job has; None without one."""
    if (run / SEARCH).is_file():
        made: dict[str, Any] = run.read_json(SEARCH)
        return {**made, "values": made["best"]["values"]}
    settings = job.model_dump(mode="json", by_alias=True)
    searches = run.path.parent.with_name(f"{run.path.parent.name}-tune")
    for place in reversed(in_order(searches, BEST_VALUES)):
        values = RunDir(place).read_json(BEST_VALUES)["values"]
        chosen = {key: value for key, value in values.items() if "/" not in key}  # not the tuner's
        if chosen and all(_lookup(settings, key) == value for key, value in chosen.items()):
            return {"run": place.name, "values": chosen}
    return None


def _lookup(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
