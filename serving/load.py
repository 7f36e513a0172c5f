"""How fast a server answers: latency percentiles and throughput at a given concurrency."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import grpc
import grpc.aio
import numpy as np

from serving.channel import connect
from serving.exchange import PREDICT, Signature, Target, explain
from serving.inputs import Images, batches
from serving.options import TLS, Options
from serving.tensors import Array, fill, numpy_type
from serving.wire import predict_pb2

PERCENTILES = (50, 90, 95, 99)
MADE_UP = {"image": 256, "features": 1}  # inputs of our exports, and what their values stay below
PATIENCE = 60.0  # seconds for one request


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


def invent(signature: Signature, rows: int) -> Array:
    """Random pixels (0 to 255) or features (0 to 1) that fit a signature's only input.

    Raises ValueError when it takes something else, or leaves a size open.
    """
    wanted = {
        name: (numpy_type(dtype), shape[1:]) for name, (dtype, shape) in signature.inputs.items()
    }
    for name, (dtype, row) in wanted.items():
        if len(wanted) == 1 and name in MADE_UP and dtype.kind in "fu" and min(row) > 0:
            random = np.random.default_rng(0)
            return random.uniform(0, MADE_UP[name], (rows, *row)).astype(dtype)
    raise ValueError(
        f"no example can be made up for the inputs {signature.inputs}. Give image files"
    )


def measure(
    address: str, load: Load, tls: TLS | None = None, metadata: Sequence[tuple[str, str]] = ()
) -> Measured:
    """Put a load on a server and time every request. Not for use inside an event loop.

    Messages are encoded once and answers stay undecoded, so the time is the server's and gRPC's.
    Raises CallError when the first request fails; failures after it are counted.
    """
    return asyncio.run(_measure(address, load, tls, metadata))


async def _measure(
    address: str, load: Load, tls: TLS | None, metadata: Sequence[tuple[str, str]]
) -> Measured:
    channel = connect(grpc.aio, address, Options(), tls)
    async with channel:
        call = partial(channel.unary_unary(PREDICT), metadata=grpc.aio.Metadata(*metadata))
        try:
            await call(load.request, timeout=PATIENCE, wait_for_ready=True)  # connected, and warm
        except grpc.aio.AioRpcError as error:
            raise explain(error, address, PATIENCE) from None
        measured = Measured(load.rows)
        started = time.perf_counter()
        callers = (_call(call, load, started, measured) for _ in range(load.concurrency))
        await asyncio.gather(*callers)
        measured.seconds = time.perf_counter() - started
    return measured


async def _call(
    call: Callable[..., Awaitable[bytes]],
    load: Load,
    started: float,
    measured: Measured,
) -> None:
    while (begun := time.perf_counter()) - started < load.seconds:
        try:
            await call(load.request, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            measured.failures[code] = measured.failures.get(code, 0) + 1
        else:
            measured.latencies.append(time.perf_counter() - begun)
