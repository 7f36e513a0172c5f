"""The requests that a version answers before it is put in service."""

from itertools import islice
from pathlib import Path
from typing import Any

from serving import prediction_log
from serving.errors import RequestError
from serving.predictor import DEFAULT_SIGNATURE
from serving.servable import Servable
from serving.tensors import to_array

RECORDS = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000  # TensorFlow Serving's limit


def warm_up(servable: Servable, directory: Path) -> int:
    """Run the warm-up requests of a SavedModel and return their number, 0 without such a file.

    TensorFlow allocates and chooses kernels on a shape's first run. Raises RequestError when a
    request fails: a model that cannot answer its own example must not be served.
    """
    path = directory / RECORDS
    logs = list(islice(prediction_log.records(path), MAX_RECORDS)) if path.is_file() else []
    for log in logs:
        _run(servable, log.predict_log.request)
    return len(logs)


def _run(servable: Servable, request: Any) -> None:
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise RequestError(
            "FAILED_PRECONDITION", f'warm-up request for an unknown signature "{name}"'
        )
    inputs = {alias: to_array(tensor) for alias, tensor in request.inputs.items()}
    servable.signatures[name].check(inputs)
    servable.predict(name, inputs)
