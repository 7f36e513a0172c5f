"""A store, and a server on it: TensorFlow Serving's own, as the environment names it."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.settling import Settling
from serving import catalog
from serving.client import Client, Options
from serving.store import Store
from tests.support.forkserver import ForkServer
from tests.support.guide import ROOT
from tests.support.model_server import Running, free_ports, named, starter, wait_ready

PROJECT = "convoytfserving"
SERVICE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
POLL_SECONDS = 5.0  # of docker-compose.yml; a server that is named must not take longer


@dataclass(frozen=True)
class Production:
    """What a user has: a store to publish in, and the address of a server that polls it."""

    store: Store
    running: Running
    pause: threading.Event  # while it is set, the server sees no write

    @property
    def settling(self) -> Settling:
        """Asks the server, as commands with --servers do."""
        return Settling((self.running.grpc,), settle_seconds=4 * POLL_SECONDS, load_seconds=60)

    def client(self) -> Client:
        return Client(self.running.grpc, Options(timeout=30))

    def settle(self, name: str, version: int) -> None:
        """Wait until the server has a version, and move its label, as every command does."""
        lacks = self.settling.wait({name: {version}})
        assert lacks == [], lacks
        self.store.settle(name, version, self.settling.addresses)

    def put_in_service(self, name: str, export: Path, label: str = "stable") -> int:
        """Publish a version and move the label to it."""
        version = self.store.publish(name, export, label)
        self.settle(name, version)
        return version


@contextmanager
def production(place: Path, forkserver: ForkServer, export: Path) -> Iterator[Production]:
    """Serve a store that holds one model, by whatever the environment names."""
    if named("ADDRESS"):
        if not named("STORE"):
            pytest.skip("an ADDRESS needs STORE=DIR too, the store that the server reads")
        running = Running(named("ADDRESS"), named("REST"))
        found = Production(Store(named("STORE")), running, threading.Event())
        before = set(found.store.ledger.models())
        try:
            yield found
        finally:
            remove(found.store, set(found.store.ledger.models()) - before)
        return
    store = Store(place / "models")
    store.publish("first", export)
    serve = _by_compose if named("IMAGE") else _by_process
    with serve(place, store, forkserver) as found:
        yield found


def remove(store: Store, names: set[str]) -> None:
    """Take models out of a store: out of what servers are told first, and then their files."""
    with store.ledger.lock():
        config = catalog.read(store.root)
        for name in names:
            catalog.assign(config, name, (), {})
        catalog.write(store.root, config)
    for name in names:
        shutil.rmtree(store.root / name)


@contextmanager
def _by_process(place: Path, store: Store, forkserver: ForkServer) -> Iterator[Production]:
    """Start the program with the flags of docker-compose.yml; it sees the store where that lies."""
    copied, pause, over = place / "models.config", threading.Event(), threading.Event()

    def follow() -> None:
        """Write what the store tells servers with the store's own path for /models."""
        while not over.wait(0.05):
            if not pause.is_set():
                _translate(store.root / catalog.CONFIG, copied, store.root)

    _translate(store.root / catalog.CONFIG, copied, store.root)
    follower = threading.Thread(target=follow)
    follower.start()
    try:
        with starter(forkserver)(*_flags(copied)) as running:
            yield Production(store, running, pause)
    finally:
        over.set()
        follower.join()


def _flags(config: Path) -> list[str]:
    changed = {
        "model_config_file": str(config),
        "monitoring_config_file": str(ROOT / "deploy/monitoring/monitoring.config"),
        "model_config_file_poll_wait_seconds": "1",
        "file_system_poll_wait_seconds": "1",
    }
    pairs = (flag.removeprefix("--").split("=", 1) for flag in SERVICE["serving"]["command"])
    kept = {name: value for name, value in pairs if name not in ("port", "rest_api_port")}
    return [f"--{name}={value}" for name, value in (kept | changed).items()]


def _translate(source: Path, target: Path, root: Path) -> None:
    with suppress(FileNotFoundError):
        text = source.read_text().replace(f'"{catalog.MOUNT}/', f'"{root}/')
        if not target.exists() or target.read_text() != text:
            fresh = target.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(target)


@contextmanager
def _by_compose(place: Path, store: Store, forkserver: ForkServer) -> Iterator[Production]:
    """Start the service of docker-compose.yml, as hardened as it is there, with the image."""
    ports = free_ports()
    chosen = {"GRPC_PORT": str(ports[0]), "REST_PORT": str(ports[1]), "STORE": str(store.root)}
    environment = {**os.environ, **chosen, "SERVING_IMAGE": named("IMAGE")}

    def compose(*arguments: str) -> None:
        command = ["docker-compose", "-p", PROJECT, *arguments]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)

    try:
        compose("up", "--detach", "serving")
        running = Running(f"localhost:{ports[0]}", f"localhost:{ports[1]}")
        wait_ready(running)
        yield Production(store, running, threading.Event())
    finally:
        compose("down", "--timeout", "10")
