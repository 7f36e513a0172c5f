"""What a server tells about the requests it answered: metrics, and a log of samples."""

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from serving import metrics
from serving.tensors import Array

log = logging.getLogger("serving.requests")


class Observation(NamedTuple):
    """One request when it is over. `seconds`: from its arrival at the predictor to its answer."""

    api: str  # predict, classify, regress, multi_inference
    entrypoint: str  # GRPC or REST
    model: str
    version: int | None  # None: no version was found
    signature: str  # empty: the model has none of that name
    status: str  # a gRPC status name
    seconds: float
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


Observer = Callable[[Observation], None]


class ServerMetrics:
    """The series of a server: TensorFlow Serving's names, and ours for each version and signature.

    Label values come from models that were found, never from a request's text: a caller who makes
    names up cannot make the page grow.
    """

    def __init__(self) -> None:
        # Powers of 1.8 from 10 microseconds, TensorFlow Serving's buckets for latencies.
        micros = [10 * 1.8**power for power in range(33)]
        seconds = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
        sizes = [2**power for power in range(11)]
        by_model = ("model_name", "version", "signature")
        self.requests = metrics.Counter(
            ":tensorflow:serving:request_count", "Requests.", ("model_name", "status")
        )
        self.latency = metrics.Histogram(
            ":tensorflow:serving:request_latency",
            "Time of a request in microseconds.",
            ("model_name", "API", "entrypoint"),
            micros,
        )
        self.by_version = metrics.Counter(
            "convoy_requests_total", "Requests of each version.", (*by_model, "status")
        )
        self.version_latency = metrics.Histogram(
            "convoy_request_seconds", "Time of a request of each version.", by_model, seconds
        )
        self.batch_size = metrics.Histogram(
            "convoy_batch_rows", "Rows computed at once.", ("model_name", "version"), sizes
        )
        self.loads = metrics.Counter(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "Attempts to load a version.",
            ("model_path", "status"),
        )
        self.load_latency = metrics.Counter(
            ":tensorflow:cc:saved_model:load_latency",
            "Microseconds spent on loading.",
            ("model_path",),
        )

    def observe(self, seen: Observation) -> None:
        if seen.version is None:
            self.requests.add("", seen.status)
            return
        self.requests.add(seen.model, seen.status)
        where = (seen.model, str(seen.version), seen.signature)
        self.by_version.add(*where, seen.status)
        if seen.status != "OK":
            return  # as in TensorFlow Serving: a refusal takes no time and would flatter the rest
        self.latency.observe(seen.model, seen.api, seen.entrypoint, value=seen.seconds * 1e6)
        self.version_latency.observe(*where, value=seen.seconds)

    def page(self) -> str:
        return metrics.expose(
            (
                self.requests,
                self.latency,
                self.by_version,
                self.version_latency,
                self.batch_size,
                self.loads,
                self.load_latency,
            )
        )


class RequestLog:
    """Writes one JSON line for a sample of the requests to the logger "serving.requests".

    `rate`: the share of requests that is logged, 0 to 1. Inputs appear as type and shape, never as
    pixels; outputs that are as small as a label or a few probabilities appear with their values.
    """

    MAX_VALUES = 16

    def __init__(self, rate: float) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate of the request log must lie between 0 and 1, got {rate}")
        self._rate = rate

    def observe(self, seen: Observation) -> None:
        if random.random() >= self._rate:
            return
        line = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "api": seen.api,
            "entrypoint": seen.entrypoint,
            "model": seen.model,
            "version": seen.version,
            "signature": seen.signature,
            "status": seen.status,
            "milliseconds": round(seen.seconds * 1e3, 3),
            "inputs": {name: _outline(array) for name, array in seen.inputs.items()},
            "outputs": {name: self._values(array) for name, array in seen.outputs.items()},
        }
        log.info("%s", json.dumps(line, default=lambda value: value.decode(errors="replace")))

    def _values(self, array: Array) -> object:
        return _outline(array) if array.size > self.MAX_VALUES else array.tolist()


def _outline(array: Array) -> str:
    kind = "string" if array.dtype.kind == "O" else str(array.dtype)
    return f"{kind}[{','.join(map(str, array.shape))}]"
