"""The model store: versions published whole, labelled, rolled back and retired.

    models/                     the root; mounted at /models in TensorFlow Serving's container
    ├── models.config           what is served, under which labels (see serving.catalog)
    └── digits/
        ├── 1760000000/         one version, a SavedModel directory
        └── history.jsonl       every publish, rollback, label and deletion

Every change happens under one lock and ends in one rename, so two publishers take turns and a
process killed at any instant leaves the store as it was before or as it should be after.
"""

import fcntl
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from serving import catalog, history, manifest, staging
from serving.errors import StoreError

STABLE = "stable"
CANARY = "canary"

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Store:
    """A directory of models in TensorFlow Serving's layout.

    Served are the labelled versions and the one that a rollback returns to: it stays loaded, so a
    rollback, or a label that moves, never waits for a model to load. A request that names neither
    version nor label goes to the highest version served: with a canary out, ask for "stable".

    `keep`: versions of each model that retention leaves, beside those that are served.
    """

    def __init__(self, root: str | PathLike[str], keep: int = 5) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1 version, got {keep}")
        self.root = Path(root)
        self.keep = keep

    def create(self) -> None:
        """Make the root directory and a models.config that a server can start with."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        with self._lock():
            if not (self.root / catalog.CONFIG).exists():
                catalog.write(self.root, catalog.empty())

    def names(self) -> list[str]:
        """Models that have at least one version."""
        if not self.root.is_dir():
            return []
        models = (entry.name for entry in self.root.iterdir() if entry.is_dir())
        return sorted(name for name in models if _NAME.fullmatch(name) and self.versions(name))

    def versions(self, name: str) -> list[int]:
        """Versions present, oldest first; none of an unknown model."""
        directory = self._model(name)
        if not directory.is_dir():
            return []
        entries = (entry for entry in directory.iterdir() if entry.is_dir())
        return sorted(int(entry.name) for entry in entries if entry.name.isdecimal())

    def path(self, name: str, version: int) -> Path:
        """The SavedModel directory of a version. Raises StoreError when it is not there."""
        if version not in self.versions(name):
            known = ", ".join(map(str, self.versions(name))) or "none"
            raise StoreError(f"{name} has no version {version}. Versions present: {known}")
        return self._model(name) / str(version)

    def labels(self, name: str) -> dict[str, int]:
        """Label to version."""
        return catalog.labels(catalog.read(self.root), name)

    def live(self, name: str) -> int | None:
        """The version labelled stable."""
        return self.labels(name).get(STABLE)

    def served(self, name: str) -> list[int]:
        """The versions that servers load: the labelled ones and the one to roll back to."""
        return sorted(catalog.served(catalog.read(self.root), name))

    def history(self, name: str) -> list[history.Event]:
        """Every publish, rollback, label and deletion, oldest first."""
        return history.read(self._history(name))

    def verify(self, name: str, version: int) -> None:
        """Compare a version's files with its manifest. Raises StoreError when they differ."""
        manifest.verify(self.path(name, version))

    def publish(
        self, name: str, saved_model: str | PathLike[str], label: str | None = STABLE
    ) -> int:
        """Copy a SavedModel in as the next version and return that version.

        The copy is made beside its final place and renamed into it, so a server polling the store
        sees all of a version or none of it. `label` is moved to it; without one it is stored, but
        not served. Raises StoreError when the manifest does not match the files.
        """
        source = Path(saved_model)
        model = self._model(name)
        if label is not None:
            _check_label(label)
        manifest.verify(source)
        self.create()
        with self._lock():
            model.mkdir(exist_ok=True)
            model.chmod(0o755)
            for litter in staging.sweep(model):
                log.warning("swept %s, left by a publish that was killed", model / litter)
            version = self._next_version(name)
            self._install(source, model / str(version))
            if label is not None:
                self._assign(name, self.labels(name) | {label: version})
            history.append(self._history(name), "publish", version=version, label=label)
            self._retire(name, self.keep)
        return version

    def rollback(self, name: str) -> int:
        """Label the version that was stable before this one stable again, and return it.

        Raises StoreError when there is none. A version that a rollback left is no target of a later
        one.
        """
        with self._lock():
            target = self._rollback_target(name, self.live(name))
            if target is None:
                raise StoreError(
                    f"{name} cannot be rolled back: no earlier stable version is left. "
                    f"Versions present: {self.versions(name) or 'none'}; label one of them instead."
                )
            self._assign(name, self.labels(name) | {STABLE: target})
            history.append(self._history(name), "rollback", version=target, label=STABLE)
        return target

    def set_label(self, name: str, label: str, version: int) -> None:
        """Move a label to a version, which is served from then on. Raises StoreError."""
        _check_label(label)
        with self._lock():
            self.verify(name, version)
            self._assign(name, self.labels(name) | {label: version})
            history.append(self._history(name), "label", version=version, label=label)

    def remove_label(self, name: str, label: str) -> None:
        """Take a label away; a version left without any is not served. Raises StoreError."""
        with self._lock():
            labels = self.labels(name)
            if label not in labels:
                known = ", ".join(labels) or "none"
                raise StoreError(f"{name} has no label {label!r}. Labels: {known}")
            version = labels.pop(label)
            self._assign(name, labels)
            history.append(self._history(name), "unlabel", version=version, removed=label)

    def retire(self, name: str, keep: int | None = None) -> list[int]:
        """Delete all but the newest `keep` versions and those served; return the deleted ones."""
        with self._lock():
            return self._retire(name, self.keep if keep is None else keep)

    def _install(self, source: Path, final: Path) -> None:
        staged = final.with_name(staging.STAGE + final.name)
        staging.copy(source, staged)
        manifest.verify(staged)  # of the copy: the source may have changed under our hands
        staging.install(staged, final)

    def _assign(self, name: str, labels: Mapping[str, int]) -> None:
        config = catalog.read(self.root)
        target = self._rollback_target(name, labels.get(STABLE))
        served = set(labels.values()) | ({target} if target else set())
        catalog.assign(config, name, served, labels)
        catalog.write(self.root, config)

    def _rollback_target(self, name: str, live: int | None) -> int | None:
        """The latest version that was stable before `live` and is still there."""
        if live is None:
            return None
        present = set(self.versions(name))
        earlier = history.stable_versions(self.history(name), live)[:-1]
        return next((version for version in reversed(earlier) if version in present), None)

    def _next_version(self, name: str) -> int:
        past = [event.get("version", 0) for event in self.history(name)]  # deleted ones count too
        return max(int(time.time()), max([*past, *self.versions(name)], default=0) + 1)

    def _retire(self, name: str, keep: int) -> list[int]:
        needed = set(self.versions(name)[-max(keep, 1) :]) | set(self.served(name))
        retired = [version for version in self.versions(name) if version not in needed]
        for version in retired:
            staging.remove(self._model(name) / str(version))
            history.append(self._history(name), "delete", version=version)
        return retired

    def _model(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or name.startswith(catalog.CONFIG):
            raise StoreError(
                f"{name!r} is no model name: up to 128 letters, digits, '_', '-' and '.', "
                f"the first a letter or digit, and not {catalog.CONFIG}"
            )
        return self.root / name

    def _history(self, name: str) -> Path:
        return self._model(name) / "history.jsonl"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the store against other processes; the kernel frees it when its holder dies."""
        if not self.root.is_dir():
            raise StoreError(f"there is no store at {self.root}. Publish a model to create one.")
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _check_label(label: str) -> None:
    if not _LABEL.fullmatch(label):
        raise StoreError(
            f"{label!r} is no label: up to 64 letters, digits, '_', '-' and '.', "
            "the first a letter or digit"
        )
