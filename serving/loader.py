"""How a version gets into memory: verified, loaded, warmed up, put behind a batcher."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serving import manifest
from serving.batching import Batcher
from serving.errors import StoreError
from serving.observation import ServerMetrics
from serving.servable import SavedModel, Servable
from serving.settings import ServerSettings
from serving.warmup import warm_up

PRIVATE = "convoy-verified-"
# In it, mkdtemp makes a directory of our own.
MEMORY = (Path("/dev/shm"),)  # noqa: S108  # nosec B108


class Loader:
    """Loads versions as the settings say, and counts the attempts."""

    def __init__(self, settings: ServerSettings, metrics: ServerMetrics) -> None:
        self._settings = settings
        self._metrics = metrics

    def __call__(self, directory: Path, model: str, version: int) -> Servable:
        """Raises whatever is wrong with the directory or its warm-up requests."""
        started = time.monotonic()
        try:
            servable = self._load(directory, model, version)
        except Exception:
            self._metrics.loads.add(str(directory), "fail")
            raise
        self._metrics.loads.add(str(directory), "success")
        micros = (time.monotonic() - started) * 1e6
        self._metrics.load_latency.add(str(directory), amount=round(micros))
        return servable

    def _load(self, directory: Path, model: str, version: int) -> Servable:
        if self._settings.verifier:
            with private_directory(self._settings.verified_dir, manifest.size(directory)) as copy:
                self._settings.verifier.verify(directory, model, version, copy)
                return self._ready(copy, model, version)
        if (directory / manifest.MANIFEST).exists():  # other exporters write none
            manifest.verify(directory)
        return self._ready(directory, model, version)

    def _ready(self, directory: Path, model: str, version: int) -> Servable:
        servable: Servable = SavedModel(directory)
        if self._settings.batching:
            servable = Batcher(
                servable,
                self._settings.batching,
                lambda rows: self._metrics.batch_size.observe(model, str(version), value=rows),
            )
        if self._settings.loading.warm_up:
            try:
                warm_up(servable, directory)
            except BaseException:
                servable.close()
                raise
        return servable


@contextmanager
def private_directory(parent: Path | None, size: int) -> Iterator[Path]:
    """Make a directory that nobody else can write to, and delete it in the end.

    In memory, or below `parent`. Raises StoreError when it has no room for `size` bytes. What a
    killed server left is deleted first: it holds no lock any more.
    """
    parent = parent or next(filter(_is_usable, MEMORY), Path(tempfile.gettempdir()))
    for left in parent.glob(f"{PRIVATE}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    if (room := shutil.disk_usage(parent).free) < size:
        raise StoreError(
            f"{parent} has room for {room:,} bytes, and the version takes {size:,} while it is "
            "verified; --verified_dir names another directory"
        )
    made = Path(tempfile.mkdtemp(prefix=PRIVATE, dir=parent))
    try:
        with _locked(made):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory; raises BlockingIOError when another process does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_usable(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)
