"""One model in a server: its versions, which of them a request means, and their replacement."""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from serving import layout
from serving.errors import RequestError
from serving.model_settings import ModelSettings
from serving.version import Loader, Retries, State, Version, not_found

log = logging.getLogger(__name__)


class Model:
    """The versions of one model. Only the registry's loading thread changes them.

    Those that were ever to be served stay known, unloaded ones as END, as in TensorFlow Serving's
    ServableStateMonitor. `waiting`: why new versions are not looked for now; empty when they are.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.waiting = ""
        self._versions: dict[int, Version] = {}
        self._wanted: list[int] = []
        self._absent: frozenset[int] = frozenset()  # asked for by number, and not there
        self._lock = threading.Lock()
        self._empty_reported = False

    def find(self, number: int | None) -> Version:
        """The available version of that number, or the highest. Raises RequestError."""
        with self._lock:
            available = self._available()
        if number is None and available:
            return available[max(available)]
        if number is None or number not in available:
            raise RequestError("NOT_FOUND", not_found(self.settings.name, number))
        return available[number]

    def versions(self) -> list[Version]:
        """Every version that is or was to be served, highest first."""
        with self._lock:
            return sorted(self._versions.values(), key=lambda version: -version.number)

    def available(self) -> set[int]:
        """The numbers of the versions that answer."""
        with self._lock:
            return set(self._available())

    def missing(self) -> dict[str, str]:
        """What should be served and is not: model or model/version, and the reason."""
        name = self.settings.name
        found = {f"{name}/{number}": "no such directory" for number in sorted(self._absent)}
        for version in self._chosen():
            if version.state is not State.AVAILABLE:
                found[str(version)] = version.error or version.state.name
        if not self._wanted and not self._absent:
            found[name] = self.waiting or f"no version under {self.settings.base_path}"
        return found

    def look(self) -> dict[int, Path]:
        """The version directories under the base path. Raises OSError when it cannot be read."""
        found = {}
        with os.scandir(self.settings.base_path) as entries:
            # 00000123 before 123, should a model have both: the first one counts.
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                number = layout.number(entry.name)
                # A version that is known needs no second look: the link or mount that it is may be
                # gone for a moment.
                if number is not None and (number in self._versions or entry.is_dir()):
                    found[number] = Path(entry.path)
        return found

    def want(self, present: Mapping[int, Path]) -> None:
        """Choose the versions to serve among those present.

        One that is loaded stays as it is, even if the base path is another now: TensorFlow Serving
        tells versions by their numbers alone (AspiredVersionsManager).
        """
        policy = self.settings.policy
        wanted = policy.wanted(list(present))
        with self._lock:
            before, self._wanted = self._wanted, wanted
            self._absent = (policy.specific or frozenset()).difference(present)
            for number in wanted:
                known = self._versions.get(number)
                place = present[number]
                again = known and number not in before  # whatever it failed of is forgotten
                if known is None or (not known.in_memory and (again or known.directory != place)):
                    self._versions[number] = Version(self.settings.name, number, place)
            for number in self._versions.keys() - set(wanted):
                self._versions[number].give_up()
        self._report_empty(bool(present))

    def load(self, loader: Loader, retries: Retries) -> None:
        """Load what is wanted and missing, highest first, and unload what is no longer wanted.

        An old version stays as long as no wanted one is available, so that there is always one to
        answer (AvailabilityPreservingPolicy).
        """
        self._unload_unwanted()
        for version in reversed(self._chosen()):
            if version.due():
                version.load(loader, retries)
        self._unload_unwanted()

    def unload(self) -> None:
        """Unload every version."""
        with self._lock:
            self._wanted, self._absent = [], frozenset()
        self.waiting = ""
        self._unload_unwanted()

    def _available(self) -> dict[int, Version]:
        found = self._versions.values()
        return {version.number: version for version in found if version.state is State.AVAILABLE}

    def _chosen(self) -> list[Version]:
        with self._lock:
            return [self._versions[number] for number in self._wanted]

    def _report_empty(self, found: bool) -> None:
        if not found and not self._empty_reported:
            serving = self.available()
            log.warning(
                "No versions of servable %s found under base path %s: it holds no directory whose "
                "name is an integer%s",
                self.settings.name,
                self.settings.base_path,
                f"; unloading {sorted(serving)}" if serving else "",
            )
        self._empty_reported = not found

    def _unload_unwanted(self) -> None:
        with self._lock:
            available, wanted = self._available(), set(self._wanted)
        if wanted and not wanted & available.keys():
            return
        for number, version in available.items():
            if number not in wanted:
                version.unload()
