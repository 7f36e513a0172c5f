"""What a store's files say of a model: its versions, its history, and what servers are told of it.

models.config is what servers are told. A history is what was decided: where a label is asked to go
to a version that servers do not have yet, the request waits there (`pending`) until they do, and
survives whoever made it.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from serving import catalog, history, layout, staging
from serving.errors import StoreError
from serving.names import check_model, is_model
from serving.seal import Signer
from serving.wire import config_pb2


class Ledger:
    """Reads and writes the files of a store. Writers hold `lock()` meanwhile."""

    def __init__(self, root: Path, signer: Signer | None = None) -> None:
        self.root, self.signer = root, signer

    def lock(self) -> AbstractContextManager[None]:
        """Hold the store against other processes; never while waiting for servers."""
        if not self.root.is_dir():
            raise StoreError(f"there is no store at {self.root}. Publish a model to create one.")
        return staging.locked(self.root)

    def model(self, name: str) -> Path:
        """A model's directory. Raises StoreError when it may not have this name."""
        check_model(name)
        return self.root / name

    def models(self) -> list[str]:
        """Names of the models that have a history."""
        found = (path.parent.name for path in self.root.glob(catalog.HISTORIES))
        return sorted(filter(is_model, found))

    def versions(self, name: str) -> dict[int, Path]:
        """The versions that are there and their directories, oldest first."""
        return layout.find(self.model(name))

    def events(self, name: str) -> list[history.Event]:
        """What happened to a model, oldest first."""
        return history.read(self._history(name))

    def state(self, name: str) -> history.State:
        """What that comes to."""
        return history.state(self.events(name))

    def append(self, name: str, event: str, **facts: Any) -> None:
        """Put one more event on record."""
        history.append(self._history(name), event, **facts)

    def labels(self, name: str) -> dict[str, int]:
        """Label to version, as servers are told."""
        return catalog.labels(catalog.read(self.root), name)

    def served(self, name: str) -> set[int]:
        """The versions that servers are told to load."""
        return catalog.served(catalog.read(self.root), name)

    def pending(self, name: str) -> dict[str, int]:
        """Label to the version that it moves to in the next write, where that is still there."""
        labels, present = self.labels(name), self.versions(name)
        asked = self.state(name).pending.items()
        return {k: v for k, v in asked if labels.get(k) != v and v in present}

    def loaded(self, name: str) -> set[int]:
        """The versions that servers were told to load by a write that is behind us."""
        labels = self.labels(name)
        target = self.rollback_target(name, labels.get(history.STABLE))
        return self.served(name) & {*labels.values(), target}

    def is_new(self, name: str) -> bool:
        """Tell whether no server can know the model: no label of it was ever written."""
        if name in catalog.models(catalog.read(self.root)):
            return False
        return not any(event.get("label") for event in self.events(name))

    def rollback_target(self, name: str, live: int | None) -> int | None:
        """The version that a rollback from `live` returns to, if there is one."""
        return history.rollback_target(self.events(name), live, self.versions(name))

    def assign(self, name: str, labels: Mapping[str, int], ended: Collection[str] = ()) -> None:
        """Tell servers a model's labels, and to load what those need; see `enter`."""
        config = catalog.read(self.root)
        self.enter(config, name, labels, ended)
        self.write(config)

    def write(self, config: config_pb2.ModelServerConfig) -> None:
        """Replace models.config, signed where there is a key. Raises StoreError where one lacks."""
        catalog.write(self.root, config, self.signer)

    def enter(
        self,
        config: config_pb2.ModelServerConfig,
        name: str,
        labels: Mapping[str, int],
        ended: Collection[str] = (),
        kept: Collection[int] = (),
    ) -> None:
        """Put a model's labels and the versions to load into a configuration.

        Those are the labelled versions, the one that a rollback returns to, those that labels are
        asked to move to, and `kept`; `ended` names labels of which no request stands any more.
        """
        asked = self.state(name).pending.items()
        waiting = {version for label, version in asked if label not in ended}.union(kept)
        target = self.rollback_target(name, labels.get(history.STABLE))
        served = set(labels.values()) | (waiting & self.versions(name).keys())
        catalog.assign(config, name, served if target is None else served | {target}, labels)

    def record_settled(self, name: str, servers: Sequence[str] = ()) -> None:
        """Put on record which requests models.config fulfils; `servers` said that they have it."""
        labels, facts = self.labels(name), {"servers": list(servers)} if servers else {}
        for label, version in self.state(name).pending.items():
            if labels.get(label) == version:
                self.append(name, "settle", version=version, label=label, **facts)

    def missing(self) -> dict[str, Path]:
        """Models that servers are told of whose directory in the store is not there.

        TensorFlow Serving looks for new versions model by model and stops at the first of these.
        """
        config = catalog.read(self.root)
        names = catalog.models(config)
        paths = {name: catalog.base_path(config, name, self.root) for name in names}
        ours = {name: path for name, path in paths.items() if path.is_relative_to(self.root)}
        return {name: path for name, path in ours.items() if not path.is_dir()}

    def _history(self, name: str) -> Path:
        return self.model(name) / "history.jsonl"
