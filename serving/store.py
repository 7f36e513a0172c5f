"""The model store: versions published whole, labelled, rolled back and retired.

    models/                     the root; mounted at /models in TensorFlow Serving's container
    ├── models.config           what is served, under which labels (see serving.catalog)
    └── digits/
        ├── 1760000000/         one version, a SavedModel directory
        └── history.jsonl       every publish, rollback, label and deletion

Every change happens under one lock and ends in one rename, so two publishers take turns and a
process killed at any instant leaves the store as it was before or as it should be after.

TensorFlow Serving assigns labels before it loads, and refuses the whole file, all models, while one
label moves to a version that is not available (server_core.cc, ReloadConfig). So a label moves in
two writes: the first has servers load the version beside the others, `settle` moves the label. In
between, which is for the caller to wait, the request is `pending` in the model's history.
"""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from serving import catalog, history, layout, manifest, names, permissions, staging
from serving.errors import StoreError
from serving.ledger import Ledger
from serving.repair import Repaired, Servers, repair
from serving.seal import Signer

STABLE = history.STABLE
CANARY = history.CANARY
CARD = "assets.extra/card.json"
MADE_BY_HAND = 10**12  # versions are seconds since 1970: no clock gives one from here on
Place = str | PathLike[str]
log = logging.getLogger(__name__)


class Store:
    """A directory of models in TensorFlow Serving's layout.

    Served are the labelled versions, those that a label is about to move to, and the one that a
    rollback returns to, so none waits for a load. Without version or label a request goes to the
    highest version served, perhaps a canary.

    `keep`: versions that retention leaves of a model, beside those that are served. `signer` signs
    what is published, and models.config; without one, a configuration that is signed stays as it
    is, and all that would change it raises StoreError.
    """

    def __init__(self, root: Place, keep: int = 5, signer: Signer | None = None) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1 version, got {keep}")
        self.root = Path(root)
        self.keep = keep
        self.signer = signer
        self.ledger = Ledger(self.root, signer)

    def create(self) -> None:
        """Make the root directory and a models.config that a server can start with.

        One that is there is only read. Raises StoreError when models.config was lost.
        """
        if not self.root.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
        permissions.widen(self.root)
        if not catalog.is_written(self.root):
            with self.ledger.lock():
                self.ledger.write(catalog.read(self.root))

    def names(self) -> list[str]:
        """Models that have at least one version."""
        if not self.root.is_dir():
            return []
        models = (entry.name for entry in self.root.iterdir() if entry.is_dir())
        return sorted(name for name in models if names.is_model(name) and self.versions(name))

    def versions(self, name: str) -> list[int]:
        """Versions present, oldest first; none of an unknown model."""
        return list(self.ledger.versions(name))

    def path(self, name: str, version: int) -> Path:
        """The SavedModel directory of a version. Raises StoreError when it is not there."""
        found = self.ledger.versions(name)
        if version not in found:
            known = ", ".join(map(str, found)) or "none"
            raise StoreError(f"{name} has no version {version}. Versions present: {known}")
        return found[version]

    def labels(self, name: str) -> dict[str, int]:
        """Label to version."""
        return self.ledger.labels(name)

    def live(self, name: str) -> int | None:
        """The version labelled stable."""
        return self.labels(name).get(STABLE)

    def pending(self, name: str) -> dict[str, int]:
        """Label to the version that it is about to move to: what `settle` does."""
        return self.ledger.pending(name)

    def served(self, name: str) -> list[int]:
        """The versions that servers load."""
        return sorted(self.ledger.served(name))

    def unconfirmed(self, name: str) -> list[int]:
        """Versions under a label, or about to be, of which no server ever said that it has them."""
        labels = self.labels(name) | self.pending(name)
        return sorted(set(labels.values()) - self.ledger.state(name).confirmed)

    def strays(self, name: str) -> list[str]:
        """Names beside the versions that TensorFlow Serving takes for versions, and we do not."""
        return layout.strays(self.ledger.model(name))

    def history(self, name: str) -> list[history.Event]:
        """Every publish, rollback, label and deletion, oldest first."""
        return self.ledger.events(name)

    def card(self, name: str, version: int) -> dict[str, Any]:
        """Where a version comes from, as its exporter wrote it; empty without a readable card."""
        with suppress(OSError, ValueError):
            card: Any = json.loads((self.path(name, version) / CARD).read_bytes())
            return card if isinstance(card, dict) else {}
        return {}

    def verify(self, name: str, version: int) -> None:
        """Compare a version's files with its manifest. Raises StoreError when they differ.

        Where the store signs, the version must be signed with its key.
        """
        if self.signer:
            self.signer.verifier().verify(self.path(name, version), name, version)
        else:
            manifest.verify(self.path(name, version))

    def sign(self, name: str, version: int, signer: Signer) -> None:
        """Sign a version that is there, or sign it anew. Raises StoreError when it was changed."""
        with self.ledger.lock():
            staging.sign(self.path(name, version), name, version, signer)
            self.ledger.append(name, "sign", version=version)

    def sign_config(self, signer: Signer) -> None:
        """Sign what servers are told, as it stands: from then on it changes with a key alone."""
        with self.ledger.lock():
            catalog.write(self.root, catalog.read(self.root), signer)

    def publish(self, name: str, saved_model: Place, label: str | None = STABLE) -> int:
        """Copy a SavedModel in as the next version, have it served, and return that version.

        The copy is made beside its final place and renamed into it, so a server polling the store
        sees all of a version or none of it. `label` stays where it is until `settle` moves it; only
        a model's first version gets it at once. Without a label the version is stored, not served.
        Raises StoreError when the manifest does not match the files.
        """
        source, model = Path(saved_model), self.ledger.model(name)
        if label is not None:
            names.check_label(label)
        manifest.verify(source, follow=True)
        self.create()
        catalog.check_signer(self.root, self.signer)
        with self.ledger.lock():
            layout.refuse(model)
            self._warn_of_missing()
            model.mkdir(exist_ok=True)
            permissions.widen(model)
            staging.sweep(model)
            version = self._next(name)
            staging.install(source, model / str(version), self.signer)
            self._announce(name, version, label)
        return version

    def complete(self, name: str, version: int, label: str | None = STABLE) -> None:
        """End the first write of a publish that was killed in it; else change nothing."""
        with self.ledger.lock():
            if version not in history.published(self.history(name)):
                self._announce(name, version, label)
            elif version in set(self.pending(name).values()) - set(self.served(name)):
                self.ledger.assign(name, self.labels(name))

    def settle(
        self, name: str, version: int | None = None, servers: Sequence[str] = ()
    ) -> dict[str, int]:
        """Move the labels that were asked for, and return them; with `version` only those to it.

        Call it when servers had time to load what the write before told them of, or said that they
        have: `servers` goes on record. A request that a later one replaced moves nothing. Raises
        StoreError when servers were not told to load the version.
        """
        with self.ledger.lock():
            due = {k: v for k, v in self.pending(name).items() if version in (None, v)}
            untold = set(due.values()) - self.ledger.served(name)
            if untold:
                raise StoreError(
                    f"{name}: servers were not told to load {_join(untold)}, so no label can move "
                    f"there. convoy models repair --store {self.root} tells them and moves it"
                )
            if due:
                self.ledger.assign(name, self.labels(name) | due)
            self.ledger.record_settled(name, servers)
            self._retire(name, self.keep)
        return due

    def rollback(self, name: str) -> int:
        """Label the version that was stable before this one stable again, and return it.

        It is still served, so one write does it, unless somebody took it out of models.config.
        Raises StoreError when there is none. A version once left is no target of a later rollback.
        """
        with self.ledger.lock():
            target = self.ledger.rollback_target(name, self.live(name))
            if target is None:
                raise StoreError(
                    f"{name} cannot be rolled back: no earlier stable version is left. "
                    f"Versions present: {self.versions(name) or 'none'}; label one of them "
                    f"instead: convoy models label {name} {STABLE} VERSION"
                )
            self._move(name, STABLE, target, "rollback")
        return target

    def withdraw(self, name: str, version: int, reason: str) -> int | None:
        """Take a version out of service for good, and return the one that is stable then, if any.

        Where it was stable, the version that was stable before it is so again: at once, or after
        `settle` where servers do not have it. Its files stay until retention takes them.
        Withdrawing it again changes nothing.
        """
        with self.ledger.lock():
            labels = self.labels(name)
            kept = {label: held for label, held in labels.items() if held != version}
            before = None
            if labels.get(STABLE) == version:
                before = self.ledger.rollback_target(name, version)
            if before is not None and before in self.ledger.loaded(name):
                kept[STABLE] = before
            elif before is not None:
                kept[STABLE] = version  # until servers have the one before
                if self.pending(name).get(STABLE) != before:
                    self.ledger.append(name, "label", version=before, label=STABLE, pending=True)
            # On record first: no later rollback returns to it.
            if version not in self.ledger.state(name).withdrawn:
                self.ledger.append(name, "withdraw", version=version, reason=reason)
            if kept != labels or version in self.ledger.served(name):
                self.ledger.assign(name, kept)
        return kept.get(STABLE) if before is None else before

    def promote(self, name: str) -> int:
        """Make the canary stable and return its version. Raises StoreError when there is none."""
        with self.ledger.lock():
            labels = self.labels(name)
            if CANARY not in labels:
                raise StoreError(
                    f"{name} has no canary to promote. Labels: {', '.join(labels) or 'none'}. "
                    "A job with publish.canary = true publishes one"
                )
            version = labels.pop(CANARY)
            self.verify(name, version)
            self.ledger.assign(name, labels | {STABLE: version}, ended={STABLE})
            self.ledger.append(name, "promote", version=version, label=STABLE)
        return version

    def set_label(self, name: str, label: str, version: int) -> None:
        """Move a label to a version: at once where it is served, else after `settle`.

        Raises StoreError when the version is not there or was changed.
        """
        names.check_label(label)
        with self.ledger.lock():
            self.verify(name, version)
            self._move(name, label, version, "label")

    def remove_label(self, name: str, label: str) -> None:
        """Take a label away; a version left without any is not served. Raises StoreError."""
        with self.ledger.lock():
            labels = self.labels(name)
            if label not in labels:
                known = ", ".join(labels) or "none"
                raise StoreError(f"{name} has no label {label!r}. Labels: {known}")
            version = labels.pop(label)
            self.ledger.assign(name, labels, ended={label})
            self.ledger.append(name, "unlabel", version=version, removed=label)

    def retire(self, name: str, keep: int | None = None) -> list[int]:
        """Delete all but the newest `keep` versions and those served; return the deleted ones."""
        with self.ledger.lock():
            return self._retire(name, self.keep if keep is None else keep)

    def repair(self, servers: Servers, unlabel: bool = False) -> Repaired:
        """Take all servers to what the store says, and finish what was interrupted.

        See serving.repair. Raises StoreError when models.config cannot be parsed.
        """
        return repair(self.ledger, servers, unlabel)

    def _announce(self, name: str, version: int, label: str | None) -> None:
        self.ledger.record_settled(name)  # what a killed settle did not
        if label is None:
            self.ledger.append(name, "publish", version=version, label=None)
        else:
            self._move(name, label, version, "publish")
        self._retire(name, self.keep)

    def _move(self, name: str, label: str, version: int, event: str) -> None:
        """Move a label in one write if servers have the version, else make the first of two."""
        labels = self.labels(name)
        if self.ledger.is_new(name) or version in self.ledger.loaded(name):
            self.ledger.assign(name, labels | {label: version}, ended={label})
            self.ledger.append(name, event, version=version, label=label)
        else:
            self.ledger.append(name, event, version=version, label=label, pending=True)
            self.ledger.assign(name, labels)

    def _next(self, name: str) -> int:
        """A number above all that were published, deleted ones too, and all that could have been.

        Others, such as 2^63-1, somebody made by hand: none would be left above them.
        """
        past = [event.get("version", 0) for event in self.history(name)]
        known = [number for number in (*past, *self.versions(name)) if number < MADE_BY_HAND]
        return max([int(time.time()), *(number + 1 for number in known)])

    def _retire(self, name: str, keep: int) -> list[int]:
        found = {v: p for v, p in self.ledger.versions(name).items() if v < MADE_BY_HAND}
        needed = set(list(found)[-max(keep, 1) :]) | self.ledger.served(name)
        retired = [v for v in found if v not in needed and staging.remove(found[v])]
        for version in history.untold(self.history(name), self.versions(name), retired):
            self.ledger.append(name, "delete", version=version)
        return retired

    def _warn_of_missing(self) -> None:
        for name, path in self.ledger.missing().items():
            log.warning(
                "models.config has %s, but %s is missing: until it is back, TensorFlow Serving "
                "finds no new version of any model. convoy models repair takes it out",
                name, path,
            )  # fmt: skip


def _join(versions: set[int]) -> str:
    return ", ".join(map(str, sorted(versions)))
