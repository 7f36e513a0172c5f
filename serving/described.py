"""TensorFlow Serving's services, described to whoever asks by reflection."""

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

_FILES = ("prediction_service_pb2", "model_service_pb2")
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
THREADS = 4  # each stream takes one as long as it lasts; more of them wait
SECONDS = 30.0  # that a stream may last

for _file in _FILES:
    with suppress(AttributeError):  # 2.19, which tfx needs, ends so, having described its services
        importlib.import_module(f"tensorflow_serving.apis.{_file}")


class Reflection(reflection.ReflectionServicer):
    """Reflection whose streams, silent or not, take no thread from another method."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        threads = ThreadPoolExecutor(THREADS, "convoy-reflection")
        self.ServerReflectionInfo = in_threads(  # type: ignore[method-assign]
            threads, self._describe
        )

    def _describe(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        end = threading.Timer(SECONDS, context.cancel)
        end.daemon = True
        end.start()
        try:
            yield from super().ServerReflectionInfo(requests, context)
        finally:
            end.cancel()


def in_threads(threads: ThreadPoolExecutor, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a gRPC method that runs in threads of its own."""

    def run(request: Any, context: grpc.ServicerContext) -> Any:
        return method(request, context)

    run.experimental_thread_pool = threads  # type: ignore[attr-defined]
    return run
