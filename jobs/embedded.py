"""The embedded server in a process of its own, for as long as a block lasts."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from jobs.exits import FAILED, CommandError
from jobs.leash import convoy

LISTENING = re.compile(r"listening grpc=(\S+) rest=\S+")
START_SECONDS = 300  # importing TensorFlow and loading a model on a busy machine
STOP_SECONDS = 30
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}  # what trains may hold it
TRAINING_ONLY = "TF_ENABLE_ONEDNN_OPTS"  # a server takes TensorFlow's own choice


@contextmanager
def embedded_server(store: str, log: Path | None = None) -> Iterator[str]:
    """Serve a store, on the CPU, for the length of the block; gives the gRPC address.

    Its stderr goes to `log`, or to ours. Raises CommandError when it does not begin to listen.
    """
    inherited = {name: value for name, value in os.environ.items() if name != TRAINING_ONLY}
    command = convoy("serve", "--store", store, "--port", "0", "--rest-port", "0")
    with (
        log.open("w") if log else nullcontext() as stderr,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**inherited, **NO_GPU},
        ) as server,
    ):
        try:
            yield _address(server)
        finally:
            _stop(server)


def _address(server: "subprocess.Popen[str]") -> str:
    patience = threading.Timer(START_SECONDS, server.kill)
    patience.start()
    try:
        for line in server.stdout or []:
            if match := LISTENING.match(line):
                return match.group(1)
    finally:
        patience.cancel()
    raise CommandError(
        f"the embedded server ended with code {server.wait()} before it listened", FAILED
    )


def _stop(server: "subprocess.Popen[str]") -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
