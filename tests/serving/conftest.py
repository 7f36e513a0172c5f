"""SavedModel directories to publish: empty shells for the store, real ones for the servers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from serving.store import Store
from tests.support.classifier import save_classifier, write_manifest
from tests.support.forkserver import ForkServer
from tests.support.odd_models import save_odd
from tests.support.once import Once

# No file of examples beside the sources, and no limit on one: the machine may be busy.
hypothesis.settings.register_profile("serving", database=None, deadline=None)
hypothesis.settings.load_profile("serving")


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Path]:
    """Make a directory that the store takes for a SavedModel; no server could load it."""

    def make(content: str = "graph", name: str = "export", weights: bytes = b"w") -> Path:
        directory = tmp_path / name
        (directory / "variables").mkdir(parents=True, exist_ok=True)
        (directory / "saved_model.pb").write_text(content)
        (directory / "variables" / "variables.index").write_bytes(weights)
        write_manifest(directory)
        return directory

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture(scope="session")
def classifiers(once: Once) -> list[Path]:
    """Three classifiers that give different answers, to tell versions apart."""
    shifts = range(3)

    def make(directory: Path) -> None:
        for shift in shifts:
            save_classifier(directory / str(shift), shift)

    place = once.made("classifiers", make)
    return [place / str(shift) for shift in shifts]


@pytest.fixture(scope="session")
def odd_base(once: Once) -> Path:
    """A base path with version 1 of the model of odd signatures."""
    return once.made("odd", lambda directory: save_odd(directory / "1"))


@pytest.fixture(scope="session")
def odd_server(odd_base: Path) -> Iterator[Any]:
    """A server of that model, by the name `odd`, shared by the tests that only send requests."""
    from serving.model_settings import ModelSettings
    from serving.server import ModelServer
    from serving.settings import Listen, ServerSettings

    models = (ModelSettings("odd", odd_base),)
    with ModelServer(ServerSettings(models=models, listen=Listen(port=0, rest_port=0))) as running:
        yield running


@pytest.fixture(scope="session")
def served_store(classifiers: list[Path], once: Once) -> Store:
    """A store with one version of `shapes`, for tests that do not change it."""
    place = once.made("served", lambda root: Store(root).publish("shapes", classifiers[0]))
    return Store(place)


@pytest.fixture(scope="session")
def server(served_store: Store) -> Iterator[Any]:
    """A server of `served_store` on free ports, shared by the tests that only send requests."""
    from serving.server import ModelServer
    from serving.settings import Listen, of_store

    listen = Listen(port=0, rest_port=0, reload=True)
    with ModelServer(of_store(served_store.root, listen)) as running:
        yield running


@pytest.fixture(scope="session")
def core_models(once: Once) -> Path:
    """The models of TensorFlow Serving's own test of its server."""
    from tests.support.core_models import save_all

    return once.made("core-models", save_all)


@pytest.fixture(scope="session")
def start(forkserver: ForkServer) -> Any:
    """What starts a model server as a process: ours, or the program that is named."""
    from tests.support.model_server import starter

    return starter(forkserver)
