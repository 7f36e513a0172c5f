"""What the client tries again, and for how long."""

import threading
import time
from typing import Any

import grpc
import numpy as np
import pytest

from serving.client import Client, Options
from serving.errors import (
    DeadlineExceeded,
    ServerUnavailable,
    ServingError,
)

IMAGE = np.zeros((4, 4, 1), np.uint8)


class Flaky(grpc.GenericRpcHandler):
    """Answers every method with a status, and counts the calls."""

    def __init__(self, code: grpc.StatusCode, delay: float = 0.0) -> None:
        self.calls = 0
        self._code = code
        self._delay = threading.Event()
        self._seconds = delay

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        self._delay.wait(self._seconds)
        context.abort(self._code, "as told")


def flaky_server(handler: Flaky) -> tuple[grpc.Server, str]:
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("code", "calls"), [(grpc.StatusCode.UNAVAILABLE, 3), (grpc.StatusCode.INTERNAL, 1)]
)
def test_only_unavailable_is_tried_again(code: grpc.StatusCode, calls: int):
    handler = Flaky(code)
    server, address = flaky_server(handler)
    with Client(address, Options(retries=2)) as client, pytest.raises(ServingError):
        client.predict(IMAGE, model="shapes")
    server.stop(None).wait()
    assert handler.calls == calls


def test_the_timeout_covers_the_retries():
    handler = Flaky(grpc.StatusCode.UNAVAILABLE)
    server, address = flaky_server(handler)
    started = time.monotonic()
    options = Options(timeout=0.5, retries=1000)
    with Client(address, options) as client, pytest.raises(ServerUnavailable):
        client.predict(IMAGE, model="shapes")
    server.stop(None).wait()
    assert time.monotonic() - started < 2


def test_a_slow_server_ends_in_deadline_exceeded():
    server, address = flaky_server(Flaky(grpc.StatusCode.INTERNAL, delay=5))
    with (
        Client(address, Options(timeout=0.2)) as client,
        pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.2 s"),
    ):
        client.predict(IMAGE, model="shapes")
    server.stop(None).wait()
