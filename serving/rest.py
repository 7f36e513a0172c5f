"""TensorFlow Serving's REST API, from a request's path and body to a reply's status and body."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving import description, inference, json_tensors, metrics
from serving.errors import RequestError
from serving.json_examples import read_examples
from serving.predictor import DEFAULT_SIGNATURE, Predictor, Query

log = logging.getLogger(__name__)

JSON = "application/json"
STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # every other code is 500

_MODEL = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
    r"(?:/(?P<metadata>metadata)|:(?P<verb>predict|classify|regress))?"
)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = JSON


class Rest:
    """Answers requests; knows nothing of sockets.

    `metrics_path`: where `metrics_page` is shown; empty for nowhere. `seconds`: what a request may
    take.
    """

    def __init__(
        self,
        predictor: Predictor,
        seconds: float = 30.0,
        metrics_path: str = "",
        metrics_page: Callable[[], str] = str,
    ) -> None:
        self._predictor = predictor
        self._seconds = seconds
        self._pages: dict[str, Callable[[], Reply]] = {
            "/healthz": lambda: Reply(200, b'{"status": "alive"}\n'),
            "/readyz": self._ready,
        }
        if metrics_path:
            self._pages[metrics_path] = lambda: Reply(
                200, metrics_page().encode(), metrics.CONTENT_TYPE
            )

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """The reply to any request; errors are `{"error": "..."}`."""
        try:
            return self._route(method, path, body)
        except RequestError as error:
            return failure(error)
        except Exception as error:
            log.exception("request failed")
            return failure(RequestError("INTERNAL", f"{type(error).__name__}: {error}"))

    def _route(self, method: str, path: str, body: bytes) -> Reply:
        path = path.partition("?")[0]
        if method == "GET" and path in self._pages:
            return self._pages[path]()
        found = _MODEL.fullmatch(path)
        if not found or (method == "POST") != bool(found["verb"]) or method not in ("GET", "POST"):
            raise RequestError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        query = Query(
            model=found["name"],
            version=int(found["version"]) if found["version"] else None,
            label=found["label"],
            deadline=time.monotonic() + self._seconds,
            api=found["verb"] or "",
            entrypoint="REST",
        )
        if method == "GET":
            return self._metadata(query) if found["metadata"] else self._status(query)
        return self._run(query, body)

    def _run(self, query: Query, content: bytes) -> Reply:
        with self._predictor.reading(query):
            body = _parse(content)
            query = query._replace(signature=_signature_name(body))
        if query.api == "predict":
            return _json(self._predict(query, body))
        return _json(self._classify_or_regress(query, body))

    def _predict(self, query: Query, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            signature = self._predictor.signature(query)
        except RequestError as error:
            if error.code != "FAILED_PRECONDITION":
                raise
            raise RequestError(
                "INVALID_ARGUMENT",
                f'Serving signature name: "{query.signature}" not found in signature def',
            ) from None
        with self._predictor.reading(query):
            inputs = json_tensors.read_inputs(body, signature)
        result = self._predictor.predict(query, inputs)
        return json_tensors.write_outputs(result.outputs, rows="instances" in body)

    def _classify_or_regress(self, query: Query, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._predictor.reading(query):
            examples = inference.serialized(read_examples(body))
        if query.api == "regress":
            result, _ = inference.regress(self._predictor, query, examples)
            return {"results": [regression.value for regression in result.regressions]}
        result, _ = inference.classify(self._predictor, query, examples)
        return {
            "results": [
                [[found.label, found.score] for found in entry.classes]
                for entry in result.classifications
            ]
        }

    def _status(self, query: Query) -> Reply:
        request = get_model_status_pb2.GetModelStatusRequest()
        _name_model(request.model_spec, query)
        return _json(_to_dict(description.status(self._predictor.registry, request)))

    def _metadata(self, query: Query) -> Reply:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _name_model(request.model_spec, query)
        response = description.metadata(self._predictor.registry, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec = {"signature_name": "", **_to_dict(response.model_spec)}
        return _json({"model_spec": spec, "metadata": {"signature_def": _to_dict(signatures)}})

    def _ready(self) -> Reply:
        """200 once everything that should be served is, else 503 with what is missing.

        What keeps the server from following its configuration is told and no reason for 503: it
        serves on what it has, and a balancer that took every replica out would end that.
        """
        registry = self._predictor.registry
        missing: dict[str, str] = {}
        for model in registry.models():
            missing |= model.missing()
        content: dict[str, Any] = {"status": "loading" if missing else "ready", "missing": missing}
        if problems := registry.problems():
            content["problems"] = problems
        return _json(content, 503 if missing else 200)


def failure(error: RequestError) -> Reply:
    """What a refused request gets."""
    return _json({"error": error.message}, STATUS.get(error.code, 500))


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(parsed, dict):
        raise RequestError("INVALID_ARGUMENT", "JSON Parse error: the body must be an object")
    return parsed


def _signature_name(body: Mapping[str, Any]) -> str:
    name = body.get("signature_name") or DEFAULT_SIGNATURE
    if not isinstance(name, str):
        raise RequestError("INVALID_ARGUMENT", "'signature_name' key must be a string value.")
    return name


def _json(content: Mapping[str, Any], status: int = 200) -> Reply:
    return Reply(status, json.dumps(content).encode() + b"\n")


def _to_dict(message: Message) -> dict[str, Any]:
    """As TensorFlow Serving prints messages: original names, defaults too, int64 as strings."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _name_model(spec: Any, query: Query) -> None:
    spec.name = query.model
    if query.version is not None:
        spec.version.value = query.version
    elif query.label is not None:
        spec.version_label = query.label
