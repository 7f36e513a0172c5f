"""The embedded server against the cost of its parts: the bare model, and gRPC in Python.

    python benchmarks/serving.py [--seconds 3] [--rounds 5]

Three parties on this machine, the model being mnist_cnn (225,546 parameters, 28 x 28 x 1):
  raw   the model's callable in a loop, without any network
  echo  a bare gRPC server, as many threads, that parses the request and answers the same bytes
  ours  the embedded server, its defaults
Echo and ours each run in a process of their own, take turns, and the medians over the rounds count.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

import numpy as np

from serving.exchange import PREDICT, Target
from serving.load import Load, Measured, encode, measure
from serving.store import Store
from serving.wire import predict_pb2

MODEL = "mnist_cnn"
NAMES = [str(digit) for digit in range(10)]


def main() -> None:
    options = arguments()
    if options.role == "echo":
        return echo(options.request, options.response)
    if options.role == "ours":
        return ours(options.store)
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), options.seconds, options.rounds)
    return None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--role", choices=("echo", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--request", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--response", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(directory: Path, seconds: float, rounds: int) -> None:
    """Measure all three, print the table and the verdicts."""
    store = Store(directory / "models")
    store.publish(MODEL, export(directory / "export"))
    single, batch = images(1), images(32)
    raw = raw_times(store, {1: single, 32: batch}, seconds)
    role = ["--role", "ours", "--store", str(store.root)]
    with running(role) as our_address:
        responses = {rows: answer(our_address, images(rows)) for rows in (1, 32)}
        found = take_turns(directory, our_address, responses, seconds, rounds)
    report(raw, found)


def images(rows: int) -> Any:
    return np.random.default_rng(7).integers(0, 256, (rows, 28, 28, 1), np.uint8)


def export(directory: Path) -> Path:
    """The digits network with the signature and manifest that the trainer's exports have."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    labels = tf.constant(NAMES)

    def serve(image: Any) -> dict[str, Any]:
        probabilities = network(tf.cast(image, tf.float32) / 255.0)
        class_id = tf.argmax(probabilities, -1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(labels, class_id),
        }

    archive = keras.export.ExportArchive()
    archive.track(network)
    spec = tf.TensorSpec([None, 28, 28, 1], tf.uint8, name="image")
    archive.add_endpoint("serving_default", serve, [spec])
    archive.write_out(str(directory), verbose=False)
    write_manifest(directory)
    return directory


def write_manifest(directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    digests = {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    manifest = directory / "assets.extra" / "manifest.json"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps({"algorithm": "sha256", "files": digests}))


def raw_times(store: Store, inputs: dict[int, Any], seconds: float) -> dict[int, float]:
    """Median seconds of one call of the bare model, by rows."""
    from serving.servable import SavedModel

    live = store.live(MODEL)
    model = SavedModel(store.path(MODEL, live or 0))
    times = {rows: call_times(model, array, seconds) for rows, array in inputs.items()}
    model.close()
    return {rows: statistics.median(found) for rows, found in times.items()}


def call_times(model: Any, array: Any, seconds: float) -> list[float]:
    found = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        model.predict("serving_default", {"image": array})
        found.append(time.perf_counter() - begun)
    return found


def answer(address: str, array: Any) -> bytes:
    """The bytes of our server's response, for the echo server to give."""
    import grpc

    request, _ = encode(array, Target(MODEL), len(array))
    with grpc.insecure_channel(address) as channel:
        response: bytes = channel.unary_unary(PREDICT)(request)
    return response


def take_turns(
    directory: Path, our_address: str, responses: dict[int, bytes], seconds: float, rounds: int
) -> dict[tuple[str, int, int], list[Measured]]:
    """Measurements by (party, rows, concurrency)."""
    found: dict[tuple[str, int, int], list[Measured]] = {}
    for rows, response in responses.items():
        request, _ = encode(images(rows), Target(MODEL), rows)
        paths = directory / f"request{rows}", directory / f"response{rows}"
        paths[0].write_bytes(request)
        paths[1].write_bytes(response)
        role = ["--role", "echo", "--request", str(paths[0]), "--response", str(paths[1])]
        with running(role) as echo_address:
            for _ in range(rounds):
                for concurrency in (1, 32) if rows == 1 else (1, 4):
                    load = Load(request, rows, concurrency, seconds)
                    for party, address in (("echo", echo_address), ("ours", our_address)):
                        measured = measure(address, load)
                        found.setdefault((party, rows, concurrency), []).append(measured)
    return found


@contextmanager
def running(role: list[str]) -> Iterator[str]:
    """A process of this file in a role; gives the address it prints when ready."""
    command = [sys.executable, __file__, *role]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        if process.stdout is None or not (address := process.stdout.readline().strip()):
            raise RuntimeError(f"{' '.join(role)} ended before it was ready")
        yield address
    finally:
        process.terminate()
        process.communicate()


def echo(request: Path, response: Path) -> None:
    """Serve gRPC in as few lines as Python allows; prints its address."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    answered = predict_pb2.PredictResponse.FromString(response.read_bytes())
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: answered,
        predict_pb2.PredictRequest.FromString,
        predict_pb2.PredictResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(64))
    service = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService", {"Predict": handler}
    )
    server.add_generic_rpc_handlers([service])
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()


def ours(store: Path) -> None:
    """Serve the store with the embedded server; prints its address."""
    from serving.server import serve
    from serving.settings import Listen, of_store

    settings = of_store(store, Listen(port=0, rest_port=None))
    serve(settings, lambda server: print(server.grpc_address, flush=True))


def report(raw: dict[int, float], found: dict[tuple[str, int, int], list[Measured]]) -> None:
    print(f"{'':8}{'rows':>5}{'callers':>9}{'p50 ms':>9}{'p99 ms':>9}{'req/s':>9}{'images/s':>10}")
    for rows, seconds in raw.items():
        print(f"{'raw':8}{rows:5}{'':9}{seconds * 1e3:9.2f}{'':9}{1 / seconds:9.0f}"
              f"{rows / seconds:10.0f}")  # fmt: skip
    for (party, rows, concurrency), runs in found.items():
        print(
            f"{party:8}{rows:5}{concurrency:9}{median(runs, 50) * 1e3:9.2f}"
            f"{median(runs, 99) * 1e3:9.2f}{rate(runs):9.0f}{rate(runs) * rows:10.0f}"
        )
    claims = [
        claim("failed requests", failures(found), 0, at_most=True),
        claim(
            "median latency above echo's and the raw call's, 1 caller, ms",
            (median(found["ours", 1, 1], 50) - median(found["echo", 1, 1], 50) - raw[1]) * 1e3,
            0.3,
            at_most=True,
        ),
        claim(
            "requests/s as a share of echo's, 32 callers",
            rate(found["ours", 1, 32]) / rate(found["echo", 1, 32]),
            0.6,
        ),
        claim(
            "images/s as a share of the raw model's, 32 a request, 4 callers",
            rate(found["ours", 32, 4]) * raw[32],
            0.8,
        ),
    ]
    for entry in claims:
        print(f"{'ok' if entry['ok'] else 'MISSED':7}{entry['name']}: {entry['value']} "
              f"(limit {entry['limit']})")  # fmt: skip
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"claims": claims, "machine": machine}))


def median(runs: list[Measured], percent: float) -> float:
    return statistics.median(run.percentile(percent) for run in runs)


def rate(runs: list[Measured]) -> float:
    return statistics.median(run.requests_per_second for run in runs)


def failures(found: dict[tuple[str, int, int], list[Measured]]) -> int:
    return sum(sum(run.failures.values()) for runs in found.values() for run in runs)


def claim(name: str, value: float, limit: float, at_most: bool = False) -> dict[str, Any]:
    ok = value <= limit if at_most else value >= limit
    return {"name": name, "value": round(value, 3), "limit": limit, "ok": ok}


if __name__ == "__main__":
    main()
