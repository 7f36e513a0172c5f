"""ModelSpec, the message that names a model, to a query and back."""

import time
from collections.abc import Sequence
from typing import Any

import grpc

from serving.errors import RequestError
from serving.predictor import DEFAULT_SIGNATURE, Query


def check_spec(request: Any) -> None:
    """Raise RequestError when a request names no model at all."""
    if not request.HasField("model_spec"):
        raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")


def read_query(
    spec: Any,
    context: grpc.ServicerContext | None = None,
    api: str = "",
    outputs: Sequence[str] = (),
) -> Query:
    """A query from a ModelSpec, the call it came in, and an output filter."""
    choice = spec.WhichOneof("version_choice")
    seconds = context.time_remaining() if context else None
    return Query(
        model=spec.name,
        version=spec.version.value if choice == "version" else None,
        label=spec.version_label if choice == "version_label" else None,
        signature=spec.signature_name or DEFAULT_SIGNATURE,
        outputs=tuple(outputs),
        deadline=None if seconds is None else time.monotonic() + seconds,
        api=api,
    )


def write_spec(spec: Any, query: Query, version: int) -> None:
    """Echo the model, version and signature that answered."""
    spec.name = query.model
    spec.version.value = version
    spec.signature_name = query.signature
