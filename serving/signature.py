"""What a model takes and gives, and the check of a request against it before anything executes.

TensorFlow aborts the process on some inputs of the wrong rank (tensorflow#111453), so nothing
reaches the graph that the signature does not allow.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from serving.errors import RequestError
from serving.tensors import Array, number
from serving.wire import predict_pb2

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


@dataclass(frozen=True)
class Spec:
    """One tensor: its name in the graph, TensorFlow's type number, its shape (-1: any size)."""

    tensor: str
    dtype: int
    shape: tuple[int, ...] | None  # None: any rank

    @property
    def batched(self) -> bool:
        return bool(self.shape) and self.shape is not None and self.shape[0] == -1


@dataclass(frozen=True)
class Signature:
    """A named entry of a SavedModel."""

    method: str
    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]

    @property
    def batched(self) -> bool:
        """Whether rows of several requests may be computed together."""
        return all(spec.batched for spec in (*self.inputs.values(), *self.outputs.values()))

    def check(self, inputs: Mapping[str, Array]) -> None:
        """Raises RequestError unless names, types, ranks and static dimensions are as exported."""
        if len(inputs) != len(self.inputs):
            raise RequestError("INVALID_ARGUMENT", _wrong_count(set(inputs), set(self.inputs)))
        for name, array in inputs.items():
            if name not in self.inputs:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f"input tensor alias not found in signature: {name}. "
                    f"Inputs expected to be in the set {_set(self.inputs)}.",
                )
            _check_tensor(name, self.inputs[name], array)

    def check_outputs(self, names: Collection[str]) -> None:
        """Raises RequestError when the request asks for an output that the model does not have."""
        for name in names:
            if name not in self.outputs:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {name} "
                    f"Outputs expected to be in the set {_set(self.outputs)}.",
                )


def read(definition: Any) -> Signature:
    """A signature from its SignatureDef."""
    return Signature(definition.method_name, _specs(definition.inputs), _specs(definition.outputs))


def type_name(dtype: int) -> str:
    """TensorFlow's word for a type number: "float", "uint8", "string"."""
    try:
        return predict_pb2.DataType.Name(dtype).removeprefix("DT_").lower()
    except ValueError:
        return f"type {dtype}"


def _specs(infos: Any) -> dict[str, Spec]:
    return {name: Spec(info.name, info.dtype, _shape(info)) for name, info in infos.items()}


def _shape(info: Any) -> tuple[int, ...] | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(dim.size for dim in info.tensor_shape.dim)


def _check_tensor(name: str, spec: Spec, array: Array) -> None:
    dtype = number(array.dtype)
    if dtype != spec.dtype:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"Type mismatch: actual {type_name(dtype)} vs. expect {type_name(spec.dtype)}",
        )
    if spec.shape is not None and not _fits(array.shape, spec.shape):
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} has shape {_dims(array.shape)}, expected {_dims(spec.shape)}",
        )
    if 0 in array.shape:
        raise RequestError(
            "INVALID_ARGUMENT", f"input {name} is empty: its shape is {_dims(array.shape)}"
        )


def _fits(shape: tuple[int, ...], allowed: tuple[int, ...]) -> bool:
    return len(shape) == len(allowed) and all(
        limit in (-1, size) for size, limit in zip(shape, allowed, strict=True)
    )


def _dims(shape: tuple[int, ...]) -> str:
    return "[" + ",".join("?" if size == -1 else str(size) for size in shape) + "]"


def _wrong_count(sent: set[str], expected: set[str]) -> str:
    return (
        f"input size does not match signature: {len(sent)}!={len(expected)} "
        f"len({_set(sent)}) != len({_set(expected)}). "
        f"Sent extra: {_set(sent - expected)}. Missing but required: {_set(expected - sent)}."
    )


def _set(names: Collection[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
