"""The examples of a classify or regress request in JSON, as tf.Example messages."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature
from tensorflow_serving.apis import input_pb2

from serving.errors import RequestError


def read_examples(body: Mapping[str, Any]) -> Any:
    """The Input message of `{"examples": [{...}], "context": {...}}`. Raises RequestError."""
    examples = body.get("examples")
    if not isinstance(examples, list) or not examples:
        raise _malformed("Request must have a non-empty list of 'examples'")
    source = input_pb2.Input()
    if "context" in body:
        source.example_list_with_context.context.CopyFrom(_example(body["context"]))
        listed = source.example_list_with_context.examples
    else:
        listed = source.example_list.examples
    for example in examples:
        listed.append(_example(example))
    return source


def _example(value: Any) -> Example:
    if not isinstance(value, dict):
        raise _malformed("Example must be a JSON object of feature names and values")
    example = Example()
    for name, content in value.items():
        listed = content if isinstance(content, list) else [content]
        example.features.feature[name].CopyFrom(_feature(name, listed))
    return example


def _feature(name: str, values: list[Any]) -> Feature:
    """A feature of one kind, as its first value says; of none, so that a default counts."""
    feature = Feature()
    kinds = {_kind(name, value) for value in values}
    if len(kinds) > 1:
        raise _malformed(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{_kind(name, values[0]).removesuffix('_list')}"
        )
    for kind in kinds:
        getattr(feature, kind).value.extend(_CONVERT[kind](value) for value in values)
    return feature


def _kind(name: str, value: Any) -> str:
    """The list of a Feature that a value belongs in. Raises RequestError."""
    if isinstance(value, int) and value >= 2**64:
        return "float_list"  # as RapidJSON, which reads what no integer can hold as a double
    if isinstance(value, int) and value >= 2**63:
        raise _malformed(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    if isinstance(value, int):  # true and false are 1 and 0
        return "int64_list" if value >= -(2**63) else "float_list"
    if isinstance(value, float):
        return "float_list"
    if isinstance(value, str | dict):
        return "bytes_list"
    word = "Array" if isinstance(value, list) else "Null"
    raise _malformed(f"Feature: {name} has element with unexpected JSON type: {word}")


def to_bytes(value: Any) -> bytes:
    """Text, or `{"b64": "..."}` for any bytes. Raises RequestError."""
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        return _from_base64(value["b64"])
    raise _malformed('JSON value is not of expected type: string, or {"b64": "..."} for bytes')


def _from_base64(text: str) -> bytes:
    """Bytes of base64 in lines or without padding, as absl::Base64Unescape takes it."""
    joined = "".join(text.split())
    digits = joined.rstrip("=")
    padding = -len(digits) % 4
    try:
        if len(joined) - len(digits) not in (0, padding):
            raise binascii.Error("Incorrect padding")
        return base64.b64decode(digits + "=" * padding, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"Unable to base64 decode: {error}") from None


def _malformed(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)


_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "int64_list": int,
    "float_list": float,
    "bytes_list": to_bytes,
}
