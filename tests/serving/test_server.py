"""The server as a whole: hot swap, configuration, TLS, health, and an orderly end."""

import json
import logging
import shutil
import threading
import urllib.error
import urllib.request
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

from serving.client import Client, Options
from serving.errors import ConfigError, RequestRejected
from serving.model_settings import ModelSettings
from serving.server import ModelServer
from serving.settings import Listen, Loading, ServerSettings
from serving.store import Store
from tests.support.running import IMAGE, serving, settings, version_of
from tests.support.waiting import until


def test_a_published_version_takes_over_and_a_rollback_returns(
    store: Store, classifiers: list[Path]
):
    first = store.publish("shapes", classifiers[0])
    with serving(store) as (_, client):
        assert client.predict(IMAGE, model="shapes")[0].label == "zero"
        second = store.publish("shapes", classifiers[1])
        until(lambda: version_of(client) == second)
        assert version_of(client, label="stable") == first
        store.settle("shapes")
        until(lambda: version_of(client, label="stable") == second)
        assert client.predict(IMAGE, model="shapes")[0].label == "one"
        assert version_of(client, version=first) == first  # kept for the rollback
        store.rollback("shapes")
        until(lambda: version_of(client) == first)
        assert version_of(client, label="stable") == first


def test_a_store_that_starts_empty_serves_its_first_model(store: Store, classifiers: list[Path]):
    store.create()
    with serving(store) as (server, client):
        assert not server.registry.ready()  # it has nothing to answer with
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


def one_model(base: Path, poll: float = 0.05) -> ServerSettings:
    return ServerSettings(
        models=(ModelSettings("shapes", base),),
        listen=Listen(port=0, rest_port=0),
        loading=Loading(poll_versions=poll),
    )


def test_a_model_of_which_nothing_can_be_loaded_stops_the_start(tmp_path: Path):
    (tmp_path / "1").mkdir()
    server = ModelServer(one_model(tmp_path))
    with pytest.raises(ConfigError) as caught:
        server.start()
    assert str(caught.value).startswith(
        "1 servable(s) did not become available: {{{name: shapes version: 1} due to error: "
    )
    assert server.grpc_address == ""


def test_a_server_does_not_listen_before_each_model_has_a_version(
    classifiers: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    base, ending, started = tmp_path / "shapes", threading.Event(), []
    server = ModelServer(one_model(base))
    starter = threading.Thread(target=lambda: started.append(server.start(ending)))
    starter.start()
    try:
        until(lambda: f"waiting for shapes: Could not find base path {base}" in caplog.text)
        base.mkdir()
        until(lambda: f"waiting for shapes: no version under {base}" in caplog.text)
        assert server.grpc_address == ""
        shutil.copytree(classifiers[0], tmp_path / "copy")
        (tmp_path / "copy").rename(base / "7")
        starter.join(60)
        assert started == [True]
        with Client(server.grpc_address) as client:
            assert version_of(client) == 7
    finally:
        ending.set()
        starter.join(60)
        server.stop()


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
    model.model_platform = "tensorflow"
    model.version_labels.update(labels)
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        response = stub.HandleReloadConfigRequest(request)
    assert response.status.error_code == 0


def test_a_reload_that_adds_a_model_answers_when_it_is_available(
    store: Store, classifiers: list[Path]
):
    version = store.publish("shapes", classifiers[0])
    (store.root / "broken" / "1").mkdir(parents=True)
    with serving(store) as (server, client):
        with pytest.raises(grpc.RpcError) as caught:
            reload(server.grpc_address, "broken", store.root / "broken")
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        assert (caught.value.details() or "").startswith(
            "1 model(s) did not become available: {{{name: broken version: 1} due to error: "
        )
        reload(server.grpc_address, "renamed", store.root / "shapes")
        assert [v.version for v in client.status("renamed")] == [version]  # loaded, if not in force


def test_a_reload_counts_what_it_is_asked_to(store: Store, classifiers: list[Path]):
    store.publish("shapes", classifiers[0])
    loads = "/tensorflow/cc/saved_model/load_attempt_count"
    request = model_management_pb2.ReloadConfigRequest(metric_names=[loads, "/no/such"])
    request.config.model_config_list.config.add(
        name="again", base_path=str(store.root / "shapes"), model_platform="tensorflow"
    )
    with serving(store) as (server, _), grpc.insecure_channel(server.grpc_address) as channel:
        response = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
            request
        )
    found = {metric.name: metric.int64_value_increase for metric in response.metric}
    assert found == {loads: 1, "/no/such": 0}


def test_a_reload_without_a_list_of_models_is_refused(server: Any):
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="Only ModelConfigList is currently supported"):
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())


def test_a_store_that_is_away_for_a_moment_is_served_on(store: Store, classifiers: list[Path]):
    version = store.publish("shapes", classifiers[0])
    with serving(store) as (server, client):
        away = store.root.rename(store.root.with_name("away"))
        url = f"http://{server.rest_address}/readyz"
        until(lambda: "shapes" in server.registry.problems())
        assert version_of(client, label="stable") == version
        with urllib.request.urlopen(url, timeout=10) as reply:
            told = json.loads(reply.read())
        assert told["status"] == "ready"
        assert "Could not find base path" in told["problems"]["shapes"]
        assert "cannot read" in told["problems"]["configuration"]
        away.rename(store.root)
        until(lambda: not server.registry.problems())
        assert version_of(client) == version


def test_a_reload_by_request_replaces_the_models(store: Store, classifiers: list[Path]):
    version = store.publish("shapes", classifiers[0])
    once = replace(settings(store), loading=Loading(poll_config=0, lenient_labels=True))
    with ModelServer(once) as server, Client(server.grpc_address) as client:
        reload(server.grpc_address, "renamed", store.root / "shapes", best=version)
        assert client.predict(IMAGE, model="renamed", label="best")[0].version == version
        with pytest.raises(Exception, match=r"Latest\(shapes\)"):
            version_of(client)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"stable": 7}, grpc.StatusCode.FAILED_PRECONDITION, "not currently available"),
        ({"base_path": "relative"}, grpc.StatusCode.INVALID_ARGUMENT, "absolute path or URI"),
        ({"name": ""}, grpc.StatusCode.INVALID_ARGUMENT, "needs a name and a base_path"),
        ({"base_path": "/etc"}, grpc.StatusCode.INVALID_ARGUMENT, "is outside of the store"),
        ({"base_path": "/models/../.."}, grpc.StatusCode.INVALID_ARGUMENT, "outside of the st"),
    ],
)
def test_a_wrong_reload_is_refused_and_changes_nothing(
    server: Any, served_store: Store, change: Any, code: grpc.StatusCode, message: str
):
    wanted = {"name": "shapes", "base_path": served_store.root / "shapes"} | change
    with pytest.raises(grpc.RpcError, match=message) as caught:
        reload(server.grpc_address, **wanted)
    assert caught.value.code() is code
    with Client(server.grpc_address) as client:
        assert version_of(client) == served_store.live("shapes")


def test_health_follows_the_models(server: Any):
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
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
