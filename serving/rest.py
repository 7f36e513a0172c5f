"""TensorFlow Serving's REST API, from a request's path and body to a reply's status and body."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving import description, inference, json_body, json_tensors, layout, metrics
from serving.errors import RequestError
from serving.json_examples import read_examples
from serving.predictor import DEFAULT_SIGNATURE, Predictor, Query
from serving.signature import Signature
from serving.tensors import Array

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
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # every other code is 500

# http_rest_api_util.cc: any case, names percent-encoded, and a model's name that is missing in GET.
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<verb>classify|regress|predict)", re.IGNORECASE
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<verb>metadata))?", re.IGNORECASE
)
_AUTHORITY = re.compile(r"^https?://[^/?]*", re.IGNORECASE)  # of a target in absolute form

LARGE = 1 << 20  # bytes of a body, 10 ms of parsing that no other thread may interrupt
PROBES = ("/healthz", "/readyz")  # they carry no token
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()


class Rest:
    """Answers requests; knows nothing of sockets.

    `metrics_path`: where `metrics_page` is shown; empty for nowhere. `seconds`: what a request may
    take. `cors`: whether pages of other origins may call (rest_api_enable_cors_support). `guard`:
    says whether an Authorization header may call. `problems`: told by /readyz.
    """

    def __init__(
        self,
        predictor: Predictor,
        seconds: float = 30.0,
        metrics_path: str = "",
        metrics_page: Callable[[], str] = str,
        cors: bool = False,
        guard: Callable[[str, str], bool] | None = None,
        problems: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._predictor = predictor
        self._guard = guard
        self._problems = problems
        self._parsing = threading.Lock()
        self._cors = cors
        self._seconds = seconds
        self._pages: dict[str, Callable[[], Reply]] = {
            "/healthz": lambda: Reply(200, b'{"status": "alive"}\n'),
            "/readyz": self._ready,
        }
        if metrics_path:
            self._pages[metrics_path] = lambda: Reply(
                200, metrics_page().encode(), metrics.CONTENT_TYPE
            )

    def is_page(self, path: str) -> bool:
        """Return whether a path is that of health, readiness or metrics."""
        return _path(path) in self._pages

    def admits(self, path: str, header: str) -> bool:
        """Return whether a request with that Authorization header may be read; probes always."""
        return self._guard is None or _path(path) in PROBES or self._guard(header, "REST")

    def answer(self, method: str, path: str, body: bytes, origin: str = "") -> Reply:
        """Return the reply to any request; errors are `{"error": "..."}`.

        `origin`: of the page that asks, should a browser say so.
        """
        try:
            reply = self._route(method, _path(path), body, origin)
        except RequestError as error:
            reply = failure(error)
        except Exception as error:
            log.exception("request failed")
            reply = failure(RequestError("INTERNAL", f"{type(error).__name__}: {error}"))
        return replace(reply, headers=CORS) if self._cors else reply

    def _route(self, method: str, path: str, body: bytes, origin: str) -> Reply:
        if method in ("GET", "HEAD") and path in self._pages:
            return self._pages[path]()
        if method == "OPTIONS" and self._cors and origin.startswith(("http://", "https://")):
            return Reply(200, b"")  # what a browser asks before it posts
        known = {"GET": _GET, "POST": _POST}.get(method)
        found = known.fullmatch(path) if known else None
        verb = (found["verb"] or "") if found else ""
        if not found or verb != verb.lower():  # there a path may be in capitals, but no verb
            raise RequestError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        if not found["name"]:
            raise RequestError("INVALID_ARGUMENT", "Missing model name in request.")
        query = Query(
            model=unquote(found["name"]),
            version=_version(found["version"]) if found["version"] else None,
            label=unquote(found["label"]) if found["label"] else None,
            deadline=time.monotonic() + self._seconds,
            api=verb,
            entrypoint="REST",
        )
        if method == "GET":
            return self._metadata(query) if verb else self._status(query)
        return self._run(query, body)

    def _run(self, query: Query, content: bytes) -> Reply:
        with self._alone(content, query.deadline):
            query, inputs, rows = self._read(query, content)
        if query.api == "predict":
            result = self._predictor.predict(query, inputs)
            text = json_tensors.write_outputs(result.outputs, rows)
            found = json.dumps(text, ensure_ascii=False)
            return Reply(200, found.encode(errors="surrogateescape") + b"\n")
        return _json(self._classify_or_regress(query, inputs))

    @contextmanager
    def _alone(self, content: bytes, deadline: float | None) -> Iterator[None]:
        """Let one large body at a time be parsed: each takes many times its bytes meanwhile."""
        if len(content) < LARGE:
            yield
        elif self._parsing.acquire(timeout=max(0.0, (deadline or 0.0) - time.monotonic())):
            try:
                yield
            finally:
                self._parsing.release()
        else:
            raise RequestError("UNAVAILABLE", "other large requests are being read; try again")

    def _read(self, query: Query, content: bytes) -> tuple[Query, Any, bool]:
        """The query with its signature, what it is asked about, and whether in rows."""
        with self._predictor.reading(query):
            body = json_body.parse(content, self._predictor.limits.json_values)
            query = query._replace(signature=_signature_name(body))
        if query.api != "predict":
            with self._predictor.reading(query):
                return query, inference.serialized(read_examples(body)), True
        booleans = b"true" in content or b"false" in content
        signature = self._signature(query)
        with self._predictor.reading(query):
            inputs = json_tensors.read_inputs(body, signature, booleans)
        return query, inputs, "instances" in body

    def _signature(self, query: Query) -> Signature:
        try:
            return self._predictor.signature(query)
        except RequestError as error:
            if error.code != "FAILED_PRECONDITION":
                raise
            raise RequestError(
                "INVALID_ARGUMENT",
                f'Serving signature name: "{query.signature}" not found in signature def',
            ) from None

    def _classify_or_regress(self, query: Query, examples: Array) -> dict[str, Any]:
        if query.api == "regress":
            result, _ = inference.regress(self._predictor, query, examples)
            return {"results": [_shortest(regression.value) for regression in result.regressions]}
        result, _ = inference.classify(self._predictor, query, examples)
        return {
            "results": [
                [[found.label, _shortest(found.score)] for found in entry.classes]
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

        A server without any model is of no use to a balancer, and so not ready.

        What keeps the server from following its configuration is told and no reason for 503: it
        serves on what it has, and a balancer that took every replica out would end that.
        """
        registry = self._predictor.registry
        missing: dict[str, str] = {}
        for model in registry.models():
            missing |= model.missing()
        if not registry.models():
            missing[""] = "no model is configured"
        content: dict[str, Any] = {"status": "loading" if missing else "ready", "missing": missing}
        if problems := self._problems():
            content["problems"] = problems
        return _json(content, 503 if missing else 200)


def failure(error: RequestError) -> Reply:
    """What a refused request gets."""
    return _json({"error": error.message}, STATUS.get(error.code, 500))


def _path(target: str) -> str:
    """The path of a request's target, which may be a whole URL."""
    return _AUTHORITY.sub("", target, count=1).partition("?")[0]


def _version(text: str) -> int:
    number = layout.number(text)
    if number is None:
        raise RequestError("INVALID_ARGUMENT", f"Failed to convert version: {text} to numeric.")
    return number


def _signature_name(body: Mapping[str, Any]) -> str:
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError("INVALID_ARGUMENT", "'signature_name' key must be a string value.")
    return name or DEFAULT_SIGNATURE


def _shortest(value: float) -> float:
    return float(json_tensors.shortest(np.array(value, np.float32)))


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
