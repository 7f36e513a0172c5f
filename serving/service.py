"""TensorFlow Serving's gRPC services on top of the predictor."""

import logging
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    status_pb2,
)

from serving import description, inference
from serving.access import RELOAD_IS_OFF, may_reload
from serving.errors import ConfigError, RequestError
from serving.predictor import Predictor, Query, Result
from serving.registry import Registry
from serving.spec import check_spec, read_query, write_spec
from serving.tensors import fill_typed

log = logging.getLogger(__name__)

Response = TypeVar("Response")
Ending = Callable[[Any], None]  # takes a response, or the RequestError that there is instead of one


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Classify, Regress, MultiInference and GetModelMetadata; Predict is in `serving.deferred`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: self._classify(request, context), context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: self._regress(request, context), context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: self._infer(request, context), context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: description.metadata(self._predictor.registry, request), context)

    def start_predict(self, request: Any, context: grpc.ServicerContext, end: Ending) -> None:
        """Begin a Predict; `end` is told how it ends. Raises what `context.abort` does."""
        answer(lambda: self._start(request, context, end), context)

    def _start(self, request: Any, context: grpc.ServicerContext, end: Ending) -> None:
        check_spec(request)
        query = read_query(request.model_spec, context, "predict", request.output_filter)

        def computed(outcome: Result | RequestError) -> None:
            try:
                end(outcome if isinstance(outcome, RequestError) else _response(query, outcome))
            except Exception as error:
                log.exception("request failed")
                end(RequestError("INTERNAL", f"{type(error).__name__}: {error}"))

        self._predictor.submit(query, request.inputs, computed)

    def _classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        query = read_query(request.model_spec, context, "classify")
        with self._predictor.reading(query):
            examples = inference.serialized(request.input)
        result, version = inference.classify(self._predictor, query, examples)
        response = classification_pb2.ClassificationResponse(result=result)
        write_spec(response.model_spec, query, version)
        return response

    def _regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        query = read_query(request.model_spec, context, "regress")
        with self._predictor.reading(query):
            examples = inference.serialized(request.input)
        result, version = inference.regress(self._predictor, query, examples)
        response = regression_pb2.RegressionResponse(result=result)
        write_spec(response.model_spec, query, version)
        return response

    def _infer(self, request: Any, context: grpc.ServicerContext) -> Any:
        queries = [(read_query(t.model_spec, context), t.method_name) for t in request.tasks]
        return inference.infer(self._predictor, queries, inference.serialized(request.input))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest, which not everybody may call."""

    def __init__(
        self,
        registry: Registry,
        reload: Callable[[Any], None],
        count: Callable[[str], int],
        reload_is_open: bool = False,
    ) -> None:
        self._registry = registry
        self._reload_is_open = reload_is_open
        self._reload_config = reload
        self._count = count  # the value of a counter by TensorFlow Serving's name

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return answer(lambda: description.status(self._registry, request), context)

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        return answer(lambda: self._reload(request, context), context)

    def _reload(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not may_reload(self._reload_is_open, context):
            raise RequestError("PERMISSION_DENIED", RELOAD_IS_OFF)
        if request.config.WhichOneof("config") != "model_config_list":
            raise RequestError(
                "INVALID_ARGUMENT",
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported",
            )
        before = {name: self._count(name) for name in request.metric_names}
        try:
            self._reload_config(request.config)
        except ConfigError as error:
            raise RequestError(error.code, str(error)) from None
        response = model_management_pb2.ReloadConfigResponse(status=status_pb2.StatusProto())
        for name, count in before.items():
            response.metric.add(name=name, int64_value_increase=self._count(name) - count)
        return response


def _response(query: Query, result: Result) -> Any:
    response = predict_pb2.PredictResponse()
    write_spec(response.model_spec, query, result.version)
    for name, array in result.outputs.items():
        fill_typed(response.outputs[name], array)
    return response


def answer(compute: Callable[[], Response], context: grpc.ServicerContext) -> Response:
    """Turn what a request raises into a status; anything unforeseen is INTERNAL and logged."""
    try:
        return compute()
    except RequestError as error:
        _abort(context, error)
    except Exception as error:
        log.exception("request failed")
        _abort(context, RequestError("INTERNAL", f"{type(error).__name__}: {error}"))


def _abort(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    context.abort(grpc.StatusCode[error.code], error.message)
