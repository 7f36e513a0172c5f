"""The requests that a version answers before it is put in service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import inference, prediction_log
from serving.errors import RequestError
from serving.predictor import DEFAULT_SIGNATURE
from serving.servable import Servable
from serving.signature import CLASSIFY, REGRESS
from serving.tensors import Array, to_array

RECORDS = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000  # TensorFlow Serving's limit


def warm_up(servable: Servable, directory: Path) -> int:
    """Run the warm-up requests of a SavedModel and return their number, 0 without such a file.

    TensorFlow allocates and chooses kernels on a shape's first run. Raises RequestError when a
    request fails: a model that cannot answer its own example must not be served.
    """
    path = directory / RECORDS
    count = 0
    for log in prediction_log.records(path) if path.is_file() else ():
        kind = log.WhichOneof("log_type")
        if kind not in _KINDS:
            raise RequestError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
        _KINDS[kind](servable, getattr(log, kind).request)
        count += 1
        if count > MAX_RECORDS:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}",
            )
    return count


def _predict(servable: Servable, request: Any) -> None:
    inputs = {alias: to_array(tensor) for alias, tensor in request.inputs.items()}
    _run(servable, request.model_spec, inputs)


def _classify(servable: Servable, request: Any) -> None:
    _on_examples(servable, request.model_spec, request.input, CLASSIFY)


def _regress(servable: Servable, request: Any) -> None:
    _on_examples(servable, request.model_spec, request.input, REGRESS)


def _infer(servable: Servable, request: Any) -> None:
    for task in request.tasks:
        _on_examples(servable, task.model_spec, request.input, task.method_name)


def _on_examples(servable: Servable, spec: Any, source: Any, method: str) -> None:
    if method not in inference.KINDS:
        raise RequestError("UNIMPLEMENTED", f"Unsupported signature method_name: {method}")
    examples = inference.serialized(source)
    found = _signature(servable, spec)
    inference.check_signature(servable.signatures[found], method)
    outputs = _run(servable, spec, {inference.INPUT: examples})
    read = inference.classifications if method == CLASSIFY else inference.regressions
    read(outputs, len(examples))


def _run(servable: Servable, spec: Any, inputs: dict[str, Array]) -> dict[str, Array]:
    name = _signature(servable, spec)
    completed = servable.signatures[name].completed(inputs)
    servable.signatures[name].check(completed)
    return servable.predict(name, completed)


def _signature(servable: Servable, spec: Any) -> str:
    name: str = spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise RequestError(
            "FAILED_PRECONDITION", f'warm-up request for an unknown signature "{name}"'
        )
    return name


_KINDS: dict[str, Callable[[Servable, Any], None]] = {
    "predict_log": _predict,
    "classify_log": _classify,
    "regress_log": _regress,
    "multi_inference_log": _infer,
}
