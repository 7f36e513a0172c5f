"""One model in a server: its versions, which of them a request means, and their replacement."""

import logging
import threading

from serving.errors import RequestError
from serving.model_settings import ModelSettings
from serving.version import Loader, Retries, State, Version, not_found

log = logging.getLogger(__name__)


class Model:
    """The versions of one model. Only the registry's loading thread changes them.

    `lenient`: a label may name a version that is not available (TensorFlow Serving's flag
    allow_version_labels_for_unavailable_models).
    """

    def __init__(self, settings: ModelSettings, lenient: bool = False) -> None:
        self.settings = settings
        self._lenient = lenient
        self._versions: dict[int, Version] = {}
        self._labels: dict[str, int] = {}
        self._lock = threading.Lock()
        self._empty_reported = False

    def find(self, number: int | None, label: str | None) -> Version:
        """The version that a request means. Raises RequestError."""
        with self._lock:
            if label is not None:
                number = self._labels.get(label)
                if number is None:
                    raise RequestError("INVALID_ARGUMENT", unknown_label(label))
            available = self._available()
        if number is None and available:
            return available[max(available)]
        if number is None or number not in available:
            raise RequestError("NOT_FOUND", not_found(self.settings.name, number))
        return available[number]

    def versions(self) -> list[Version]:
        """Every version known, highest first."""
        with self._lock:
            return sorted(self._versions.values(), key=lambda version: -version.number)

    def missing(self) -> dict[str, str]:
        """What should be served and is not: model or model/version, and the reason."""
        name = self.settings.name
        wanted = self._wanted()
        absent = (self.settings.policy.specific or frozenset[int]()) - {
            version.number for version in wanted
        }
        found = {f"{name}/{number}": "no such directory" for number in sorted(absent)}
        for version in wanted:
            if version.state is not State.AVAILABLE:
                found[str(version)] = version.error or version.state.name
        if not wanted and not absent:
            found[name] = f"no version under {self.settings.base_path}"
        return found

    def refresh(self, loader: Loader, retries: Retries) -> None:
        """Load what is wanted and missing, move the labels, then unload what is no longer wanted.

        In this order, so that there is always a version to answer: an old one stays as long as no
        wanted one is available, or as a label waits for its new version to become available.
        """
        self._discover()
        wanted = self._wanted()
        for version in wanted:
            if version.due():
                version.load(loader, retries)
        self._move_labels()
        if not wanted or any(version.state is State.AVAILABLE for version in wanted):
            labelled = set(self._labels.values())
            self._unload_all_but({version.number for version in wanted} | labelled)

    def unload(self) -> None:
        """Unload every version."""
        self._unload_all_but(set())

    def lagging_labels(self) -> dict[str, int]:
        """Labels whose version is not available, so that they still are where they were."""
        with self._lock:
            asked = self.settings.labels.items()
            return {label: number for label, number in asked if self._labels.get(label) != number}

    def _available(self) -> dict[int, Version]:
        found = self._versions.values()
        return {version.number: version for version in found if version.state is State.AVAILABLE}

    def _wanted(self) -> list[Version]:
        with self._lock:
            present = [n for n, version in self._versions.items() if version.directory.is_dir()]
            return [self._versions[n] for n in self.settings.policy.wanted(present)]

    def _discover(self) -> None:
        """Learn of new version directories, and forget those gone from disk and memory."""
        base = self.settings.base_path
        entries = base.iterdir() if base.is_dir() else ()
        present = {int(e.name): e for e in entries if e.name.isdecimal() and e.is_dir()}
        with self._lock:
            for number in self._versions.keys() - present.keys():
                if self._versions[number].state not in (State.AVAILABLE, State.UNLOADING):
                    del self._versions[number]
            for number in present.keys() - self._versions.keys():
                self._versions[number] = Version(self.settings.name, number, present[number])
        self._report_empty(bool(present))

    def _report_empty(self, found: bool) -> None:
        if not found and not self._empty_reported:
            log.warning(
                "No versions of servable %s found under base path %s: it holds no directory whose "
                "name is an integer",
                self.settings.name,
                self.settings.base_path,
            )
        self._empty_reported = not found

    def _move_labels(self) -> None:
        with self._lock:
            available = self._available()
            self._labels = {
                label: number if number in available or self._lenient else self._labels[label]
                for label, number in self.settings.labels.items()
                if number in available or self._lenient or label in self._labels
            }

    def _unload_all_but(self, kept: set[int]) -> None:
        for version in self.versions():
            if version.number not in kept and version.state is State.AVAILABLE:
                version.unload()


def unknown_label(label: str) -> str:
    return f"Unrecognized servable version label: {label}"
