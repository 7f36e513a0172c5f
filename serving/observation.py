"""What a server learns of each request it answered, and the metrics it makes of that."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from serving import metrics
from serving.tensors import Array


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
        self.callers = metrics.Counter(
            "convoy_calls_total",
            "Calls by the name of their token; none: refused.",
            ("caller", "entrypoint"),
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

    def count(self, name: str) -> int:
        """The sum of a counter by TensorFlow Serving's name for it; 0 when there is none."""
        counters = (self.requests, self.by_version, self.loads, self.load_latency)
        return next((c.total() for c in counters if c.name == name.replace("/", ":")), 0)

    def page(self) -> str:
        return metrics.expose(
            (
                self.requests,
                self.latency,
                self.by_version,
                self.version_latency,
                self.callers,
                self.batch_size,
                self.loads,
                self.load_latency,
            )
        )
