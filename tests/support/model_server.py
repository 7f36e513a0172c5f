"""A model server as a process with tensorflow_model_server's flags: ours, or the one that is named.

The environment names TensorFlow Serving's own for `make tfserving-test`: TFSERVING_BINARY is a
program, TFSERVING_IMAGE an image for docker-compose.yml, TFSERVING_ADDRESS a server that runs.
"""

import contextlib
import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.support.forkserver import ForkServer
from tests.support.waiting import until

CODE = "import sys; from serving.server import main; sys.exit(main())"
START_SECONDS = 120


@dataclass(frozen=True)
class Running:
    """Where a server answers."""

    grpc: str
    rest: str


Start = Callable[..., AbstractContextManager[Running]]


def named(kind: str) -> str:
    """Return what the environment names: "BINARY", "IMAGE" or "ADDRESS"; empty for nothing."""
    return os.environ.get(f"TFSERVING_{kind}", "")


def starter(forkserver: ForkServer) -> Start:
    """Return what starts a server with flags: the named program, or else our own."""

    @contextmanager
    def start(*flags: str) -> Iterator[Running]:
        ports = free_ports()
        listen = (f"--port={ports[0]}", f"--rest_api_port={ports[1]}")
        with _process(forkserver, *listen, *flags) as process:
            running = Running(f"localhost:{ports[0]}", f"localhost:{ports[1]}")
            wait_ready(running, lambda: process.poll() is not None)
            yield running
            process.terminate()

    return start


@contextmanager
def starting(forkserver: ForkServer, *flags: str) -> Iterator[Running]:
    """Start a server, and do not wait until it answers."""
    ports = free_ports()
    listen = (f"--port={ports[0]}", f"--rest_api_port={ports[1]}")
    with _process(forkserver, *listen, *flags):
        yield Running(f"localhost:{ports[0]}", f"localhost:{ports[1]}")


def output_of_failed_start(forkserver: ForkServer, *flags: str) -> str:
    """Start a server that must end by itself, and return what it says."""
    ports = free_ports()
    listen = (f"--port={ports[0]}", f"--rest_api_port={ports[1]}")
    with _process(forkserver, *listen, *flags) as process:
        said, complained = process.communicate(timeout=START_SECONDS)
        assert process.returncode != 0
        return f"{said}{complained}"


def wait_ready(running: Running, ended: Callable[[], bool] = lambda: False) -> None:
    """Wait as TensorFlow Serving's own tests do, for an answer about a model that is not there."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "intentionally_missing_model"

    def answers() -> bool:
        assert not ended(), "the server ended before it answered"
        with grpc.insecure_channel(running.grpc) as channel:
            try:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                stub.Predict(request, timeout=5)
            except grpc.RpcError as problem:
                return "Servable" in (problem.details() or "")
        return False

    until(answers, f"an answer of {running.grpc}", START_SECONDS)


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        first, second = (int(one.getsockname()[1]) for one in sockets)
    return first, second


@contextmanager
def _process(forkserver: ForkServer, *arguments: str) -> Iterator[Any]:
    if binary := named("BINARY"):
        with subprocess.Popen(
            [*shlex.split(binary), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path("/"),
        ) as process:
            try:
                yield process
            finally:
                process.kill()
    else:
        # The one flag without which ours is closed where production is open.
        with forkserver.start("-c", CODE, "--allow_config_reload", *arguments) as forked:
            yield forked
