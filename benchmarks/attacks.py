"""Sixteen good callers beside every attack on the network that was found: how long do they wait?

    python benchmarks/attacks.py [--seconds 6]

The embedded server, in a process of its own and with its defaults, has the default job's network
after one epoch, and answers 16 callers of one image; first alone, then while another process
attacks it, one kind after the other, until the last has ended.
"""

import argparse
import gzip
import http.client
import io
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

import grpc
import numpy as np
from measuring import claims  # beside this file
from measuring.claims import at_most
from PIL import Image

from serving.exchange import PREDICT, Target
from serving.load import Load, Measured, encode, measure
from serving.tensors import fill
from serving.wire import predict_pb2

ROOT = Path(__file__).parents[1]
CONVOY = [sys.executable, "-m", "jobs"]
MODEL = "digits"
CALLERS = 16
SLOWER = 10  # times the quiet 99th percentile
GROWTH = 1000  # megabytes
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
PREDICT_PATH = f"/v1/models/{MODEL}:predict"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each attack")
    parser.add_argument("--attack", nargs=2, metavar=("GRPC", "REST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        attack(*options.attack, options.seconds)
        return
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), options.seconds)


def compare(directory: Path, seconds: float) -> None:
    """Measure quiet and attacked callers, print the table and the verdicts."""
    command = [*CONVOY, "run", str(ROOT / "configs" / "digits.toml"), "--set", "train.epochs=1"]
    for setting in ("bless.min_accuracy=0", "bless.min_class_recall=0", "publish.settle_seconds=0"):
        command += ["--set", setting]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    image = np.random.default_rng(7).integers(0, 256, (1, 32, 32, 1), np.uint8)
    with served(directory / "models") as (process, grpc_address, rest_address):
        request, rows = encode(image, Target(MODEL), 1)
        measure(grpc_address, Load(request, rows, CALLERS, 2.0))  # warm
        before = megabytes(process)
        quiet = measure(grpc_address, Load(request, rows, CALLERS, seconds))
        command = [sys.executable, __file__, "--seconds", str(seconds)]
        command += ["--attack", grpc_address, rest_address]
        attacked = Measured(rows)
        with subprocess.Popen(command) as attacker:
            while attacker.poll() is None:
                part = measure(grpc_address, Load(request, rows, CALLERS, 1.0))
                attacked.latencies += part.latencies
                attacked.seconds += part.seconds
                for code, count in part.failures.items():
                    attacked.failures[code] = attacked.failures.get(code, 0) + count
        after = megabytes(process)
        status, page = ask(rest_address, "GET", "/readyz")
        ready = status == 200 and json.loads(page)["status"] == "ready"
    report(quiet, attacked, after - before, ready)


def report(quiet: Measured, attacked: Measured, growth: int, ready: bool) -> None:
    for name, found in (("quiet", quiet), ("attacked", attacked)):
        p50, p99 = (found.percentile(p) * 1e3 for p in (50, 99))
        rate, longest = found.requests_per_second, max(found.latencies) * 1e3
        print(f"{name:9}{p50:8.1f} ms p50 {p99:8.1f} p99 {longest:8.1f} longest {rate:7.0f} req/s")
    claims.report(
        [
            at_most("failed requests of good callers", sum(attacked.failures.values()), 0),
            at_most("p99 attacked / quiet", attacked.percentile(99) / quiet.percentile(99), SLOWER),
            at_most("megabytes that the server grew by", growth, GROWTH),
            at_most("not ready at the end", float(not ready), 0),
        ]
    )


@contextmanager
def served(store: Path) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """`convoy serve` on a store; gives the process and both addresses."""
    with subprocess.Popen(
        [*CONVOY, "serve", "--store", str(store), "--port", "0", "--rest-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            _, grpc_part, rest_part = line.split()
            yield process, grpc_part.partition("=")[2], rest_part.partition("=")[2]
        finally:
            process.terminate()


def megabytes(process: "subprocess.Popen[str]") -> int:
    """Resident memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def ask(
    address: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def attack(grpc_address: str, rest_address: str, seconds: float) -> None:
    """Attack, one kind after the other, each again and again for so many seconds."""
    for name, make in ATTACKS.items():
        strike = make(grpc_address, rest_address)
        ends, count = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            with suppress(grpc.RpcError, OSError, http.client.HTTPException):
                strike()
            count += 1
        print(f"attacked by {name}, {count} times", flush=True)


Strike = Callable[[], Any]


def predicts(*payloads: bytes) -> Callable[[str, str], Strike]:
    """Send messages side by side, with 10 seconds for each."""

    def make(grpc_address: str, rest_address: str) -> Strike:
        call = grpc.insecure_channel(grpc_address).unary_unary(PREDICT)

        def strike() -> None:
            for future in [call.future(payload, timeout=10) for payload in payloads]:
                future.exception()

        return strike

    return make


def posts(body: bytes, **headers: str) -> Callable[[str, str], Strike]:
    return lambda grpc_address, rest_address: (
        lambda: ask(rest_address, "POST", PREDICT_PATH, body, **headers)
    )


def files(*encoded: bytes) -> bytes:
    """A Predict of encoded images."""
    request = predict_pb2.PredictRequest(model_spec=Target(MODEL).spec("image_bytes"))
    fill(request.inputs["image_bytes"], np.array([*encoded, b""], object)[:-1])
    return request.SerializeToString()


def amplified() -> bytes:
    """A few bytes that ask for a gigabyte."""
    request = predict_pb2.PredictRequest(model_spec=Target(MODEL).spec())
    tensor = request.inputs["image"]
    tensor.dtype = predict_pb2.DT_FLOAT
    tensor.tensor_shape.dim.add(size=1 << 28)
    tensor.float_val.append(1.0)
    return request.SerializeToString()


def large_png(side: int = 8000) -> bytes:
    """Black, in 190 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(bytes(side * (1 + 3 * side)), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes 600 times."""
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 600 + data[-2:]


def silent_streams(grpc_address: str, rest_address: str) -> Strike:
    channel = grpc.insecure_channel(grpc_address)

    def silence() -> Iterator[bytes]:
        time.sleep(2)
        yield from ()

    def strike() -> None:
        method = channel.stream_stream(REFLECTION)
        streams = [method(silence(), timeout=3) for _ in range(100)]
        time.sleep(2.5)
        for stream in streams:
            stream.cancel()

    return strike


def reloads(grpc_address: str, rest_address: str) -> Strike:
    call = grpc.insecure_channel(grpc_address).unary_unary(RELOAD)
    return lambda: call(b"\x0a\x02\x0a\x00", timeout=5)  # serve nothing


def idle_and_dripping(grpc_address: str, rest_address: str) -> Strike:
    host, _, port = rest_address.partition(":")

    def strike() -> None:
        held = [socket.create_connection((host, int(port)), timeout=5) for _ in range(550)]
        for connection in held[:200]:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        time.sleep(2)
        for connection in held:
            connection.close()

    return strike


def nonsense(grpc_address: str, rest_address: str) -> Strike:
    host, _, port = rest_address.partition(":")
    lines = [b"GET /" + b"a" * 70_000, b"\x16\x03\x01" * 100, b"POST / HTTP/1.1\r\nA : b\r\n\r\n"]

    def strike() -> None:
        for line in lines:
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1000)

    return strike


EMPTY_LISTS = gzip.compress(b'{"instances":[' + b"[]," * 20_000_000 + b"[]]}", 1)
NUMBERS = b'{"instances":[' + b"1," * 7_900_000 + b"1]}"  # just under the limit of values
ATTACKS: dict[str, Callable[[str, str], Strike]] = {
    "a shape of a gigabyte": predicts(*[amplified()] * 8),
    "a JPEG of padding": predicts(*[files(b"\xff\xd8" + b"\xff" * 400_000)] * 4),
    "a JPEG of empty segments": predicts(*[files(b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000)] * 4),
    "a JPEG of 600 scans": predicts(*[files(many_scans())] * 2),
    "four images of 64 megapixels": predicts(*[files(*[large_png()] * 4)] * 4),
    "20,000,000 lists in a zipped body": posts(EMPTY_LISTS, Content_Encoding="gzip"),
    "7,900,000 numbers": posts(NUMBERS),
    "silent streams of reflection": silent_streams,
    "a reload that serves nothing": reloads,
    "550 connections, idle or half a request": idle_and_dripping,
    "nonsense": nonsense,
}


if __name__ == "__main__":
    main()
