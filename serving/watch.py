"""A server's configuration, followed while the server runs."""

import logging
import threading
from collections.abc import Sequence
from typing import Any

from serving import model_settings
from serving.errors import ConfigError
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
        self._reported = ""
        self._lock = threading.Lock()

    def start(self) -> None:
        """Read and apply. Raises ConfigError when the configuration is wrong."""
        with self._lock:
            self._read = self._settings.read_models()
            self._registry.configure(self._read)

    def poll(self) -> None:
        """Apply the file if it changed; a wrong one is reported once and changes nothing."""
        with self._lock:
            try:
                found = self._settings.read_models()
            except ConfigError as error:
                if str(error) != self._reported:
                    log.error("keeping the last good configuration: %s", error)
                self._reported = str(error)
                return
            self._reported = ""
            if found != self._read:
                self._read = found
                self._registry.configure(found)

    def replace(self, config: Any) -> None:
        """Apply a ModelServerConfig that was sent; it holds until the file changes.

        Raises ConfigError.
        """
        with self._lock:
            self._registry.configure(model_settings.models(config, self._settings.store))
