"""Tensors as TensorFlow Serving's REST API writes them.

Row format: `{"instances": [...]}` gives `{"predictions": [...]}`, one entry an example. Column
format: `{"inputs": ...}` gives `{"outputs": ...}`, one entry a tensor. Bytes: `{"b64": "..."}`.
"""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.errors import RequestError
from serving.json_examples import to_bytes
from serving.signature import Signature, Spec, type_name
from serving.tensors import MAX_RANK, Array, number, numpy_type

_KINDS = "biufO"  # of the NumPy types that JSON can say: no complex numbers, and no bfloat16


def read_inputs(
    body: Mapping[str, Any], signature: Signature, booleans: bool = True
) -> dict[str, Array]:
    """Return the arrays of a predict request's body. Raises RequestError.

    `booleans`: whether true or false may be somewhere in it, which takes time to look for.
    """
    if ("instances" in body) == ("inputs" in body):
        raise _malformed("Request must have either 'instances' or 'inputs', and not both")
    if "instances" in body:
        columns = _rows(body["instances"], signature)
    else:
        columns = _columns(body["inputs"], signature)
    return {name: _read(value, signature.inputs[name], booleans) for name, value in columns.items()}


def write_outputs(outputs: Mapping[str, Array], rows: bool) -> dict[str, Any]:
    """Return the body of a predict response in row or column format. Raises RequestError."""
    if rows:
        _check_rows(outputs)
    values = {name: _write(name, array) for name, array in outputs.items()}
    if not rows:
        return {"outputs": _single(values)}
    if len(values) == 1:
        return {"predictions": _single(values)}
    named = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return {"predictions": named}


def shortest(array: Array) -> Array:
    """Return floats as doubles that print as the shortest text of the narrower floats they were.

    0.6 as float32 is 0.6000000238418579 as double: 1.8 times the bytes, and another number to who
    compares texts. NumPy writes the shortest text that reads back as the same float32.
    """
    return array.astype("U32").astype(np.float64)


def _check_rows(outputs: Mapping[str, Array]) -> None:
    size = None
    for name, array in sorted(outputs.items()):  # the signature's own order differs from run to run
        if not array.ndim:
            raise _malformed(f"Tensor name: {name} has no shape information ")
        if size not in (None, len(array)):
            raise _malformed(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)


def _rows(instances: Any, signature: Signature) -> dict[str, Any]:
    """The values of each input, one below the other."""
    if not isinstance(instances, list) or not instances:
        raise _malformed("Request 'instances' must be a list with at least one element")
    named = _names_inputs(instances[0])
    for index, instance in enumerate(instances):
        if _names_inputs(instance) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise _malformed(f"Expecting {expected} but got {got} at item {index} of input list")
        if named:
            _check_names(instance, index, signature)
    if not named:
        return {_only_input(signature, "instances"): instances}
    return {name: [instance[name] for instance in instances] for name in signature.inputs}


def _check_names(instance: Mapping[str, Any], index: int, signature: Signature) -> None:
    known = signature.inputs.keys()
    for name in instance.keys() - known:
        raise _malformed(
            f"Failed to process element: {index} key: {name} of 'instances' list. Error: "
            f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
        )
    if instance.keys() != known:
        raise _malformed(
            f"Failed to process element: {index} of 'instances' list. JSON object with keys "
            f"{sorted(instance)} keys must be equal to: {','.join(sorted(known))}"
        )


def _columns(inputs: Any, signature: Signature) -> dict[str, Any]:
    if not _names_inputs(inputs):
        return {_only_input(signature, "inputs"): inputs}
    for name in signature.inputs:
        if name not in inputs:
            raise _malformed(f"Missing named input: {name} in 'inputs' object.")
    return {name: inputs[name] for name in signature.inputs}  # what else there is does not count


def _names_inputs(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        names = sorted(signature.inputs)
        raise _malformed(f"Request '{key}' must name the inputs of the signature: {names}")
    return next(iter(signature.inputs))


def _read(value: Any, spec: Spec, booleans: bool) -> Array:
    dtype = numpy_type(spec.dtype)
    if dtype.kind not in _KINDS:
        raise RequestError(
            "UNIMPLEMENTED", f"Conversion of JSON Value to type: {type_name(spec.dtype)}"
        )
    if dtype == np.object_:
        return _read_strings(value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise _malformed("Encountered list of inconsistent lengths or nesting") from None
    if booleans and array.dtype.kind in "iuf" and _holds_boolean(value):  # NumPy makes it 0 or 1
        raise _malformed(f"JSON value is not of expected type: {type_name(spec.dtype)}")
    return _cast(array, dtype, spec)


def _holds_boolean(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_boolean, value))
    return isinstance(value, bool)


def _cast(array: Array, dtype: np.dtype[Any], spec: Spec) -> Array:
    """To the input's type, as long as every value is one of it."""
    if dtype.kind == "f" and array.dtype == np.object_ and _all_int(array):
        array = array.astype(np.float64)  # too large for an integer, so RapidJSON reads a double
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
    with np.errstate(over="ignore"):  # 1e39 is infinity as float32, as GetFloat has it
        return array.astype(dtype)


def _all_int(array: Array) -> bool:
    return all(type(value) is int for value in array.ravel())


def _read_strings(value: Any) -> Array:
    shape = _shape_of(value)
    flat = list(_leaves(value, len(shape)))
    if len(flat) != math.prod(shape) or len(shape) > MAX_RANK:  # before it is made: it may be huge
        raise _malformed("Encountered list of inconsistent lengths or nesting")
    return np.array([*flat, b""], np.object_)[:-1].reshape(shape)


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
    if array.dtype.kind not in _KINDS:
        kind = type_name(number(array.dtype))
        raise _malformed(f"Failed to write JSON value for tensor type: {kind}")
    if array.dtype != np.object_:
        narrow = array.dtype.kind == "f" and array.dtype != np.float64
        return (shortest(array) if narrow else array).tolist()
    encode = _base64 if name.endswith("_bytes") else _text
    values = np.array([*map(encode, array.ravel()), None], np.object_)[:-1]
    return values.reshape(array.shape).tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")  # what is no UTF-8 leaves as the bytes it is


def _single(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else dict(values)


def _malformed(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)
