"""All models of a server, kept as their directories and the configuration say."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from serving.errors import ConfigError, RequestError
from serving.model import Model
from serving.model_settings import ModelSettings
from serving.servable import Servable
from serving.version import Loader, Retries, Version, not_found

log = logging.getLogger(__name__)

Labels = Mapping[str, Mapping[str, int]]  # model, label, version


class Registry:
    """Finds the version a request means; loads and unloads versions when refreshed.

    `lenient`: a label that is not in use yet may name a version that is not available (TensorFlow
    Serving's flag allow_version_labels_for_unavailable_models). `refused`: why the newest
    configuration is not in force; empty when it is.
    """

    def __init__(
        self, loader: Loader, retries: Retries | None = None, lenient: bool = False
    ) -> None:
        self.refused = ""
        self._loader = loader
        self._retries = retries or Retries()
        self._lenient = lenient
        self._models: dict[str, Model] = {}  # every one that ever was configured
        self._configured: tuple[str, ...] = ()
        self._labels: Labels = {}
        self._lost: dict[str, str] = {}
        self._refreshing = threading.Lock()

    def find(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """The version a request means. Raises RequestError in TensorFlow Serving's words."""
        if not name:
            raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        if label is not None:
            number = self._labels.get(name, {}).get(label)
            if number is None:
                raise RequestError(
                    "INVALID_ARGUMENT", f"Unrecognized servable version label: {label}"
                )
        model = self._models.get(name)
        if model is None:
            raise RequestError("NOT_FOUND", not_found(name, number))
        return model.find(number)

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
        model = self._models.get(name)
        known = model.versions() if model else []
        found = [version for version in known if number in (None, version.number)]
        if found:
            return found
        which = "any versions" if number is None else f"version {number}"
        raise RequestError("NOT_FOUND", f"Could not find {which} of model {name}")

    def models(self) -> list[Model]:
        """The models that are configured."""
        return [self._models[name] for name in self._configured]

    def ready(self) -> bool:
        """Whether there are models, and every version of them that should be served is."""
        models = self.models()
        return bool(models) and not any(model.missing() for model in models)

    def problems(self) -> dict[str, str]:
        """What keeps the server from following its configuration, although it serves on."""
        return {"configuration": self.refused, **self._lost} if self.refused else dict(self._lost)

    def configure(self, models: Sequence[ModelSettings]) -> list[Model]:
        """Serve these models and no others; return those that are new.

        In the order of TensorFlow Serving's ServerCore::ReloadConfig: labels first, over all
        models, all or nothing; then what is gone is unloaded, and what is new is loaded. Raises
        ConfigError for a label, and nothing has changed then.
        """
        with self._refreshing:
            self._labels = self._checked_labels(models)  # one assignment, for those who read
            added = [settings.name for settings in models if settings.name not in self._configured]
            kept = {settings.name: self._models.get(settings.name) for settings in models}
            for settings in models:
                model = kept[settings.name] or Model(settings)
                model.settings = settings
                self._models[settings.name] = model
            gone = [model for model in self.models() if model.settings.name not in kept]
            self._configured = tuple(kept)
            for model in gone:
                model.unload()
            self._refresh()
        return [self._models[name] for name in added]

    def refresh(self) -> None:
        """Follow the directories: load what is new, unload what is gone or replaced."""
        with self._refreshing:
            self._refresh()

    def close(self) -> None:
        """Unload every model; versions in use are freed after their last request."""
        self.configure([])

    def _refresh(self) -> None:
        self._look()
        for model in self.models():
            try:
                model.load(self._loader, self._retries)
            except OSError as error:  # of one model: the others must not wait for it
                log.error("cannot refresh model %s: %s", model.settings.name, error)

    def _look(self) -> None:
        """Learn what is under the base paths: under all of them, or nothing new at all.

        A base path that is gone, perhaps for a moment, says nothing about its versions, and while
        one is, TensorFlow Serving gives no model new versions (file_system_storage_path_source.cc,
        PollFileSystemForConfig returns at the first). What is in memory serves on.
        """
        found, lost = {}, {}
        for model in self.models():
            try:
                found[model] = model.look()
            except OSError as error:
                lost[model.settings.name] = _unreadable(model.settings, error)
        for name, reason in lost.items():
            if self._lost.get(name) != reason:
                log.error("%s: no model gets new versions until it is there again", reason)
        self._lost = lost
        for model in self.models():
            model.waiting = lost.get(model.settings.name) or next(iter(lost.values()), "")
            if not lost:
                model.want(found[model])

    def _checked_labels(self, models: Sequence[ModelSettings]) -> Labels:
        """The labels of a new configuration. Raises ConfigError (UpdateModelVersionLabelMap)."""
        for settings in models:
            known = self._models.get(settings.name)
            available = known.available() if known else set()
            used = self._labels.get(settings.name, {})
            for label, number in settings.labels.items():
                allowed = self._lenient and used.get(label, number) == number
                if not allowed and number not in available:
                    raise ConfigError(
                        f"Request to assign label to version {number} of model {settings.name}, "
                        "which is not currently available for inference",
                        "FAILED_PRECONDITION",
                    )
        return {settings.name: dict(settings.labels) for settings in models}


def _unreadable(settings: ModelSettings, error: OSError) -> str:
    where = f"base path {settings.base_path} for servable {settings.name}"
    if isinstance(error, FileNotFoundError):
        return f"Could not find {where}"
    return f"cannot read {where}: {error.strerror}"
