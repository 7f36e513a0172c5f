"""Tensors as TensorFlow Serving's REST API writes them.

Row format: `{"instances": [...]}` gives `{"predictions": [...]}`, one entry an example. Column
format: `{"inputs": ...}` gives `{"outputs": ...}`, one entry a tensor. Bytes: `{"b64": "..."}`.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.errors import RequestError
from serving.json_examples import to_bytes
from serving.signature import Signature, Spec, type_name
from serving.tensors import Array, numpy_type


def read_inputs(body: Mapping[str, Any], signature: Signature) -> dict[str, Array]:
    """The arrays of a predict request's body. Raises RequestError."""
    if ("instances" in body) == ("inputs" in body):
        raise _malformed("Request must have either 'instances' or 'inputs', and not both")
    if "instances" in body:
        return _read_rows(body["instances"], signature)
    return _read_columns(body["inputs"], signature)


def write_outputs(outputs: Mapping[str, Array], rows: bool) -> dict[str, Any]:
    """The body of a predict response in row or column format. Raises RequestError."""
    values = {name: _write(name, array) for name, array in outputs.items()}
    if not rows:
        return {"outputs": _single(values)}
    sizes = {len(array) if array.ndim else 0 for array in outputs.values()}
    if len(sizes) != 1:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"outputs have different batch sizes {sorted(sizes)}: ask in the column format",
        )
    if len(values) == 1:
        return {"predictions": _single(values)}
    named = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return {"predictions": named}


def _read_rows(instances: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(instances, list) or not instances:
        raise _malformed("Request 'instances' must be a list with at least one element")
    if not all(_names_inputs(instance) for instance in instances):
        name = _only_input(signature, "instances")
        return {name: _read(instances, signature.inputs[name])}
    names = set(instances[0])
    for index, instance in enumerate(instances):
        if set(instance) != names:
            raise _malformed(
                f"Failed to process element: {index} of 'instances' list. It has the keys "
                f"{sorted(instance)}, the first one {sorted(names)}"
            )
    columns = {name: [instance[name] for instance in instances] for name in names}
    return _read_named(columns, signature)


def _read_columns(inputs: Any, signature: Signature) -> dict[str, Array]:
    if _names_inputs(inputs):
        return _read_named(inputs, signature)
    name = _only_input(signature, "inputs")
    return {name: _read(inputs, signature.inputs[name])}


def _read_named(values: Mapping[str, Any], signature: Signature) -> dict[str, Array]:
    """Values of inputs the signature does not know stay as they are, for its check to name them."""
    return {
        name: _read(value, signature.inputs[name])
        if name in signature.inputs
        else np.empty(0, np.object_)
        for name, value in values.items()
    }


def _names_inputs(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        names = sorted(signature.inputs)
        raise _malformed(f"Request '{key}' must name the inputs of the signature: {names}")
    return next(iter(signature.inputs))


def _read(value: Any, spec: Spec) -> Array:
    dtype = numpy_type(spec.dtype)
    if dtype == np.object_:
        return _read_strings(value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise _malformed("Encountered list of inconsistent lengths or nesting") from None
    return _cast(array, dtype, spec)


def _cast(array: Array, dtype: np.dtype[Any], spec: Spec) -> Array:
    """To the input's type, as long as every value is one of it."""
    allowed = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]
    if array.size and array.dtype.kind not in allowed:
        raise _malformed(f"JSON value is not of expected type: {type_name(spec.dtype)}")
    if array.size and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise _malformed(
                f"JSON value is out of range for {type_name(spec.dtype)}: "
                f"{limits.min} to {limits.max}"
            )
    return array.astype(dtype)


def _read_strings(value: Any) -> Array:
    shape = _shape_of(value)
    array = np.empty(shape, np.object_)
    flat = list(_leaves(value, len(shape)))
    if len(flat) != array.size:
        raise _malformed("Encountered list of inconsistent lengths or nesting")
    array[...] = np.array([*flat, b""], np.object_)[:-1].reshape(shape)
    return array


def _shape_of(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _leaves(value: Any, depth: int) -> Any:
    if depth == 0:
        yield to_bytes(value)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, depth - 1)
    else:
        raise _malformed("Encountered list of inconsistent lengths or nesting")


def _write(name: str, array: Array) -> Any:
    """Nested lists. An output is written as base64 when its name ends in _bytes, as in the docs."""
    if array.dtype != np.object_:
        return array.tolist()
    encode = _base64 if name.endswith("_bytes") else _text
    values = np.array([*map(encode, array.ravel()), None], np.object_)[:-1]
    return values.reshape(array.shape).tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _single(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else dict(values)


def _malformed(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)
