"""A model in memory for tests of batching, and those who call it."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.batching import Batcher
from serving.errors import RequestError
from serving.servable import Answer
from serving.signature import Signature, Spec
from serving.tensors import Array
from serving.wire import predict_pb2
from tests.support.waiting import until

FLOAT = predict_pb2.DT_FLOAT


class Doubler:
    """A Servable in memory: doubles its input, one batch at a time when its gate is closed.

    A negative value is an error, as a damaged image among good ones would be. `repeats`: how many
    rows it gives for each, although its signature says one.
    """

    def __init__(self, batched: bool = True, repeats: int = 1) -> None:
        self._repeats = repeats
        size = -1 if batched else 1
        spec = Spec("x:0", FLOAT, (size, -1))
        self.signatures: Mapping[str, Signature] = {
            "double": Signature("tensorflow/serving/predict", {"x": spec}, {"y": spec})
        }
        self.definitions: Mapping[str, Any] = {}
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def predict(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None = None
    ) -> dict[str, Array]:
        self.batches.append(len(inputs["x"]))
        self.gate.wait(10)
        if (inputs["x"] < 0).any():
            raise RequestError("INVALID_ARGUMENT", "negative")
        return {"y": np.repeat(inputs["x"] * 2, self._repeats, axis=0)}

    def submit(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None, answer: Answer
    ) -> None:
        answer(self.predict(name, inputs, deadline))

    def close(self) -> None:
        self.closed = True


class Echo(Doubler):
    """Gives byte strings back, one batch at a time when its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        spec = Spec("x:0", predict_pb2.DT_STRING, (-1,))
        self.signatures = {"double": Signature("", {"x": spec}, {"y": spec})}

    def predict(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None = None
    ) -> dict[str, Array]:
        self.batches.append(len(inputs["x"]))
        self.gate.wait(10)
        return {"y": inputs["x"]}


class Caller(threading.Thread):
    """One request in a thread of its own."""

    def __init__(self, batcher: Batcher, x: Any, seconds: float = 10.0) -> None:
        super().__init__()
        self._batcher = batcher
        self._x = x if isinstance(x, np.ndarray) else np.asarray(x, np.float32)
        self._deadline = time.monotonic() + seconds
        self.answer: Any = None
        self.error: RequestError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._batcher.predict("double", {"x": self._x}, self._deadline)["y"]
        except RequestError as error:
            self.error = error

    def result(self) -> Any:
        self.join(10)
        return self.answer


def busy(model: Doubler, batcher: Batcher) -> Caller:
    """A caller whose request is held inside the model."""
    model.gate.clear()
    first = Caller(batcher, [[0.0]])
    until(lambda: len(model.batches) == 1)
    return first


def queued(batcher: Batcher, x: Any, seconds: float = 10.0) -> Caller:
    before = batcher.queued
    caller = Caller(batcher, x, seconds)
    until(lambda: batcher.queued == before + 1 or not caller.is_alive())  # it may have given up
    return caller
