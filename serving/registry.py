"""All models of a server, kept as their directories and the configuration say."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from serving.errors import RequestError
from serving.model import Model
from serving.model_settings import ModelSettings
from serving.servable import Servable
from serving.version import Loader, Retries, Version, not_found


class Registry:
    """Finds the version a request means; loads and unloads versions when refreshed.

    `lenient`: labels may name versions that are not available.
    """

    def __init__(
        self, loader: Loader, retries: Retries | None = None, lenient: bool = False
    ) -> None:
        self._loader = loader
        self._retries = retries or Retries()
        self._lenient = lenient
        self._models: dict[str, Model] = {}
        self._refreshing = threading.Lock()

    def find(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """The version a request means. Raises RequestError in TensorFlow Serving's words."""
        if not name:
            raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        model = self._models.get(name)
        if model is None:
            raise RequestError("NOT_FOUND", not_found(name, number))
        return model.find(number, label)

    @contextmanager
    def use(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> Iterator[tuple[Version, Servable]]:
        """Find a version and keep it in memory for the length of a block. Raises RequestError."""
        version, servable = self.acquire(name, number, label)
        try:
            yield version, servable
        finally:
            version.release()

    def acquire(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> tuple[Version, Servable]:
        """Find a version and keep it in memory until it is released. Raises RequestError."""
        while True:
            version = self.find(name, number, label)
            servable = version.acquire()
            if servable is not None:
                return version, servable  # else it was replaced just now: there is another to find

    def versions(self, name: str, number: int | None = None) -> list[Version]:
        """The versions of a model, highest first, or one of them. Raises RequestError."""
        if not name:
            raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        model = self._models.get(name)
        known = model.versions() if model else []
        if not known:
            raise RequestError("NOT_FOUND", f"Could not find any versions of model {name}")
        found = [version for version in known if number in (None, version.number)]
        if not found:
            raise RequestError("NOT_FOUND", f"Could not find version {number} of model {name}")
        return found

    def models(self) -> list[Model]:
        return list(self._models.values())

    def ready(self) -> bool:
        """Whether every version of every model that should be served is."""
        return not any(model.missing() for model in self.models())

    def configure(self, models: Sequence[ModelSettings]) -> None:
        """Serve these models and no others, then refresh."""
        with self._refreshing:
            configured = {settings.name: self._configured(settings) for settings in models}
            replaced = [m for name, m in self._models.items() if configured.get(name) is not m]
            for model in configured.values():
                model.refresh(self._loader, self._retries)
            self._models = configured  # one assignment: a request sees the old set or the new
            for model in replaced:
                model.unload()

    def refresh(self) -> None:
        """Follow the directories: load what is new, unload what is gone or replaced."""
        with self._refreshing:
            for model in self.models():
                model.refresh(self._loader, self._retries)

    def lagging_label(self) -> str:
        """What to say of a label whose version is not available; empty when there is none."""
        for model in self.models():
            for label, number in model.lagging_labels().items():
                return (
                    f"Request to assign label {label} to version {number} of model "
                    f"{model.settings.name}, which is not currently available for inference"
                )
        return ""

    def close(self) -> None:
        """Unload every model; versions in use are freed after their last request."""
        self.configure([])

    def _configured(self, settings: ModelSettings) -> Model:
        model = self._models.get(settings.name)
        if model is None or model.settings.base_path != settings.base_path:
            return Model(settings, self._lenient)
        model.settings = settings
        return model
