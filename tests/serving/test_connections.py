"""Connections: idle ones make room, slow ones meet a deadline, and health is always answered."""

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from serving import web
from serving.client import Client
from serving.connections import Slots
from serving.rest import Rest
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings
from tests.support.waiting import until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
STATUS = b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n"


@contextmanager
def listening(slots: int, spare: int) -> Iterator[str]:
    nobody: Any = None
    server = web.WebServer(
        "127.0.0.1", 0, Rest(nobody), 1 << 20, slots=Slots(slots, spare, seconds=0.1)
    )
    server.start()
    try:
        yield server.address
    finally:
        server.stop(0)


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=20)


def ask(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Status and the rest of an answer that fits into one read."""
    connection.sendall(request)
    answer = connection.recv(1 << 16)
    return (int(answer.split()[1]) if answer else 0), answer


def test_the_oldest_idle_connection_makes_room():
    with listening(slots=3, spare=2) as address, ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(address)) for _ in range(3))
        for connection in (second, third, first):
            assert ask(connection, HEALTH)[0] == 200
        fourth = stack.enter_context(connect(address))
        assert ask(fourth, STATUS)[0] == 500  # the API's own answer: there is no predictor
        assert second.recv(100) == b""  # it had been idle for longest
        assert [ask(connection, HEALTH)[0] for connection in (third, first)] == [200, 200]


def test_new_connections_are_served_while_idle_ones_hold_every_slot():
    with listening(slots=8, spare=2) as address, ExitStack() as stack:
        idle = [stack.enter_context(connect(address)) for _ in range(8)]
        for connection in idle:
            assert ask(connection, HEALTH)[0] == 200
        for _ in range(20):
            with connect(address) as fresh:
                status, answer = ask(fresh, STATUS)
                assert status == 500, answer


def test_when_all_are_busy_health_is_answered_and_the_rest_told_to_come_again():
    with listening(slots=2, spare=2) as address, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(address)).sendall(b"POST /v1/")  # a request has begun
        time.sleep(0.2)
        with connect(address) as fresh:
            assert ask(fresh, HEALTH)[0] == 200
        with connect(address) as fresh:
            status, answer = ask(fresh, STATUS)
        assert status == 503
        assert b"Retry-After: 1\r\n" in answer
        assert b'{"error": "too many connections' in answer


@pytest.mark.parametrize(
    "start",
    [b"GET /healthz HT", b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n"],
)
def test_a_byte_a_second_meets_the_deadline_of_the_whole(
    start: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(web, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(web, "BODY_SECONDS", 1.0)
    with listening(slots=4, spare=2) as address, connect(address) as connection:
        connection.sendall(start)
        connection.settimeout(0.2)
        began, answer = time.monotonic(), b""
        while not answer and time.monotonic() - began < 10:
            try:
                answer = connection.recv(1 << 16)
            except TimeoutError:
                connection.sendall(b"x")
        assert b" 408 " in answer
        assert time.monotonic() - began < 5


def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web, "IDLE_SECONDS", 0.3)
    with listening(slots=4, spare=2) as address, connect(address) as connection:
        assert ask(connection, HEALTH)[0] == 200
        assert connection.recv(100) == b""


def drip(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"POST /v1/models/odd:predict HTTP/1.1\r\n")
    while not over.wait(1):
        try:
            connection.sendall(b"x")
        except OSError:
            return


def test_512_idle_connections_and_a_slow_sender_keep_nobody_out(odd_server: Any):
    over = threading.Event()
    rest = odd_server.rest_address
    with ExitStack() as stack, Client(odd_server.grpc_address) as client:
        slow = threading.Thread(target=drip, args=(stack.enter_context(connect(rest)), over))
        slow.start()
        for _ in range(512):
            stack.enter_context(connect(rest))
        for _ in range(5):
            for path in ("/healthz", "/monitoring/prometheus/metrics", "/v1/models/odd"):
                with urllib.request.urlopen(f"http://{rest}{path}", timeout=5) as reply:
                    assert reply.status == 200
            assert client.status("odd")[0].state == "AVAILABLE"
            time.sleep(0.1)
        over.set()
        slow.join()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_server_listens_on_ipv6(host: str):
    settings = ServerSettings(listen=Listen(host=host, port=0, rest_port=0))
    with ModelServer(settings) as server:
        assert server.grpc_address.startswith("[::1]:")
        with urllib.request.urlopen(f"http://{server.rest_address}/healthz", timeout=5) as reply:
            assert json.loads(reply.read()) == {"status": "alive"}
        with Client(server.grpc_address) as client:
            until(lambda: unknown(client))


def unknown(client: Client) -> bool:
    """Whether the server says that it has no such model."""
    try:
        client.status("nobody")
    except Exception as error:
        return "Could not find any versions" in str(error)
    return False
