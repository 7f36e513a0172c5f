"""A server in the test's process, and its client."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from serving.client import Client
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings, of_store
from serving.store import Store

IMAGE = np.zeros((1, 4, 4, 1), np.uint8)


def settings(store: Store, poll: float = 0.05, **listen: Any) -> ServerSettings:
    found = of_store(store.root, Listen(**{"port": 0, "rest_port": 0, "reload": True, **listen}))
    loading = replace(found.loading, poll_config=poll, poll_versions=poll)
    return replace(found, loading=loading)


@contextmanager
def serving(store: Store, **listen: Any) -> Iterator[tuple[ModelServer, Client]]:
    with ModelServer(settings(store, **listen)) as server, Client(server.grpc_address) as client:
        yield server, client


def version_of(client: Client, **which: Any) -> int:
    return client.predict(IMAGE, model="shapes", **which)[0].version
