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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))  # run from a checkout, installed or not

import numpy as np
from serving_parties import running  # beside this file

from serving.exchange import PREDICT, Target
from serving.load import Load, Measured, encode, measure
from serving.store import Store

MODEL = "mnist_cnn"
CALLERS = {1: (1, 32), 32: (1, 4)}  # by rows in a request
NAMES = [str(digit) for digit in range(10)]

Raw = dict[int, list[float]]  # seconds of a call in each round, by rows
Found = dict[tuple[str, int, int], list[Measured]]  # by party, rows, callers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), options.seconds, options.rounds)


def compare(directory: Path, seconds: float, rounds: int) -> None:
    """Measure all three, print the table and the verdicts."""
    store = Store(directory / "models")
    store.publish(MODEL, export(directory / "export"))
    with running("ours", store.root) as our_address:
        responses = {rows: answer(our_address, images(rows)) for rows in (1, 32)}
        found = take_turns(directory, store, our_address, responses, seconds, rounds)
    report(*found)


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
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    if network.count_params() != 225_546:
        raise RuntimeError(f"this is not mnist_cnn: {network.count_params()} parameters")
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


@contextmanager
def raw_model(store: Store) -> Iterator[Callable[[int, float], float]]:
    """A function that gives the median seconds of one call of the bare model."""
    from serving.servable import SavedModel

    model = SavedModel(store.path(MODEL, store.versions(MODEL)[-1]))

    def call(rows: int, seconds: float) -> float:
        inputs = {"image": images(rows)}
        found = []
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            model.predict("serving_default", inputs)
            found.append(time.perf_counter() - begun)
        return statistics.median(found)

    yield call
    model.close()


def answer(address: str, array: Any) -> bytes:
    """The bytes of our server's response, for the echo server to give."""
    import grpc

    request, _ = encode(array, Target(MODEL), len(array))
    with grpc.insecure_channel(address) as channel:
        response: bytes = channel.unary_unary(PREDICT)(request)
    return response


def take_turns(
    directory: Path,
    store: Store,
    our_address: str,
    responses: dict[int, bytes],
    seconds: float,
    rounds: int,
) -> tuple[Raw, Found]:
    """Measure the three side by side, so that a busy machine is busy for all of them."""
    raw: Raw = {}
    found: Found = {}
    with raw_model(store) as call:
        for rows, response in responses.items():
            request, _ = encode(images(rows), Target(MODEL), rows)
            path = directory / "response"
            path.write_bytes(response)
            with running("echo", path) as echo_address:
                for _ in range(rounds):
                    raw.setdefault(rows, []).append(call(rows, seconds / 2))
                    for concurrency in CALLERS[rows]:
                        load = Load(request, rows, concurrency, seconds)
                        for party, address in (("echo", echo_address), ("ours", our_address)):
                            measured = measure(address, load)
                            found.setdefault((party, rows, concurrency), []).append(measured)
    return raw, found


def report(raw: Raw, found: Found) -> None:
    """Print the table, the verdicts, and the same as JSON."""
    print(f"{'':8}{'rows':>5}{'callers':>9}{'p50 ms':>9}{'p99 ms':>9}{'req/s':>9}{'images/s':>10}")
    for rows, times in raw.items():
        seconds = statistics.median(times)
        line = f"{seconds * 1e3:9.2f}{'':9}{1 / seconds:9.0f}{rows / seconds:10.0f}"
        print(f"{'raw':8}{rows:5}{'':9}{line}")
    for (party, rows, concurrency), runs in found.items():
        line = f"{median(runs, 50) * 1e3:9.2f}{median(runs, 99) * 1e3:9.2f}{rate(runs):9.0f}"
        print(f"{party:8}{rows:5}{concurrency:9}{line}{rate(runs) * rows:10.0f}")
    claims = verdicts(raw, found)
    for entry in claims:
        verdict = "ok" if entry["ok"] else "MISSED"
        print(f"{verdict:7}{entry['name']}: {entry['value']} (limit {entry['limit']})")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"claims": claims, "machine": machine}))


def verdicts(raw: Raw, found: Found) -> list[dict[str, Any]]:
    """The claims, each a median over the rounds of what was measured in the same round."""
    ours, echo = found["ours", 1, 1], found["echo", 1, 1]
    added = [
        (mine.percentile(50) - bare.percentile(50) - call) * 1e3
        for mine, bare, call in zip(ours, echo, raw[1], strict=True)
    ]
    ours, echo = found["ours", 1, 32], found["echo", 1, 32]
    requests = [
        mine.requests_per_second / bare.requests_per_second
        for mine, bare in zip(ours, echo, strict=True)
    ]
    rows = [
        mine.rows_per_second * call / 32
        for mine, call in zip(found["ours", 32, 4], raw[32], strict=True)
    ]
    return [
        claim("failed requests", failures(found), 0, at_most=True),
        claim(
            "median latency above echo's and the raw call's, 1 caller, ms",
            statistics.median(added),
            0.3,
            at_most=True,
        ),
        claim("requests/s as a share of echo's, 32 callers", statistics.median(requests), 0.6),
        claim(
            "images/s as a share of the raw model's, 32 a request, 4 callers",
            statistics.median(rows),
            0.8,
        ),
    ]


def median(runs: list[Measured], percent: float) -> float:
    return statistics.median(run.percentile(percent) for run in runs)


def rate(runs: list[Measured]) -> float:
    return statistics.median(run.requests_per_second for run in runs)


def failures(found: Found) -> int:
    return sum(sum(run.failures.values()) for runs in found.values() for run in runs)


def claim(name: str, value: float, limit: float, at_most: bool = False) -> dict[str, Any]:
    ok = value <= limit if at_most else value >= limit
    return {"name": name, "value": round(value, 3), "limit": limit, "ok": ok}


if __name__ == "__main__":
    main()
