"""Clients of TensorFlow Serving's gRPC API, and of the embedded server, without TensorFlow.

with Client("localhost:8500") as client:
    for prediction in client.predict(["cat.jpg", "dog.png"], model="pets", top=3):
        print(prediction.label, prediction.probability)
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from types import TracebackType
from typing import Any, Self

import grpc

from serving.aio import AsyncClient
from serving.channel import connect, methods
from serving.exchange import (
    Call,
    Exchange,
    Exchanges,
    Pause,
    Signature,
    Target,
    VersionStatus,
)
from serving.inputs import Images, batches
from serving.options import TLS, Options
from serving.predictions import Prediction
from serving.tensors import Array

__all__ = ["TLS", "AsyncClient", "Client", "Options", "Prediction"]


class Client:
    """A blocking client, safe to share between threads. Use it in a `with` block, or close it.

    `metadata` goes with every call, for example [("authorization", "Bearer ...")]. Every method
    raises a CallError of serving.errors when the call fails.
    """

    def __init__(
        self,
        address: str,
        options: Options | None = None,
        tls: TLS | None = None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.address = address
        self._options = options or Options()
        self._metadata = tuple(metadata)
        self._exchanges = Exchanges(address, self._options.timeout, self._options.retries)
        self._channel = connect(grpc, address, self._options, tls)
        self._methods = methods(self._channel)
        self._threads = ThreadPoolExecutor(self._options.concurrency, "convoy-client")

    def predict(
        self,
        images: Images,
        *,
        model: str,
        version: int | None = None,
        label: str | None = None,
        top: int = 1,
    ) -> list[Prediction]:
        """Classify images: uint8 [N, H, W, C] or [H, W, C], bytes, paths, or float [N, D] features.

        Returns one prediction for each, in order, with its `top` classes. Without version or label
        the server takes its highest version.
        """
        return list(self.stream(images, model=model, version=version, label=label, top=top))

    def stream(
        self,
        images: Images,
        *,
        model: str,
        version: int | None = None,
        label: str | None = None,
        top: int = 1,
    ) -> Iterator[Prediction]:
        """Like predict, but for any iterable: results come while later images are still read."""
        target = Target(model, version, label)
        cut = batches(images, self._options.batch_size)
        exchanges = (self._exchanges.predict(batch, target, top) for batch in cut)
        for predictions in self._side_by_side(exchanges):
            yield from predictions

    def infer(
        self,
        inputs: dict[str, Array],
        *,
        model: str,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, Array]:
        """Call any signature with its tensors and return its outputs, in one request."""
        target = Target(model, version, label)
        outputs: dict[str, Array] = self._drive(self._exchanges.infer(inputs, target, signature))
        return outputs

    def status(self, model: str, version: int | None = None) -> list[VersionStatus]:
        """The versions the server knows and their states, highest first."""
        found: list[VersionStatus] = self._drive(self._exchanges.status(Target(model, version)))
        return found

    def signatures(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> dict[str, Signature]:
        """What the model takes and gives."""
        found: dict[str, Signature] = self._drive(
            self._exchanges.signatures(Target(model, version, label))
        )
        return found

    def close(self) -> None:
        self._threads.shutdown()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _side_by_side(self, exchanges: Iterable[Exchange]) -> Iterator[list[Prediction]]:
        """Results in order, with at most `concurrency` exchanges under way."""
        exchanges = iter(exchanges)
        head = list(islice(exchanges, 2))
        if len(head) == 1:  # nothing to overlap with: no other thread has to wake up
            yield self._drive(head[0])
            return
        running: deque[Future[list[Prediction]]] = deque()
        for exchange in chain(head, exchanges):
            if len(running) == self._options.concurrency:
                yield running.popleft().result()
            running.append(self._threads.submit(self._drive, exchange))
        while running:
            yield running.popleft().result()

    def _drive(self, exchange: Exchange) -> Any:
        try:
            step = next(exchange)
            while True:
                try:
                    answer = self._perform(step)
                except grpc.RpcError as error:
                    step = exchange.throw(error)
                else:
                    step = exchange.send(answer)
        except StopIteration as finished:
            return finished.value

    def _perform(self, step: Call | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        call = self._methods[step.method]
        return call(step.request, timeout=step.timeout, metadata=self._metadata)
