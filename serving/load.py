"""How fast a server answers: latency percentiles and throughput at a given concurrency."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio

from serving.exchange import PREDICT, Target
from serving.inputs import Images, batches
from serving.options import TLS, Options
from serving.tensors import fill
from serving.wire import predict_pb2

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Load:
    """What to send: a `request` of `rows` examples, again and again, from `concurrency` callers."""

    request: bytes
    rows: int
    concurrency: int
    seconds: float

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.seconds <= 0:
            raise ValueError(
                f"a load needs at least 1 caller and more than 0 seconds, got {self.concurrency} "
                f"and {self.seconds}"
            )


@dataclass
class Measured:
    """What came back. Latencies in seconds, of the requests that were answered."""

    rows: int  # examples in each request
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)  # gRPC status name to count

    @property
    def requests_per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def rows_per_second(self) -> float:
        return self.requests_per_second * self.rows

    def percentile(self, percent: float) -> float:
        """The latency (seconds) that `percent` of the requests did not exceed."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    def summary(self) -> dict[str, float | dict[str, int]]:
        """Names and numbers for a table or JSON; latencies in milliseconds."""
        found: dict[str, float | dict[str, int]] = {
            f"p{percent}_ms": round(self.percentile(percent) * 1e3, 3) for percent in PERCENTILES
        }
        return found | {
            "requests": len(self.latencies),
            "requests_per_second": round(self.requests_per_second, 1),
            "images_per_second": round(self.rows_per_second, 1),
            "failures": self.failures,
        }


def encode(images: Images, target: Target, rows: int) -> tuple[bytes, int]:
    """The predict request of the first `rows` images, and how many those are.

    Raises ValueError when there is no image.
    """
    batch = next(batches(images, rows), None)
    if batch is None:
        raise ValueError("a load needs at least one image")
    request = predict_pb2.PredictRequest(model_spec=target.spec(batch.signature))
    fill(request.inputs[batch.input], batch.rows)
    return request.SerializeToString(), len(batch.rows)


def measure(address: str, load: Load, tls: TLS | None = None) -> Measured:
    """Put a load on a server and time every request. Not for use inside an event loop.

    Messages are encoded once and answers stay undecoded, so the time is the server's and gRPC's.
    """
    return asyncio.run(_measure(address, load, tls))


async def _measure(address: str, load: Load, tls: TLS | None) -> Measured:
    arguments: Sequence[tuple[str, int]] = Options().channel()
    channel = (
        grpc.aio.secure_channel(address, tls.credentials(), arguments)
        if tls
        else grpc.aio.insecure_channel(address, arguments)
    )
    async with channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        await call(load.request, timeout=60, wait_for_ready=True)  # connected, and warm
        measured = Measured(load.rows)
        started = time.perf_counter()
        callers = (_call(call, load, started, measured) for _ in range(load.concurrency))
        await asyncio.gather(*callers)
        measured.seconds = time.perf_counter() - started
    return measured


async def _call(
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes],
    load: Load,
    started: float,
    measured: Measured,
) -> None:
    while (begun := time.perf_counter()) - started < load.seconds:
        try:
            await call(load.request, timeout=60)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            measured.failures[code] = measured.failures.get(code, 0) + 1
        else:
            measured.latencies.append(time.perf_counter() - begun)
