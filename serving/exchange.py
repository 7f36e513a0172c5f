"""What a client says to a server and what it makes of the answers, without any input or output.

Each exchange is a generator: it yields a Call or a Pause, is sent the response, and returns the
result. The sync and the async client only differ in how they perform the two.
"""

import random
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message

from serving import predictions
from serving.errors import (
    AccessRefused,
    CallError,
    DeadlineExceeded,
    ModelNotFound,
    RequestRejected,
    ServerUnavailable,
)
from serving.inputs import Batch
from serving.tensors import Array, fill, to_array
from serving.wire import predict_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RESPONSES: dict[str, Any] = {
    PREDICT: predict_pb2.PredictResponse,
    METADATA: predict_pb2.GetModelMetadataResponse,
    STATUS: predict_pb2.GetModelStatusResponse,
}

FIRST_PAUSE = 0.1  # seconds; doubles, and each pause is drawn between nothing and its full length
LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Call:
    """Send `request` to `method` and give back the response within `timeout` seconds."""

    method: str
    request: Message
    timeout: float


@dataclass(frozen=True)
class Pause:
    """Let `seconds` pass."""

    seconds: float


Exchange = Generator[Call | Pause, Any, Any]


@dataclass(frozen=True)
class Target:
    """The model, and at most one of version and label. Raises ValueError for both."""

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError(
                f"a request names a version or a label, got version={self.version} and "
                f"label={self.label!r}"
            )

    def spec(self, signature: str = "") -> predict_pb2.ModelSpec:
        spec = predict_pb2.ModelSpec(name=self.model, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label
        return spec


@dataclass(frozen=True)
class VersionStatus:
    """A version as the server sees it; `state` is START, LOADING, AVAILABLE, UNLOADING or END."""

    version: int
    state: str
    error: str  # empty unless loading failed


@dataclass(frozen=True)
class Signature:
    """Names of inputs and outputs with their type number and shape (-1: any size)."""

    inputs: dict[str, tuple[int, tuple[int, ...]]]
    outputs: dict[str, tuple[int, tuple[int, ...]]]


@dataclass
class Exchanges:
    """The exchanges of one client: all know the address, the patience, and the class names seen.

    `timeout`: seconds for one request, its `retries` after UNAVAILABLE included.
    """

    address: str
    timeout: float
    retries: int
    _names: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def predict(self, batch: Batch, target: Target, top: int) -> Exchange:
        """Returns list[Prediction], one a row."""
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        request = _request({batch.input: batch.rows}, target.spec(batch.signature))
        while True:
            answer = predictions.read((yield from self._attempt(PREDICT, request)))
            if top == 1:
                return answer.predictions(top)
            try:
                names = yield from self._class_names(target.model, answer)
            except ModelNotFound:  # that version was unloaded since: ask the one in service now
                if target.version is not None:
                    raise
            else:
                return answer.predictions(top, names)

    def infer(self, inputs: dict[str, Array], target: Target, signature: str) -> Exchange:
        """Returns dict[str, Array], the outputs of any signature."""
        request = _request(inputs, target.spec(signature))
        response = yield from self._attempt(PREDICT, request)
        return {name: to_array(tensor) for name, tensor in response.outputs.items()}

    def status(self, target: Target) -> Exchange:
        """Returns list[VersionStatus], highest version first."""
        request = predict_pb2.GetModelStatusRequest(model_spec=target.spec())
        response = yield from self._attempt(STATUS, request)
        versions = [_version_status(version) for version in response.model_version_status]
        return sorted(versions, key=lambda status: -status.version)

    def signatures(self, target: Target) -> Exchange:
        """Returns dict[str, Signature]."""
        request = predict_pb2.GetModelMetadataRequest(
            model_spec=target.spec(), metadata_field=["signature_def"]
        )
        response = yield from self._attempt(METADATA, request)
        signatures = predict_pb2.SignatureDefMap()
        # The packed message is tensorflow.serving.SignatureDefMap: same bytes, another name.
        signatures.ParseFromString(response.metadata["signature_def"].value)
        return {name: _signature(found) for name, found in signatures.signature_def.items()}

    def _class_names(self, model: str, answer: predictions.Answer) -> Exchange:
        """The names of all classes, asked for once for each version of a model."""
        key = (model, answer.version)
        if key not in self._names:
            count = answer.probabilities.shape[1]
            target = Target(model, answer.version)
            inputs = {"class_id": np.arange(count, dtype=np.int64)}
            try:
                outputs = yield from self.infer(inputs, target, "class_labels")
                self._names[key] = tuple(name.decode() for name in outputs["label"])
            except RequestRejected:  # a model exported without that signature
                self._names[key] = tuple(str(class_id) for class_id in range(count))
        return self._names[key]

    def _attempt(self, method: str, request: Message) -> Exchange:
        """Call, and call again after UNAVAILABLE while time and retries last."""
        deadline = time.monotonic() + self.timeout
        for attempt in range(self.retries + 1):
            try:
                return (yield Call(method, request, deadline - time.monotonic()))
            except grpc.RpcError as error:
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
                pause = random.uniform(0, longest)  # noqa: S311  # whoever guesses it gains nothing
                late = time.monotonic() + pause >= deadline
                if error.code() is not grpc.StatusCode.UNAVAILABLE or late:
                    raise explain(error, self.address, self.timeout) from None
                failure = explain(error, self.address, self.timeout)
            if attempt < self.retries:
                yield Pause(pause)
        raise failure


def explain(error: Any, address: str, timeout: float) -> CallError:
    """The CallError of a grpc.RpcError from `address`; `timeout`: seconds that it was given."""
    code = error.code().name
    details = error.details() or ""
    kind, text = _EXPLANATIONS.get(code, (CallError, "{address} answered {code}: {details}"))
    message = text.format(
        address=address,
        details=details.partition("\n")[0],  # further lines name nodes of the graph
        code=code,
        timeout=timeout,
    )
    return kind(message, code, details)


_EXPLANATIONS: dict[str, tuple[type[CallError], str]] = {
    "UNAVAILABLE": (
        ServerUnavailable,
        "no server is available at {address} ({details}). Check the address, and that a server "
        "runs there: convoy serve --store models",
    ),
    "DEADLINE_EXCEEDED": (
        DeadlineExceeded,
        "{address} did not answer within {timeout} s. Raise the timeout or send smaller batches",
    ),
    "NOT_FOUND": (ModelNotFound, "{address} does not serve that model or version: {details}"),
    "INVALID_ARGUMENT": (RequestRejected, "{address} refused the request: {details}"),
    "FAILED_PRECONDITION": (RequestRejected, "{address} refused the request: {details}"),
    "OUT_OF_RANGE": (RequestRejected, "{address} refused the request: {details}"),
    "RESOURCE_EXHAUSTED": (RequestRejected, "{address} refused a request so large: {details}"),
    "UNAUTHENTICATED": (AccessRefused, "{address} does not know who is calling: {details}"),
    "PERMISSION_DENIED": (AccessRefused, "{address} does not allow this call: {details}"),
}


def _request(inputs: dict[str, Array], spec: predict_pb2.ModelSpec) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec=spec)
    for name, array in inputs.items():
        fill(request.inputs[name], array)
    return request


def _version_status(version: predict_pb2.GetModelStatusResponse.Version) -> VersionStatus:
    state = predict_pb2.GetModelStatusResponse.Version.State.Name(version.state)
    return VersionStatus(version.version, state, version.status.error_message)


def _signature(found: predict_pb2.SignatureDef) -> Signature:
    return Signature(_tensors(found.inputs), _tensors(found.outputs))


def _tensors(infos: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {
        name: (info.dtype, tuple(dim.size for dim in info.tensor_shape.dim))
        for name, info in infos.items()
    }
