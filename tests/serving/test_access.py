"""Who may call a server, and who may change what it serves."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving.access import RELOAD_IS_OFF, digest, read_tokens
from serving.client import TLS, Client
from serving.described import THREADS
from serving.errors import AccessRefused, ConfigError
from serving.server import ModelServer
from serving.store import Store
from tests.support.running import settings, version_of
from tests.support.waiting import until

SHAPES = "/v1/models/shapes"
READ = "Only ModelConfigList is currently supported"  # and found wanting
METRICS = "/monitoring/prometheus/metrics"


def reload(channel: grpc.Channel) -> str:
    """What a server says to a reload, in which nothing is listed."""
    request = model_management_pb2.ReloadConfigRequest()
    with pytest.raises(grpc.RpcError) as caught:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request)
    return caught.value.details() or ""


def status(address: str, path: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(f"http://{address}{path}", headers=headers)
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_the_machine_itself_may_change_what_is_served(served_store: Store, tmp_path: Path):
    listen: dict[str, Any] = {"reload": False, "socket": str(tmp_path / "socket")}
    with ModelServer(settings(served_store, **listen)) as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            assert reload(channel) == RELOAD_IS_OFF
        with grpc.insecure_channel(f"unix:{tmp_path / 'socket'}") as channel:
            assert reload(channel).endswith(READ)


@pytest.mark.parametrize("kind", ["server", "mutual"])
def test_a_client_certificate_may_and_encryption_alone_may_not(
    served_store: Store, certificates: Path, kind: str
):
    files = [certificates / name for name in ("ca.pem", "client.key", "client.pem")]
    credentials = TLS(*files).credentials()
    listen: dict[str, Any] = {"reload": False, "tls": certificates / f"{kind}.ssl"}
    with (
        ModelServer(settings(served_store, **listen)) as server,
        grpc.secure_channel(server.grpc_address, credentials) as channel,
    ):
        assert reload(channel).endswith(RELOAD_IS_OFF if kind == "server" else READ)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(f"# who may call\nshop {digest('s3cret')}\n\nlab {digest('other')}\n")
    return file


@pytest.fixture
def guarded(served_store: Store, tokens: Path) -> Iterator[ModelServer]:
    with ModelServer(settings(served_store, tokens=tokens)) as server:
        yield server


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


@pytest.mark.parametrize("metadata", [[], bearer("wrong"), [("authorization", "Basic s3cret")]])
def test_without_a_token_no_call_is_answered_but_probes(guarded: ModelServer, metadata: Any):
    with (
        Client(guarded.grpc_address, metadata=metadata) as client,
        pytest.raises(AccessRefused, match="this server wants a token"),
    ):
        version_of(client)
    assert [status(guarded.rest_address, path) for path in (SHAPES, METRICS)] == [401, 401]
    assert [status(guarded.rest_address, path) for path in ("/healthz", "/readyz")] == [200, 200]
    with grpc.insecure_channel(guarded.grpc_address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1


def test_calls_are_counted_by_the_token_s_name(guarded: ModelServer):
    for token, calls in (("s3cret", 2), ("other", 1)):
        with Client(guarded.grpc_address, metadata=bearer(token)) as client:
            for _ in range(calls):
                version_of(client)
    assert status(guarded.rest_address, SHAPES, "s3cret") == 200
    page = guarded.metrics.page().splitlines()
    assert 'convoy_calls_total{caller="shop",entrypoint="GRPC"} 2' in page
    assert 'convoy_calls_total{caller="lab",entrypoint="GRPC"} 1' in page
    assert 'convoy_calls_total{caller="shop",entrypoint="REST"} 1' in page


def test_a_token_that_is_taken_back_ends_with_the_file(guarded: ModelServer, tokens: Path):
    assert status(guarded.rest_address, SHAPES, "other") == 200
    tokens.write_text(f"shop {digest('s3cret')}\n")
    assert status(guarded.rest_address, SHAPES, "other") == 401
    tokens.write_text("nonsense")  # keeps what was in force
    assert status(guarded.rest_address, SHAPES, "s3cret") == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop secret", "line 1: expected a name, not named before, and the SHA-256"),
        (f"a {'0' * 64}\na {'1' * 64}", "line 2: expected a name, not named before"),
        ("# nobody", "names no caller"),
    ],
)
def test_a_tokens_file_is_right_or_refused(tmp_path: Path, text: str, message: str):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_tokens(file)
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by everybody"):
        read_tokens(file)


def reflection(channel: grpc.Channel) -> Any:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub
    return stub(channel)


def test_silent_streams_of_reflection_take_no_thread_from_others(served_store: Store):
    hold = threading.Event()

    def silence() -> Iterator[Any]:
        hold.wait(60)
        yield from ()

    with (
        ModelServer(settings(served_store)) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
        Client(server.grpc_address) as client,
    ):
        stub = reflection(channel)
        streams = [stub.ServerReflectionInfo(silence()) for _ in range(100)]
        until(lambda: sum("reflection" in t.name for t in threading.enumerate()) == THREADS)
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        assert client.signatures("shapes")  # of the pool that the streams would have filled
        for stream in streams:
            stream.cancel()
        hold.set()


def test_reflection_can_be_closed(served_store: Store):
    with (
        ModelServer(settings(served_store, reflection=False)) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        next(reflection(channel).ServerReflectionInfo(iter(())))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
