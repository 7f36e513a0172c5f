"""The server as a whole: hot swap, configuration, TLS, health, and an orderly end."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving.client import TLS, Client, Options
from serving.errors import ConfigError, RequestRejected, ServerUnavailable
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings, ServerTLS, of_store
from serving.store import Store

IMAGE = np.zeros((1, 4, 4, 1), np.uint8)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not come true within {seconds} s"
        time.sleep(0.01)


def settings(store: Store, poll: float = 0.05, **listen: Any) -> ServerSettings:
    found = of_store(store.root, Listen(**{"port": 0, "rest_port": 0, **listen}))
    loading = replace(found.loading, poll_config=poll, poll_versions=poll)
    return replace(found, loading=loading)


@contextmanager
def serving(store: Store, **listen: Any) -> Iterator[tuple[ModelServer, Client]]:
    with ModelServer(settings(store, **listen)) as server, Client(server.grpc_address) as client:
        yield server, client


def version_of(client: Client, **which: Any) -> int:
    return client.predict(IMAGE, model="shapes", **which)[0].version


def test_a_published_version_takes_over_and_a_rollback_returns(
    store: Store, classifiers: list[Path]
):
    first = store.publish("shapes", classifiers[0])
    with serving(store) as (_, client):
        assert client.predict(IMAGE, model="shapes")[0].label == "zero"
        second = store.publish("shapes", classifiers[1])
        until(lambda: version_of(client, label="stable") == second)
        assert client.predict(IMAGE, model="shapes")[0].label == "one"
        assert version_of(client, version=first) == first  # kept for the rollback
        store.rollback("shapes")
        until(lambda: version_of(client) == first)
        assert version_of(client, label="stable") == first


def test_a_store_that_starts_empty_serves_its_first_model(store: Store, classifiers: list[Path]):
    store.create()
    with serving(store) as (server, client):
        assert server.registry.ready()
        version = store.publish("shapes", classifiers[0])
        until(lambda: any(v.state == "AVAILABLE" for v in status(client)))
        assert version_of(client) == version


def status(client: Client) -> list[Any]:
    try:
        return client.status("shapes")
    except Exception:
        return []


def test_a_version_with_a_rotten_file_is_never_served(store: Store, classifiers: list[Path]):
    good = store.publish("shapes", classifiers[0])
    bad = store.publish("shapes", classifiers[1], label=None)
    (store.path("shapes", bad) / "saved_model.pb").write_bytes(b"rot")
    config = (store.root / "models.config").read_text()
    text = config.replace(f"versions: {good}", f"versions: {good}\n        versions: {bad}")
    (store.root / "models.config").write_text(text)
    with serving(store) as (server, client):
        assert version_of(client) == good
        (newest, _) = client.status("shapes")
        assert (newest.version, newest.state) == (bad, "LOADING")
        assert "does not match its manifest" in newest.error
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{server.rest_address}/readyz", timeout=10)
        with caught.value as reply:
            assert reply.code == 503
            assert f"shapes/{bad}" in json.loads(reply.read())["missing"]


def test_a_failing_warm_up_fails_the_load(store: Store, classifiers: list[Path], tmp_path: Path):
    from serving.servable import SavedModel
    from serving.warmup import warm_up

    directory = tmp_path / "copy"
    shutil.copytree(classifiers[0], directory)
    model = SavedModel(directory)
    assert warm_up(model, directory) == 1
    model.signatures = {}
    with pytest.raises(Exception, match='unknown signature "serving_default"'):
        warm_up(model, directory)
    (directory / "assets.extra" / "tf_serving_warmup_requests").unlink()
    assert warm_up(model, directory) == 0
    model.close()


def test_a_wrong_configuration_is_reported_once_and_changes_nothing(
    store: Store, classifiers: list[Path], caplog: pytest.LogCaptureFixture
):
    version = store.publish("shapes", classifiers[0])
    with serving(store) as (server, client):
        config = store.root / "models.config"
        good = config.read_text()
        config.write_text("model_config_list { config { nonsense")
        until(lambda: "keeping the last good configuration" in caplog.text)
        assert version_of(client) == version
        config.write_text("model_config_list {}")
        until(lambda: not server.registry.models())
        config.write_text(good)
        until(lambda: bool(server.registry.models()))
    reports = [r for r in caplog.records if "keeping the last good" in r.message]
    assert len(reports) == 1
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in reports[0].message


def test_a_configuration_that_cannot_be_read_stops_the_start(store: Store):
    with pytest.raises(ConfigError, match=r"cannot read .*models\.config"):
        ModelServer(settings(store)).start()


def test_a_port_in_use_stops_the_start(store: Store, server: Any):
    store.create()
    for taken in (
        {"port": int(server.grpc_address.partition(":")[2])},
        {"rest_port": int(server.rest_address.partition(":")[2])},
    ):
        with pytest.raises(ConfigError, match="cannot listen on"):
            ModelServer(settings(store, **taken)).start()


def reload(address: str, name: str, base_path: Path, **labels: int) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name=name, base_path=str(base_path))
    model.version_labels.update(labels)
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        response = stub.HandleReloadConfigRequest(request)
    assert response.status.error_code == 0


def test_a_reload_by_request_replaces_the_models(store: Store, classifiers: list[Path]):
    version = store.publish("shapes", classifiers[0])
    with serving(store) as (server, client):
        reload(server.grpc_address, "renamed", store.root / "shapes", best=version)
        assert client.predict(IMAGE, model="renamed", label="best")[0].version == version
        with pytest.raises(Exception, match=r"Latest\(shapes\)"):
            version_of(client)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"best": 7}, grpc.StatusCode.FAILED_PRECONDITION, "not currently available"),
        ({"base_path": "relative"}, grpc.StatusCode.INVALID_ARGUMENT, "absolute path or URI"),
        ({"name": ""}, grpc.StatusCode.INVALID_ARGUMENT, "needs a name and a base_path"),
    ],
)
def test_a_wrong_reload_is_refused(
    store: Store, classifiers: list[Path], change: Any, code: grpc.StatusCode, message: str
):
    store.publish("shapes", classifiers[0])
    with serving(store) as (server, _):
        wanted = {"name": "shapes", "base_path": store.root / "shapes"} | change
        with pytest.raises(grpc.RpcError, match=message) as caught:
            reload(server.grpc_address, **wanted)
        assert caught.value.code() is code


def test_health_follows_the_models(server: Any):
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "tensorflow.serving.PredictionService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_services(server: Any):
    with grpc.insecure_channel(server.grpc_address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "tensorflow.serving.PredictionService" in database.get_services()
        file = database.FindFileContainingSymbol("tensorflow.serving.PredictionService")
    methods = [method.name for service in file.service for method in service.method]
    assert {"Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"} == set(methods)


def test_requests_are_logged_in_samples_without_pixels(
    store: Store, classifiers: list[Path], caplog: pytest.LogCaptureFixture
):
    store.publish("shapes", classifiers[0])
    caplog.set_level(logging.INFO, "serving.requests")
    with (
        ModelServer(replace(settings(store), log_rate=1.0)) as server,
        Client(server.grpc_address) as client,
    ):
        client.predict(np.full((1, 4, 4, 1), 77, np.uint8), model="shapes")
    lines = [json.loads(r.message) for r in caplog.records if r.name == "serving.requests"]
    assert [(line["api"], line["status"], line["inputs"]) for line in lines] == [
        ("predict", "OK", {"image": "uint8[1,4,4,1]"})
    ]
    assert lines[0]["outputs"]["label"] == ["two"]
    assert "77" not in lines[0]["inputs"].values()


def test_a_large_message_is_refused_without_harm(store: Store, classifiers: list[Path]):
    store.publish("shapes", classifiers[0])
    small = settings(store)
    small = replace(small, limits=replace(small.limits, message_bytes=10_000, rows=100))
    with ModelServer(small) as server, Client(server.grpc_address) as client:
        for rows, batch_size in ((1000, 1000), (101, 101)):
            with (
                Client(server.grpc_address, Options(batch_size=batch_size)) as bold,
                pytest.raises(RequestRejected, match=r"so large|more than the limit of 100"),
            ):
                bold.predict(np.zeros((rows, 4, 4, 1), np.uint8), model="shapes")
        assert version_of(client)


def secured(store: Store, certificates: Path, mutual: bool) -> ServerSettings:
    texts = {name: (certificates / name).read_text() for name in ("server.key", "server.pem")}
    ca = (certificates / "ca.pem").read_text() if mutual else ""
    return settings(store, tls=ServerTLS(texts["server.key"], texts["server.pem"], ca))


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_serves_those_it_should_and_no_others(
    store: Store, classifiers: list[Path], certificates: Path, mutual: bool
):
    version = store.publish("shapes", classifiers[0])
    anonymous = TLS(ca=certificates / "ca.pem")
    known = TLS(certificates / "ca.pem", certificates / "client.key", certificates / "client.pem")
    once = Options(retries=0, timeout=5)
    with ModelServer(secured(store, certificates, mutual)) as server:
        with Client(server.grpc_address, once, known if mutual else anonymous) as client:
            assert version_of(client) == version
        refused = [None, TLS(ca=certificates / "client.pem"), *([anonymous] if mutual else [])]
        for wrong in refused:
            with (
                Client(server.grpc_address, once, wrong) as client,
                pytest.raises(ServerUnavailable),
            ):
                version_of(client)


@pytest.mark.parametrize("mutual", [False, True])
def test_rest_is_behind_the_same_tls(
    store: Store, classifiers: list[Path], certificates: Path, mutual: bool
):
    import ssl

    store.publish("shapes", classifiers[0])
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with ModelServer(secured(store, certificates, mutual)) as server:
        url = f"https://{server.rest_address}/v1/models/shapes"
        if mutual:
            with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
                urllib.request.urlopen(url, context=context, timeout=5)
            context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        with urllib.request.urlopen(url, context=context, timeout=5) as reply:
            assert b"AVAILABLE" in reply.read()
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(url.replace("https", "http"), timeout=5)


def command(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from serving.server import main; sys.exit(main())"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "listening grpc=" in line:
            return line.partition("grpc=")[2].split()[0].replace("0.0.0.0", "127.0.0.1")
    raise AssertionError("the server ended: " + "".join(seen))


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_serves_one_model_and_ends_in_order(store: Store, classifiers: list[Path]):
    version = store.publish("shapes", classifiers[0])
    process = command(
        f"--port={free_port()}",
        "--model_name=shapes",
        f"--model_base_path={store.root / 'shapes'}",
        "--enable_batching",
        "--tensorflow_intra_op_parallelism=2",
    )
    try:
        with Client(address_of(process)) as client:
            assert version_of(client) == version
            answered = load_until_refused(client, process)
        assert answered > 0
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
    finally:
        process.kill()
        process.communicate()


def load_until_refused(client: Client, process: subprocess.Popen[str]) -> int:
    """Ask from 8 threads; SIGTERM in the middle. Every request is answered or not accepted."""
    answered: list[int] = []
    wrong: list[Exception] = []

    def ask() -> None:
        with Client(client.address, Options(retries=0)) as own:
            try:
                while True:
                    answered.append(version_of(own))
            except ServerUnavailable:
                return
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 100)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert wrong == []
    return len(answered)


def test_the_command_ends_with_the_reason_when_its_configuration_is_wrong(tmp_path: Path):
    config = tmp_path / "models.config"
    config.write_text("model_config_list { config { nonsense")
    process = command(f"--model_config_file={config}")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in stderr
