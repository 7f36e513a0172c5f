"""A server's configuration, followed while the server runs."""

import logging
import threading
from collections.abc import Sequence
from typing import Any

from serving import model_settings
from serving.errors import ConfigError
from serving.model import Model
from serving.model_settings import ModelSettings
from serving.registry import Registry
from serving.settings import ServerSettings

log = logging.getLogger(__name__)


class ConfigWatch:
    """Applies the models that a server is to serve: at the start, by polling, and by request."""

    def __init__(self, settings: ServerSettings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._read: Sequence[ModelSettings] = ()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Read and apply. Raises ConfigError when the configuration is wrong."""
        with self._lock:
            self._read = self._settings.read_models()
            self._registry.configure(self._read)

    def poll(self) -> None:
        """Apply the file if it changed, or was refused before.

        A wrong one is reported once and changes nothing; one whose label names a version that is
        not available comes into force when it is.
        """
        with self._lock:
            try:
                found = self._settings.read_models()
                if found != self._read or self._registry.refused:
                    self._registry.configure(found)
            except ConfigError as error:
                if str(error) != self._registry.refused:
                    log.error("keeping the last good configuration: %s", error)
                self._registry.refused = str(error)
                return
            self._read, self._registry.refused = found, ""

    def replace(self, config: Any) -> None:
        """Apply a ModelServerConfig that was sent; it holds until the file changes.

        Returns when the models that it adds are available. Raises ConfigError when one of them is
        not, after one try to load it; TensorFlow Serving answers the same after all its retries.
        """
        with self._lock:
            added = self._registry.configure(model_settings.models(config, self._settings.store))
        absent = [model for model in added if not model.available()]
        if absent:
            reasons = "".join(_reasons(model) for model in absent)
            message = f"{len(absent)} model(s) did not become available: {{{reasons}}}"
            raise ConfigError(message, "UNKNOWN")


def _reasons(model: Model) -> str:
    """Why a model is not there, as ServerCore::WaitUntilModelsAvailable words it."""
    name = model.settings.name
    tried = [
        f"{{{{name: {name} version: {version.number}}} due to error: {version.error}}}, "
        for version in model.versions()
    ]
    missing = "; ".join(model.missing().values())
    return "".join(tried) or f"{{{{name: {name}}} due to error: {missing}}}, "
