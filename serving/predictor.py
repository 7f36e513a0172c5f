"""From a request's model, signature and arrays to the answer, whatever the protocol."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from tensorflow.core.example.example_pb2 import Example

from serving import pixels
from serving.errors import RequestError
from serving.gate import Gate
from serving.observation import Observation, Observer
from serving.registry import Registry
from serving.settings import Limits
from serving.signature import Signature
from serving.tensors import Array

DEFAULT_SIGNATURE = "serving_default"
EXAMPLES = "examples"  # the input of a signature that takes serialized tf.Examples


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


@dataclass
class _Trace:
    """What became known of a request on its way."""

    version: int | None = None
    signature: str = ""
    outputs: Mapping[str, Array] | None = None


class Predictor:
    """Runs requests on the registry's models within limits, and tells the observers."""

    def __init__(
        self, registry: Registry, limits: Limits | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        self.registry = registry
        self.gate = Gate()
        self._limits = limits or Limits()
        self._observers = tuple(observers)

    def predict(self, query: Query, inputs: Mapping[str, Array]) -> Result:
        """Check and compute. Raises RequestError."""
        started = time.perf_counter()
        trace = _Trace()
        status = "INTERNAL"
        try:
            result = self._predict(query, inputs, trace)
            status = "OK"
            return result
        except RequestError as error:
            status = error.code
            raise
        finally:
            self._tell(query, inputs, trace, status, time.perf_counter() - started)

    def signature(self, query: Query) -> Signature:
        """The signature that a query means. Raises RequestError."""
        try:
            with self.registry.use(query.model, query.version, query.label) as (_, servable):
                return _signature(query, servable.signatures)
        except RequestError as error:
            self._tell(query, {}, _Trace(), error.code, 0.0)  # no predict will follow
            raise

    @contextmanager
    def reading(self, query: Query) -> Iterator[None]:
        """A block that reads a request's arguments: what it refuses is counted like the rest."""
        try:
            yield
        except RequestError as error:
            trace = _Trace()
            with suppress(RequestError):  # the model may be missing too
                trace.version = self.registry.find(query.model, query.version, query.label).number
            self._tell(query, {}, trace, error.code, 0.0)
            raise

    def _predict(self, query: Query, inputs: Mapping[str, Array], trace: _Trace) -> Result:
        with (
            self.gate,
            self.registry.use(query.model, query.version, query.label) as (version, servable),
        ):
            trace.version = version.number
            signature = _signature(query, servable.signatures)
            trace.signature = query.signature
            signature.check(inputs)
            signature.check_outputs(query.outputs)
            self._check_size(inputs)
            trace.outputs = servable.predict(query.signature, inputs, query.deadline)
        wanted = query.outputs or trace.outputs
        return Result({name: trace.outputs[name] for name in wanted}, version.number)

    def _check_size(self, inputs: Mapping[str, Array]) -> None:
        for name, array in inputs.items():
            if array.ndim and len(array) > self._limits.rows:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f"input {name} has {len(array)} rows, more than the limit of "
                    f"{self._limits.rows}. Send several smaller requests.",
                )
            if array.dtype == object:
                pixels.check(array.ravel(), self._limits.pixels)
                if name == EXAMPLES:
                    for record in array.ravel():
                        pixels.check(_byte_features(record), self._limits.pixels)

    def _tell(
        self,
        query: Query,
        inputs: Mapping[str, Array],
        trace: _Trace,
        status: str,
        seconds: float,
    ) -> None:
        seen = Observation(
            query.api,
            query.entrypoint,
            query.model,
            trace.version,
            trace.signature,
            status,
            seconds,
            inputs,
            trace.outputs or {},
        )
        for observe in self._observers:
            observe(seen)


def _signature(query: Query, signatures: Mapping[str, Signature]) -> Signature:
    signature = signatures.get(query.signature)
    if signature is not None:
        return signature
    raise RequestError(
        "FAILED_PRECONDITION", f'Serving signature key "{query.signature}" not found.'
    )


def _byte_features(record: bytes) -> list[bytes]:
    """Every byte string in a serialized tf.Example; none when it cannot be parsed."""
    try:
        features = Example.FromString(record).features.feature.values()
    except Exception:  # protobuf's own DecodeError; the graph will say what is wrong
        return []
    return [value for feature in features for value in feature.bytes_list.value]
