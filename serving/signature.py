"""What a model takes and gives, and the check of a request against it before anything executes.

TensorFlow Serving compares no shapes with the signature (predict_util.cc, PreProcessPrediction).
But TensorFlow aborts the process on some inputs of the wrong rank (tensorflow#111453): where
convolutions may be behind an input, nothing reaches the graph that the signature does not allow.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.errors import RequestError
from serving.tensors import NAMES, STRING, Array, Claim, claim, to_array

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

CHECKED_RANK = 3  # of the signature's tensor or of the one sent: vectors abort nothing


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
    """A named entry of a SavedModel. `defaults`: inputs that may be left out, and their values."""

    method: str
    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]
    defaults: Mapping[str, Array] = field(default_factory=dict)

    @property
    def batched(self) -> bool:
        """Whether rows of several requests may be computed together."""
        return all(spec.batched for spec in (*self.inputs.values(), *self.outputs.values()))

    def fits(self, inputs: Mapping[str, Array]) -> bool:
        """Return whether ranks and static dimensions of checked inputs are as exported."""
        return all(
            spec.shape is not None and _fits(inputs[name].shape, spec.shape)
            for name, spec in self.inputs.items()
        )

    def completed(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the inputs with the defaults of those that were left out."""
        return {**self.defaults, **inputs} if self.defaults else inputs

    def check(self, inputs: Mapping[str, Any], rows: int = 0) -> None:
        """Raise RequestError unless names and types are as exported, and shapes where they matter.

        `inputs`: arrays, or TensorProtos, of which no array is made. Shapes matter for tensors of
        CHECKED_RANK and above, and the first dimension when there may only be so many `rows`.
        """
        sent = self.defaults.keys() | inputs.keys() if self.defaults else inputs.keys()
        if len(sent) != len(self.inputs):
            raise RequestError("INVALID_ARGUMENT", _wrong_count(set(sent), set(self.inputs)))
        for name, value in inputs.items():
            if name not in self.inputs:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f"input tensor alias not found in signature: {name}. "
                    f"Inputs expected to be in the set {_set(self.inputs)}.",
                )
            try:
                _check_tensor(name, self.inputs[name], claim(value), rows)
            except ValueError as error:
                raise RequestError("INVALID_ARGUMENT", f"input {name}: {error}") from None

    def check_outputs(self, names: Collection[str]) -> None:
        """Raise RequestError for an output that the model does not have, or asked for twice."""
        seen = set()
        for name in names:
            if name not in self.outputs:
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {name} "
                    f"Outputs expected to be in the set {_set(self.outputs)}.",
                )
            if name in seen:
                raise RequestError("INVALID_ARGUMENT", f"duplicate output tensor alias: {name}")
            seen.add(name)


def read(definition: Any) -> Signature:
    """A signature from its SignatureDef."""
    return Signature(
        definition.method_name,
        _specs(definition.inputs),
        _specs(definition.outputs),
        {name: to_array(value) for name, value in definition.defaults.items()},
    )


def type_name(dtype: int) -> str:
    """TensorFlow's word for a type number: "float", "uint8", "string"."""
    return NAMES.get(dtype, f"type {dtype}")


def _specs(infos: Any) -> dict[str, Spec]:
    return {name: Spec(info.name, info.dtype, _shape(info)) for name, info in infos.items()}


def _shape(info: Any) -> tuple[int, ...] | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(dim.size for dim in info.tensor_shape.dim)


def _check_tensor(name: str, spec: Spec, sent: Claim, rows: int) -> None:
    if sent.dtype != spec.dtype:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"Type mismatch: actual {type_name(sent.dtype)} vs. expect {type_name(spec.dtype)}",
        )
    checked = max(len(sent.shape), len(spec.shape or ())) >= CHECKED_RANK
    if checked and spec.shape is not None and not _fits(sent.shape, spec.shape):
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} has shape {_dims(sent.shape)}, expected {_dims(spec.shape)}",
        )
    # Strings are encoded images more often than not, so an empty batch of them is one of images.
    if 0 in sent.shape and (checked or sent.dtype == STRING):
        raise RequestError(
            "INVALID_ARGUMENT", f"input {name} is empty: its shape is {_dims(sent.shape)}"
        )
    if rows and sent.shape and sent.shape[0] > rows:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} has {sent.shape[0]} rows, more than the limit of {rows}. "
            "Send several smaller requests.",
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
