"""From a request's model, signature and arrays to the answer, whatever the protocol."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from serving import pixels
from serving.errors import RequestError
from serving.gate import Gate
from serving.observation import Observation, Observer
from serving.registry import Registry
from serving.servable import Outputs, Servable
from serving.settings import Limits
from serving.signature import Signature
from serving.tensors import Array, to_array
from serving.version import Version

DEFAULT_SIGNATURE = "serving_default"


class Query(NamedTuple):  # made for every request, and a frozen dataclass takes four times as long
    """What is asked of which model. `deadline`: time.monotonic() after which nobody listens."""

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = DEFAULT_SIGNATURE
    outputs: Sequence[str] = ()  # none: all of them
    deadline: float | None = None
    api: str = "predict"
    entrypoint: str = "GRPC"


class Result(NamedTuple):
    """Outputs by name, and the version that computed them."""

    outputs: Mapping[str, Array]
    version: int


class Predictor:
    """Runs requests on the registry's models within limits, and tells the observers.

    `check_methods`: whether Classify and Regress want signatures exported for them by name.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits | None = None,
        observers: Sequence[Observer] = (),
        check_methods: bool = False,
    ) -> None:
        self.registry = registry
        self.check_methods = check_methods
        self.gate = Gate()
        self.limits = limits or Limits()
        self._observers = tuple(observers)

    def predict(self, query: Query, inputs: Mapping[str, Array]) -> Result:
        """Check and compute. Raises RequestError."""
        passage = _Passage(self, query, inputs)
        status, outputs = "INTERNAL", None
        try:
            servable = passage.enter()
            outputs = servable.predict(query.signature, passage.inputs, query.deadline)
            status = "OK"
            return passage.result(outputs)
        except RequestError as error:
            status = error.code
            raise
        finally:
            passage.leave(status, outputs)

    def submit(
        self,
        query: Query,
        inputs: Mapping[str, Any],
        answer: Callable[[Result | RequestError], None],
    ) -> None:
        """Check now; compute and tell `answer`, which must not raise, now or later.

        `inputs`: TensorProtos, of which arrays are made when they are what the model takes. Raises
        RequestError when `answer` will never be told.
        """
        passage = _Passage(self, query, inputs)

        def done(outcome: Outputs | RequestError) -> None:
            status, outputs = "OK", None
            try:  # to answer first: a closed gate waits for it
                if isinstance(outcome, RequestError):
                    status = outcome.code
                    answer(outcome)
                else:
                    outputs = outcome
                    answer(passage.result(outcome))
            finally:
                passage.leave(status, outputs)

        try:
            servable = passage.enter()
            servable.submit(query.signature, passage.inputs, query.deadline, done)
        except BaseException as error:
            passage.leave(error.code if isinstance(error, RequestError) else "INTERNAL")
            raise

    def signature(self, query: Query) -> Signature:
        """The signature that a query means. Raises RequestError."""
        try:
            with self.registry.use(query.model, query.version, query.label) as (_, servable):
                return _signature(query, servable.signatures)
        except RequestError as error:
            self._refused(query, error.code)  # no predict will follow
            raise

    @contextmanager
    def reading(self, query: Query) -> Iterator[None]:
        """A block that reads a request's arguments: what it refuses is counted like the rest."""
        try:
            yield
        except RequestError as error:
            version = None
            with suppress(RequestError):  # the model may be missing too
                version = self.registry.find(query.model, query.version, query.label).number
            self._refused(query, error.code, version)
            raise

    def observe(self, seen: Observation) -> None:
        """Let the observers know of a request that is over."""
        for observe in self._observers:
            observe(seen)

    def _refused(self, query: Query, status: str, version: int | None = None) -> None:
        about = (query.api, query.entrypoint, query.model, version)
        self.observe(Observation(*about, "", status, 0.0, {}, {}))


class _Passage:
    """One request, from its entry, which keeps a version in memory, until it leaves."""

    def __init__(self, predictor: Predictor, query: Query, sent: Mapping[str, Any]) -> None:
        self._predictor = predictor
        self._query = query
        self._sent = sent
        self.inputs: Mapping[str, Array] = {}
        self._started = time.perf_counter()
        self._inside = False
        self._version: Version | None = None
        self._signature = ""

    def enter(self) -> Servable:
        """Check the request and give what computes it. Raises RequestError."""
        query, predictor = self._query, self._predictor
        predictor.gate.enter()
        self._inside = True
        self._version, servable = predictor.registry.acquire(
            query.model, query.version, query.label
        )
        signature = _signature(query, servable.signatures)
        self._signature = query.signature
        signature.check(self._sent, predictor.limits.rows)
        signature.check_outputs(query.outputs)
        self.inputs = signature.completed(_arrays(self._sent))
        pixels.check(self.inputs, predictor.limits)
        return servable

    def result(self, outputs: Mapping[str, Array]) -> Result:
        """What was asked for of the outputs."""
        wanted = self._query.outputs or outputs
        number = self._version.number if self._version else 0
        return Result({name: outputs[name] for name in wanted}, number)

    def leave(self, status: str, outputs: Mapping[str, Array] | None = None) -> None:
        """Free what the request held, and tell the observers how it ended."""
        query, seconds = self._query, time.perf_counter() - self._started
        if self._version:
            self._version.release()
        if self._inside:
            self._predictor.gate.leave()
        number = self._version.number if self._version else None
        about = (query.api, query.entrypoint, query.model, number, self._signature)
        self._predictor.observe(Observation(*about, status, seconds, self.inputs, outputs or {}))


def _arrays(sent: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of checked TensorProtos; arrays stay as they are. Raises RequestError."""
    found = {}
    for name, value in sent.items():
        try:
            found[name] = value if isinstance(value, np.ndarray) else to_array(value)
        except ValueError as error:
            raise RequestError("INVALID_ARGUMENT", f"input {name}: {error}") from None
    return found


def _signature(query: Query, signatures: Mapping[str, Signature]) -> Signature:
    signature = signatures.get(query.signature)
    if signature is not None:
        return signature
    raise RequestError(
        "FAILED_PRECONDITION", f'Serving signature key "{query.signature}" not found.'
    )
