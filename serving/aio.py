"""The asyncio client: the same exchanges as the blocking one, awaited."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

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


class AsyncClient:
    """The client for asyncio; see serving.client.Client, whose methods and errors it shares.

    Make it inside a running event loop and use it in an `async with` block, or close it.
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
        self._channel = connect(grpc.aio, address, self._options, tls)
        self._methods = methods(self._channel)

    async def predict(
        self,
        images: Images,
        *,
        model: str,
        version: int | None = None,
        label: str | None = None,
        top: int = 1,
    ) -> list[Prediction]:
        """See Client.predict."""
        stream = self.stream(images, model=model, version=version, label=label, top=top)
        return [prediction async for prediction in stream]

    async def stream(
        self,
        images: Images,
        *,
        model: str,
        version: int | None = None,
        label: str | None = None,
        top: int = 1,
    ) -> AsyncIterator[Prediction]:
        """See Client.stream. Images are read in a thread, so files do not hold up the loop."""
        target = Target(model, version, label)
        cut = batches(images, self._options.batch_size)
        running: deque[asyncio.Task[list[Prediction]]] = deque()
        try:
            while (batch := await asyncio.to_thread(next, cut, None)) is not None:
                if len(running) == self._options.concurrency:
                    for prediction in await running.popleft():
                        yield prediction
                exchange = self._exchanges.predict(batch, target, top)
                running.append(asyncio.create_task(self._drive(exchange)))
            while running:
                for prediction in await running.popleft():
                    yield prediction
        finally:
            for task in running:
                task.cancel()

    async def infer(
        self,
        inputs: dict[str, Array],
        *,
        model: str,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, Array]:
        """See Client.infer."""
        target = Target(model, version, label)
        outputs: dict[str, Array] = await self._drive(
            self._exchanges.infer(inputs, target, signature)
        )
        return outputs

    async def status(self, model: str, version: int | None = None) -> list[VersionStatus]:
        """See Client.status."""
        target = Target(model, version)
        found: list[VersionStatus] = await self._drive(self._exchanges.status(target))
        return found

    async def signatures(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> dict[str, Signature]:
        """See Client.signatures."""
        target = Target(model, version, label)
        found: dict[str, Signature] = await self._drive(self._exchanges.signatures(target))
        return found

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _drive(self, exchange: Exchange) -> Any:
        try:
            step = next(exchange)
            while True:
                try:
                    answer = await self._perform(step)
                except grpc.RpcError as error:
                    step = exchange.throw(error)
                else:
                    step = exchange.send(answer)
        except StopIteration as finished:
            return finished.value

    async def _perform(self, step: Call | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        call = self._methods[step.method]
        return await call(step.request, timeout=step.timeout, metadata=self._metadata)
