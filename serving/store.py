"""The model store: versions published whole, labelled, rolled back and retired.

    models/                     the root; mounted at /models in TensorFlow Serving's container
    ├── models.config           what is served, under which labels (see serving.catalog)
    └── digits/
        ├── 1760000000/         one version, a SavedModel directory
        └── history.jsonl       every publish, rollback, label and deletion

Every change happens under one lock and ends in one rename, so two publishers take turns and a
process killed at any instant leaves the store as it was before or as it should be after.
"""

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from serving import catalog, history, manifest, names, staging
from serving.errors import StoreError
from serving.seal import Signer

STABLE = "stable"
CANARY = "canary"
CARD = "assets.extra/card.json"
Place = str | PathLike[str]


class Store:
    """A directory of models in TensorFlow Serving's layout.

    Served are the labelled versions and the one that a rollback returns to, so none waits for a
    load. Without version or label a request goes to the highest version served, perhaps a canary.

    `keep`: versions that retention leaves of a model, beside those that are served. `signer` signs
    what is published; without one, a signature that comes with it stays.
    """

    def __init__(self, root: Place, keep: int = 5, signer: Signer | None = None) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1 version, got {keep}")
        self.root = Path(root)
        self.keep = keep
        self.signer = signer

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
        return sorted(name for name in models if names.is_model(name) and self.versions(name))

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

    def card(self, name: str, version: int) -> dict[str, Any]:
        """Where a version comes from, as its exporter wrote it; empty without a readable card."""
        with suppress(OSError, ValueError):
            card: Any = json.loads((self.path(name, version) / CARD).read_bytes())
            return card if isinstance(card, dict) else {}
        return {}

    def verify(self, name: str, version: int) -> None:
        """Compare a version's files with its manifest. Raises StoreError when they differ."""
        manifest.verify(self.path(name, version))

    def sign(self, name: str, version: int, signer: Signer) -> None:
        """Sign a version that is there, or sign it anew. Raises StoreError when it was changed."""
        with self._lock():
            staging.sign(self.path(name, version), signer)
            history.append(self._history(name), "sign", version=version)

    def publish(self, name: str, saved_model: Place, label: str | None = STABLE) -> int:
        """Copy a SavedModel in as the next version and return that version.

        The copy is made beside its final place and renamed into it, so a server polling the store
        sees all of a version or none of it. `label` is moved to it; without one it is stored, but
        not served. Raises StoreError when the manifest does not match the files.
        """
        source = Path(saved_model)
        model = self._model(name)
        if label is not None:
            names.check_label(label)
        manifest.verify(source)
        self.create()
        with self._lock():
            model.mkdir(exist_ok=True)
            model.chmod(0o755)
            staging.sweep(model)
            version = max(int(time.time()), self._last(name) + 1)
            staging.install(source, model / str(version), self.signer)
            self._announce(name, version, label)
        return version

    def complete(self, name: str, version: int, label: str | None = STABLE) -> None:
        """End a publish that was killed before it was on record; else change nothing."""
        with self._lock():
            if version not in history.published(self.history(name)):
                self._announce(name, version, label)

    def rollback(self, name: str) -> int:
        """Label the version that was stable before this one stable again, and return it.

        Raises StoreError when there is none. A version once left is no target of a later rollback.
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

    def withdraw(self, name: str, version: int, reason: str) -> int | None:
        """Take a version out of service for good, and return the one that is stable then, if any.

        Where it was stable, the version that was stable before it is so again. Its files stay until
        retention takes them. Withdrawing it again changes nothing.
        """
        with self._lock():
            labels, events = self.labels(name), self.history(name)
            kept = {label: held for label, held in labels.items() if held != version}
            if labels.get(STABLE) == version and (before := self._rollback_target(name, version)):
                kept[STABLE] = before
            if version not in history.withdrawn(events):  # first: no later rollback returns to it
                history.append(self._history(name), "withdraw", version=version, reason=reason)
            if kept != labels:
                self._assign(name, kept)
        return kept.get(STABLE)

    def promote(self, name: str) -> int:
        """Make the canary stable and return its version. Raises StoreError when there is none."""
        with self._lock():
            labels = self.labels(name)
            if CANARY not in labels:
                raise StoreError(
                    f"{name} has no canary to promote. Labels: {', '.join(labels) or 'none'}. "
                    "A job with publish.canary = true publishes one"
                )
            version = labels.pop(CANARY)
            self.verify(name, version)
            self._assign(name, labels | {STABLE: version})
            history.append(self._history(name), "promote", version=version, label=STABLE)
        return version

    def set_label(self, name: str, label: str, version: int) -> None:
        """Move a label to a version, which is served from then on. Raises StoreError."""
        names.check_label(label)
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

    def _announce(self, name: str, version: int, label: str | None) -> None:
        if label is not None:
            self._assign(name, self.labels(name) | {label: version})
        history.append(self._history(name), "publish", version=version, label=label)
        self._retire(name, self.keep)

    def _assign(self, name: str, labels: Mapping[str, int]) -> None:
        config = catalog.read(self.root)
        target = self._rollback_target(name, labels.get(STABLE))
        served = set(labels.values()) | ({target} if target else set())
        catalog.assign(config, name, served, labels)
        catalog.write(self.root, config)

    def _rollback_target(self, name: str, live: int | None) -> int | None:
        return history.rollback_target(self.history(name), live, self.versions(name))

    def _last(self, name: str) -> int:
        past = [event.get("version", 0) for event in self.history(name)]  # deleted ones count too
        return max([*past, *self.versions(name)], default=0)

    def _retire(self, name: str, keep: int) -> list[int]:
        needed = set(self.versions(name)[-max(keep, 1) :]) | set(self.served(name))
        retired = [version for version in self.versions(name) if version not in needed]
        for version in retired:
            staging.remove(self._model(name) / str(version))
        for version in history.untold(self.history(name), self.versions(name), retired):
            history.append(self._history(name), "delete", version=version)
        return retired

    def _model(self, name: str) -> Path:
        names.check_model(name)
        return self.root / name

    def _history(self, name: str) -> Path:
        return self._model(name) / "history.jsonl"

    def _lock(self) -> AbstractContextManager[None]:
        if not self.root.is_dir():
            raise StoreError(f"there is no store at {self.root}. Publish a model to create one.")
        return staging.locked(self.root)
