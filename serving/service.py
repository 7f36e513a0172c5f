"""TensorFlow Serving's gRPC services on top of the predictor."""

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.errors import RequestError
from serving.predictor import DEFAULT_SIGNATURE, Predictor, Query
from serving.registry import Registry
from serving.tensors import Array, fill_typed, to_array
from serving.version import Version

log = logging.getLogger(__name__)

Response = TypeVar("Response")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: self._predict(request, context), context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: metadata(self._predictor.registry, request), context)

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        query = read_query(request.model_spec, request.output_filter, context.time_remaining())
        result = self._predictor.predict(query, read_inputs(request.inputs))
        response = predict_pb2.PredictResponse()
        write_spec(response.model_spec, query, result.version)
        for name, array in result.outputs.items():
            fill_typed(response.outputs[name], array)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: status(self._registry, request), context)


def answer(compute: Callable[[], Response], context: grpc.ServicerContext) -> Response:
    """Turn what a request raises into a status; anything unforeseen is INTERNAL and logged."""
    try:
        return compute()
    except RequestError as error:
        _abort(context, error)
    except Exception as error:
        log.exception("request failed")
        _abort(context, RequestError("INTERNAL", f"{type(error).__name__}: {error}"))


def read_query(spec: Any, outputs: Any, seconds: float | None) -> Query:
    """A query from a ModelSpec, an output filter and the seconds that the caller waits."""
    choice = spec.WhichOneof("version_choice")
    return Query(
        model=spec.name,
        version=spec.version.value if choice == "version" else None,
        label=spec.version_label if choice == "version_label" else None,
        signature=spec.signature_name or DEFAULT_SIGNATURE,
        outputs=tuple(outputs),
        deadline=None if seconds is None else time.monotonic() + seconds,
    )


def read_inputs(tensors: Any) -> dict[str, Array]:
    """Arrays of a map of TensorProtos. Raises RequestError."""
    inputs = {}
    for name, tensor in tensors.items():
        try:
            inputs[name] = to_array(tensor)
        except ValueError as error:
            raise RequestError("INVALID_ARGUMENT", f"input {name}: {error}") from None
    return inputs


def write_spec(spec: Any, query: Query, version: int) -> None:
    """Echo the model, version and signature that answered."""
    spec.name = query.model
    spec.version.value = version
    spec.signature_name = query.signature


def status(registry: Registry, request: Any) -> Any:
    """The GetModelStatusResponse. Raises RequestError."""
    query = read_query(request.model_spec, (), None)
    number = query.version
    if query.label is not None:
        number = registry.find(query.model, None, query.label).number
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in registry.versions(query.model, number):
        _write_status(response.model_version_status.add(), version)
    return response


def metadata(registry: Registry, request: Any) -> Any:
    """The GetModelMetadataResponse. Raises RequestError."""
    if not request.metadata_field:
        raise RequestError(
            "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"
        )
    for name in request.metadata_field:
        if name != "signature_def":
            raise RequestError("INVALID_ARGUMENT", f"Metadata field {name} is not supported")
    query = read_query(request.model_spec, (), None)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with registry.use(query.model, query.version, query.label) as (version, servable):
        for name, definition in servable.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = query.model
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(signatures)
    return response


def _write_status(status: Any, version: Version) -> None:
    status.version = version.number
    status.state = version.state.value
    if version.error:
        status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
        status.status.error_message = version.error
    else:
        status.status.SetInParent()


def _abort(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    context.abort(grpc.StatusCode[error.code], error.message)
