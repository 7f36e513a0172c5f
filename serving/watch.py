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
from serving.signed_config import SignedConfig

log = logging.getLogger(__name__)


class ConfigWatch:
    """Applies the models that a server is to serve: at the start, by polling, and by request."""

    def __init__(self, settings: ServerSettings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._in_force: Sequence[ModelSettings] = ()  # what a poll has nothing to do about
        self._lock = threading.Lock()
        self._signed: SignedConfig | None = None
        if settings.verifier and settings.config:
            self._signed = SignedConfig(settings.config, settings.verifier, settings.state)

    def start(self) -> None:
        """Read and apply. Raises ConfigError when the configuration is wrong."""
        with self._lock:
            self._in_force = self._read()
            self._registry.configure(self._in_force)

    def unavailable(self) -> list[Model]:
        """The models without a version that answers, for which there is none to load as well.

        Raises ConfigError when there was one to load, and it failed; see `replace`.
        """
        absent = [model for model in self._registry.models() if not model.available()]
        _refuse_failed([model for model in absent if model.versions()], "servable(s)")
        return absent

    def poll(self) -> None:
        """Apply the file unless it is in force already.

        A wrong one is reported once and changes nothing; one whose label names a version that is
        not available comes into force when it is.
        """
        with self._lock:
            try:
                found = self._read()
                if found != self._in_force or self._registry.refused:
                    self._registry.configure(found)
            except ConfigError as error:
                if str(error) != self._registry.refused:
                    log.error("keeping the last good configuration: %s", error)
                self._registry.refused = str(error)
                return
            self._in_force, self._registry.refused = found, ""

    def replace(self, config: Any) -> None:
        """Apply a ModelServerConfig that was sent; it holds until the file is polled, or changes.

        Returns when the models that it adds are available. Raises ConfigError when one of them is
        not, after one try to load it; TensorFlow Serving answers the same after all its retries.
        """
        if self._settings.verifier:
            raise ConfigError(
                "this server takes signed configurations alone, and a request has no signature",
                "PERMISSION_DENIED",
            )
        with self._lock:
            found = model_settings.models(config, self._settings.store)
            added = self._registry.configure(found)
            if self._settings.loading.as_production:
                self._in_force = found
            # Before a poll can take it out of force again.
            _refuse_failed([model for model in added if not model.available()], "model(s)")

    def _read(self) -> Sequence[ModelSettings]:
        if self._signed:
            return model_settings.parse_named(self._signed.read(), self._settings.store)
        return self._settings.read_models()


def _refuse_failed(models: Sequence[Model], kind: str) -> None:
    """Raise ConfigError when there are any."""
    if models:
        reasons = "".join(_reasons(model) for model in models)
        message = f"{len(models)} {kind} did not become available: {{{reasons}}}"
        raise ConfigError(message, "UNKNOWN")


def _reasons(model: Model) -> str:
    """Why a model is not there, as ServerCore::WaitUntilModelsAvailable words it."""
    name = model.settings.name
    tried = [
        f"{{{{name: {name} version: {version.number}}} due to error: {version.error}}}, "
        for version in model.versions()
        if version.error
    ]
    missing = "; ".join(model.missing().values())
    return "".join(tried) or f"{{{{name: {name}}} due to error: {missing}}}, "
