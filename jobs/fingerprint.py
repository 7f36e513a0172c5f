"""What a model is a function of: the same fingerprint is the same model again."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from jobs.config import Job
from serving.history import withdrawn
from serving.store import Store
from trainer.transfer import weights_file

LIBRARIES = ("convoy-trainer", "tensorflow", "keras")  # another version may train another model


def fingerprint(job: Job, digest: str) -> str:
    """Give the sha256 of a job's settings, its data's digest and the code that trains."""
    facts = {
        "job": job.model_dump(mode="json", by_alias=True, exclude={"tfx"}),  # it trains the same
        "data": digest,
        "weights": _weights(job),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _weights(job: Job) -> str | None:
    """Give the sha256 of the file that training starts from, which may be another under one name.

    None without a file: from ImageNet's weights, from random ones, or where the file is missing.
    """
    source = job.model.weights
    if source is None:
        return None
    path = weights_file(Path(source))
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_of(store: Store, name: str, wanted: str) -> int | None:
    """Give the newest version when it has this fingerprint; none when it has another.

    A version that a person rolled back still counts: the same data and settings would only make it
    again. One that was withdrawn because servers did not take it does not: it is worth a new try.
    """
    left = withdrawn(store.history(name))
    for version_ in reversed(store.versions(name)):
        if version_ not in left:
            return version_ if store.card(name, version_).get("fingerprint") == wanted else None
    return None
