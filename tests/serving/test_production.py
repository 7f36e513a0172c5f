"""What the store writes and the clients send, tried on TensorFlow Serving's own server.

`make tfserving-test` runs this with an ADDRESS, a BINARY or an IMAGE; docs/unproven.md lists what
is only read in its sources until somebody has. `convoy-model-server` as BINARY shows that the tests
themselves work: they do nothing that is ours alone.
"""

import base64
import io
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving import catalog
from serving.client import Client
from serving.errors import CallError, RequestRejected
from tests.support.forkserver import ForkServer
from tests.support.model_server import named
from tests.support.production import POLL_SECONDS, Production, production
from tests.support.waiting import until

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not any(map(named, ("ADDRESS", "BINARY", "IMAGE"))),
        reason="needs TensorFlow Serving: make tfserving-test ADDRESS=, BINARY= or IMAGE=",
    ),
]
IMAGE = np.zeros((1, 4, 4, 1), np.uint8)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, forkserver: ForkServer, classifiers: list[Path]
) -> Iterator[Production]:
    """One server for all tests, each of which has a model of its own."""
    with production(tmp_path_factory.mktemp("production"), forkserver, classifiers[0]) as found:
        yield found


@pytest.fixture
def client(server: Production) -> Iterator[Client]:
    with server.client() as found:
        yield found


@pytest.fixture
def name() -> str:
    """A model that no other test has."""
    return f"check-{next(_numbers)}"


def version_of(client: Client, name: str, **which: Any) -> int:
    return client.predict(IMAGE, model=name, **which)[0].version


def serves(client: Client, name: str, version: int, **which: Any) -> bool:
    """Whether a version answers; before the server has polled, there may be no answer at all."""
    try:
        return version_of(client, name, **which) == version
    except CallError:
        return False


def states(client: Client, name: str) -> dict[int, str]:
    try:
        return {found.version: found.state for found in client.status(name)}
    except CallError:
        return {}


def polls(count: int = 2) -> None:
    """Give the server time for so many polls: what it must not do cannot be waited for."""
    time.sleep(count * POLL_SECONDS)


def test_a_first_version_is_served_by_its_label(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    version = server.put_in_service(name, classifiers[0])
    until(lambda: states(client, name).get(version) == "AVAILABLE", "the first version", 60)
    assert version_of(client, name, label="stable") == version_of(client, name) == version


def test_a_publish_moves_the_label_once_the_version_is_there(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    first = server.put_in_service(name, classifiers[0])
    second = server.store.publish(name, classifiers[1])
    assert server.settling.wait({name: {first, second}}) == []
    assert version_of(client, name, label="stable") == first
    assert version_of(client, name) == second  # no label: the newest
    server.store.settle(name, second)
    until(lambda: serves(client, name, second, label="stable"), "the label", 60)
    assert version_of(client, name, version=first) == first  # kept for the rollback


def test_a_rollback_is_one_write(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    first = server.put_in_service(name, classifiers[0])
    second = server.put_in_service(name, classifiers[1])
    until(lambda: serves(client, name, second, label="stable"), "the label", 60)
    server.store.rollback(name)
    until(lambda: serves(client, name, first, label="stable"), "the rollback", 60)


def test_a_canary_is_promoted(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    stable = server.put_in_service(name, classifiers[0])
    canary = server.put_in_service(name, classifiers[1], "canary")
    until(lambda: serves(client, name, canary, label="canary"), "the canary", 60)
    assert version_of(client, name, label="stable") == stable
    server.store.promote(name)
    until(lambda: serves(client, name, canary, label="stable"), "the promotion", 60)
    with pytest.raises(RequestRejected, match="Unrecognized servable version label"):
        version_of(client, name, label="canary")


def test_a_version_that_is_withdrawn_goes(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    first = server.put_in_service(name, classifiers[0])
    second = server.put_in_service(name, classifiers[1])
    until(lambda: serves(client, name, second, label="stable"), "the label", 60)
    server.store.withdraw(name, second, "to see it go")
    until(lambda: serves(client, name, first), "the one before", 60)
    assert version_of(client, name, label="stable") == first


def test_a_version_that_does_not_load_leaves_the_old_one(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    first = server.put_in_service(name, classifiers[0])
    bad = server.store.publish(name, classifiers[1])
    (server.store.path(name, bad) / "saved_model.pb").write_bytes(b"rot")
    polls()
    assert states(client, name).get(bad) != "AVAILABLE"
    assert version_of(client, name) == version_of(client, name, label="stable") == first
    server.store.withdraw(name, bad, "it does not load")


@pytest.mark.skipif(bool(named("ADDRESS")), reason="other people's server is left in order")
def test_a_version_and_its_label_in_one_write_are_refused(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    """What this store once wrote: labels are assigned before anything is loaded."""
    first = server.put_in_service(name, classifiers[0])
    until(lambda: serves(client, name, first, label="stable"), "the label", 60)
    second = server.store.publish(name, classifiers[1])
    with server.store.ledger.lock():
        config = catalog.read(server.store.root)
        catalog.assign(config, name, {first, second}, {"stable": second})
        server.pause.set()
        catalog.write(server.store.root, config)
    server.pause.clear()
    polls(3)
    assert version_of(client, name, label="stable") == first
    server.store.withdraw(name, second, "to leave a file that every server takes")


@pytest.mark.skipif(not named("BINARY"), reason="writes are kept from a program alone")
def test_a_server_that_missed_a_write_is_repaired(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    first = server.put_in_service(name, classifiers[0])
    until(lambda: serves(client, name, first, label="stable"), "the label", 60)
    server.pause.set()
    second = server.store.publish(name, classifiers[1])
    server.store.settle(name, second)
    server.pause.clear()
    polls()
    assert version_of(client, name, label="stable") == first
    assert server.store.repair(server.settling).lacks == []
    until(lambda: serves(client, name, second, label="stable"), "the repair", 60)


@pytest.mark.skipif(bool(named("ADDRESS")), reason="other people's store stays where it is")
def test_a_base_path_that_is_away_unloads_nothing(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    first = server.put_in_service(name, classifiers[0])
    until(lambda: serves(client, name, first, label="stable"), "the label", 60)
    directory = server.store.root / name
    away = directory.rename(directory.with_name(f".{name}"))
    try:
        polls()
        assert version_of(client, name) == first
    finally:
        away.rename(directory)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(IMAGE[0, ..., 0]).save(buffer, format="png")
    return buffer.getvalue()


def test_the_example_clients_calls_over_grpc(
    server: Production, name: str, classifiers: list[Path]
):
    """As in mnist_client.py (a tensor, a future) and resnet_client_grpc.py (an encoded image)."""
    version = server.put_in_service(name, classifiers[0])
    with grpc.insecure_channel(server.running.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = "serving_default"
        request.inputs["image"].CopyFrom(tf.make_tensor_proto(IMAGE, shape=IMAGE.shape))
        answer = until(lambda: _answered(stub.Predict.future(request, 10.0)), "an answer", 60)
        assert np.argmax(answer.outputs["probabilities"].float_val) == 0
        request.model_spec.signature_name = "image_bytes"
        request.inputs.clear()
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(png(), shape=[1]))
        encoded = stub.Predict(request, 10.0)
        assert list(encoded.outputs["label"].string_val) == [b"zero"]
        assert encoded.model_spec.version.value == version


def _answered(future: Any) -> Any:
    try:
        return future.result()
    except grpc.RpcError:
        return None


@pytest.mark.skipif(
    bool(named("ADDRESS")) and not named("REST"), reason="needs REST=HOST:PORT beside ADDRESS"
)
def test_the_example_clients_calls_over_rest(
    server: Production, client: Client, name: str, classifiers: list[Path]
):
    """As in resnet_client.py, and the curl lines of TensorFlow Serving's documentation."""
    version = server.put_in_service(name, classifiers[0])
    until(lambda: states(client, name).get(version) == "AVAILABLE", "the version", 60)
    encoded = base64.b64encode(png()).decode()
    body = {"signature_name": "image_bytes", "instances": [{"b64": encoded}]}
    (answer,) = rest(server, f"/v1/models/{name}:predict", body)["predictions"]
    assert answer["label"] == "zero"
    columns = rest(server, f"/v1/models/{name}:predict", {"inputs": IMAGE.tolist()})
    assert columns["outputs"]["class_id"] == [0]
    (found,) = rest(server, f"/v1/models/{name}")["model_version_status"]
    assert (found["version"], found["state"]) == (str(version), "AVAILABLE")
    metadata = rest(server, f"/v1/models/{name}/metadata")["metadata"]["signature_def"]
    assert "image_bytes" in metadata["signature_def"]
    labelled = rest(server, f"/v1/models/{name}/labels/stable:predict", {"inputs": IMAGE.tolist()})
    assert labelled == columns
    with pytest.raises(urllib.error.HTTPError) as caught:
        rest(server, "/v1/models/nobody:predict", body)
    with caught.value as refusal:
        assert refusal.code == 404


def rest(server: Production, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://{server.running.rest}{path}", data, timeout=30) as reply:
        return json.loads(reply.read())
