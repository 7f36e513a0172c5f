"""The examples of a classify or regress request in JSON, as tf.Example messages."""

import base64
import binascii
from collections.abc import Mapping
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
    feature = Feature()
    if all(isinstance(value, int) for value in values):  # true and false are 1 and 0
        feature.int64_list.value.extend(int(value) for value in values)
    elif all(isinstance(value, int | float) for value in values):
        feature.float_list.value.extend(float(value) for value in values)
    elif all(isinstance(value, str | dict) for value in values):
        feature.bytes_list.value.extend(to_bytes(value) for value in values)
    else:
        raise _malformed(f"Feature {name!r} must be numbers or strings, alone or in a list")
    return feature


def to_bytes(value: Any) -> bytes:
    """Text, or `{"b64": "..."}` for any bytes. Raises RequestError."""
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise _malformed(f"Unable to base64 decode: {error}") from None
    raise _malformed('JSON value is not of expected type: string, or {"b64": "..."} for bytes')


def _malformed(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)
