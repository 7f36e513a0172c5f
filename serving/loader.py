"""How a version gets into memory: verified, loaded, warmed up, put behind a batcher."""

import time
from pathlib import Path

from serving import manifest
from serving.batching import Batcher
from serving.observation import ServerMetrics
from serving.servable import SavedModel, Servable
from serving.settings import ServerSettings
from serving.warmup import warm_up


class Loader:
    """Loads versions as the settings say, and counts the attempts."""

    def __init__(self, settings: ServerSettings, metrics: ServerMetrics) -> None:
        self._settings = settings
        self._metrics = metrics

    def __call__(self, directory: Path) -> Servable:
        """Raises whatever is wrong with the directory or its warm-up requests."""
        started = time.monotonic()
        try:
            servable = self._load(directory)
        except Exception:
            self._metrics.loads.add(str(directory), "fail")
            raise
        self._metrics.loads.add(str(directory), "success")
        micros = (time.monotonic() - started) * 1e6
        self._metrics.load_latency.add(str(directory), amount=round(micros))
        return servable

    def _load(self, directory: Path) -> Servable:
        if self._settings.verifier:
            self._settings.verifier.verify(directory)
        if (directory / manifest.MANIFEST).exists():  # other exporters write none
            manifest.verify(directory)
        servable: Servable = SavedModel(directory)
        if self._settings.batching:
            model, version = directory.parent.name, directory.name
            servable = Batcher(
                servable,
                self._settings.batching,
                lambda rows: self._metrics.batch_size.observe(model, version, value=rows),
            )
        if self._settings.loading.warm_up:
            try:
                warm_up(servable, directory)
            except BaseException:
                servable.close()
                raise
        return servable
