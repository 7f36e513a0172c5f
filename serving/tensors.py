"""NumPy arrays to and from TensorProto, without TensorFlow.

Written against the fields alone, so it serves both our own wire messages and TensorFlow's.
"""

import math
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.wire import predict_pb2

Array = NDArray[Any]

# Types without a name in our own wire messages, and complex ones without a field: a server has
# TensorFlow's messages, which have both.
STRING: Final = int(predict_pb2.DT_STRING)
_COMPLEX64: Final = 8
_BFLOAT16: Final = 14
_COMPLEX128: Final = 18

# dtype number -> (NumPy's type, the proto's typed field)
_TYPES: Final[dict[int, tuple[type, str]]] = {
    predict_pb2.DT_FLOAT: (np.float32, "float_val"),
    predict_pb2.DT_DOUBLE: (np.float64, "double_val"),
    predict_pb2.DT_INT32: (np.int32, "int_val"),
    predict_pb2.DT_UINT8: (np.uint8, "int_val"),
    predict_pb2.DT_INT16: (np.int16, "int_val"),
    predict_pb2.DT_INT8: (np.int8, "int_val"),
    predict_pb2.DT_STRING: (np.object_, "string_val"),
    predict_pb2.DT_INT64: (np.int64, "int64_val"),
    predict_pb2.DT_BOOL: (np.bool_, "bool_val"),
    predict_pb2.DT_UINT16: (np.uint16, "int_val"),
    predict_pb2.DT_HALF: (np.float16, "half_val"),
    predict_pb2.DT_UINT32: (np.uint32, "uint32_val"),
    predict_pb2.DT_UINT64: (np.uint64, "uint64_val"),
    _COMPLEX64: (np.complex64, "scomplex_val"),
    _COMPLEX128: (np.complex128, "dcomplex_val"),
}
_NUMBERS: Final = {np.dtype(kind): number for number, (kind, _) in _TYPES.items()}

# TensorFlow's word for each number: "float", "uint8", "string".
NAMES: Final = {
    number: name.removeprefix("DT_").lower() for name, number in predict_pb2.DataType.items()
} | {_COMPLEX64: "complex64", _COMPLEX128: "complex128", _BFLOAT16: "bfloat16"}

MAX_BYTES: Final = 1 << 30
MAX_REPEATED: Final = 64 << 20  # bytes of a tensor whose shape promises more than its message has
MAX_RANK: Final = 64  # NumPy's


def number(dtype: np.dtype[Any]) -> int:
    """TensorFlow's number of a NumPy type; text and bytes are DT_STRING. Raises ValueError."""
    if dtype.kind in "SUO":
        return predict_pb2.DT_STRING
    if dtype.name == "bfloat16":  # of the package ml_dtypes
        return _BFLOAT16
    try:
        return _NUMBERS[dtype]
    except KeyError:
        known = ", ".join(sorted(str(known) for known in _NUMBERS))
        raise ValueError(f"arrays of {dtype} cannot be sent. Known: {known}, bytes") from None


def numpy_type(dtype: int) -> np.dtype[Any]:
    """NumPy's type of a TensorFlow number. Raises ValueError."""
    if dtype == _BFLOAT16:
        return _bfloat16()
    if dtype not in _TYPES:
        raise ValueError(f"tensors of type number {dtype} are not supported")
    return np.dtype(_TYPES[dtype][0])


def fill(proto: Any, array: Array) -> None:
    """Put an array into an empty TensorProto, numbers as raw bytes, strings as a list."""
    dtype = number(array.dtype)
    proto.MergeFromString(_header(dtype, array.shape))
    if dtype == predict_pb2.DT_STRING:
        proto.string_val.extend([_bytes(value) for value in array.ravel().tolist()])
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()


def fill_typed(proto: Any, array: Array) -> None:
    """Put an array into an empty TensorProto's typed field, as TensorFlow Serving answers."""
    dtype = number(array.dtype)
    if dtype == predict_pb2.DT_STRING:
        fill(proto, array)
        return
    proto.MergeFromString(_header(dtype, array.shape))
    if dtype == predict_pb2.DT_FLOAT:
        proto.MergeFromString(_packed_floats(array))
    elif dtype in (predict_pb2.DT_HALF, _BFLOAT16):
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    elif array.dtype.kind == "c":  # real and imaginary parts take turns
        getattr(proto, _TYPES[dtype][1]).extend(array.ravel().view(array.real.dtype).tolist())
    else:
        getattr(proto, _TYPES[dtype][1]).extend(array.ravel().tolist())


class Claim(NamedTuple):
    """What a TensorProto says of itself: TensorFlow's number of its type, and its shape."""

    dtype: int
    shape: tuple[int, ...]


def claim(value: Any) -> Claim:
    """Return what a TensorProto, or an array, is to be, before anything of its size is made.

    Raises ValueError for a type or shape that no array has, or whose values do not fill it.
    """
    if isinstance(value, np.ndarray):
        return Claim(number(value.dtype), value.shape)
    dtype, shape = numpy_type(value.dtype), _shape(value)
    size = math.prod(shape)
    if size * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"a tensor of shape {list(shape)} is larger than {MAX_BYTES} bytes")
    if not value.tensor_content and size * dtype.itemsize > MAX_REPEATED:
        carried = len(getattr(value, _TYPES.get(value.dtype, (None, "half_val"))[1], ()))
        if carried < size:
            raise ValueError(
                f"a tensor of shape {list(shape)} would repeat the last of {carried} values; "
                f"a repeated one may take {MAX_REPEATED} bytes"
            )
    return Claim(value.dtype, shape)


def to_array(proto: Any) -> Array:
    """The array of a TensorProto; read-only where it views the message's bytes.

    As in TensorFlow, a typed field with fewer values than elements repeats its last one. Raises
    ValueError when dtype, shape and values do not fit together.
    """
    shape = claim(proto).shape
    dtype = numpy_type(proto.dtype)
    if proto.tensor_content:
        return _from_content(proto.tensor_content, dtype, shape)
    return _from_values(proto, dtype, shape)


@lru_cache(1024)
def _header(dtype: int, shape: tuple[int, ...]) -> bytes:
    """Type and shape on the wire; a server sends the same few all day."""
    proto = predict_pb2.Tensor(dtype=dtype)  # type: ignore[arg-type]  # an open enum
    proto.tensor_shape.SetInParent()  # a scalar has a shape too
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto.SerializeToString()


def _packed_floats(array: Array) -> bytes:
    """Field float_val (5, packed) on the wire: a memory copy in place of one append a value."""
    content = np.ascontiguousarray(array, "<f4").tobytes()
    return b"\x2a" + _varint(len(content)) + content if content else b""


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _shape(proto: Any) -> tuple[int, ...]:
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"the shape of a value must be known, got {list(shape)}")
    if len(shape) > MAX_RANK:
        raise ValueError(f"a tensor has at most {MAX_RANK} dimensions, got {len(shape)}")
    return shape


def _from_content(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if dtype == np.object_:
        return _strings(content, math.prod(shape)).reshape(shape)
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(
            f"{len(content)} bytes of content do not fill a {dtype} tensor of shape {list(shape)}"
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _strings(content: bytes, count: int) -> Array:
    """TensorFlow's packing of strings: all their lengths as varints, then all their bytes."""
    wrong = ValueError(f"{len(content)} bytes of content are no {count} strings")
    if count > len(content):  # each takes a byte at least
        raise wrong
    lengths, position = [], 0
    for _ in range(count):
        length, position = _read_varint(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise wrong
    values = np.empty(count, np.object_)
    for index, length in enumerate(lengths):
        values[index] = content[position : position + length]
        position += length
    return values


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    """A length of at most 32 bits, and where the next one begins."""
    value = 0
    for shift in range(0, 35, 7):
        byte = content[position] if position < len(content) else 0x80
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value & 0xFFFFFFFF, position
    raise ValueError("the lengths of the strings in the content are cut off")


def _from_values(proto: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    values = _values(proto, dtype)
    size = math.prod(shape)
    if len(values) > size:
        raise ValueError(f"{len(values)} values do not fit a tensor of shape {list(shape)}")
    if len(values) < size:
        last = values[-1] if len(values) else _default(dtype)
        padding = np.full(size - len(values), last, dtype)
        values = np.concatenate([values, padding])
    return values.reshape(shape)


def _values(proto: Any, dtype: np.dtype[Any]) -> Array:
    if proto.dtype == _BFLOAT16:
        return np.array(proto.half_val, np.int32).astype(np.uint16).view(dtype)
    name = _TYPES[proto.dtype][1]
    if not hasattr(proto, name):
        raise ValueError(f"tensors of type {NAMES[proto.dtype]} cannot be read by a client")
    field = getattr(proto, name)
    if dtype.kind == "c":
        return np.array(field, dtype.type(0).real.dtype).view(dtype)
    if dtype == np.object_:
        values = np.empty(len(field), np.object_)
        values[:] = field  # element by element: np.array would look into the bytes
        return values
    if dtype == np.float16:
        return np.array(field, np.int32).astype(np.uint16).view(np.float16)
    if field and name == "int_val":
        return np.array(field, np.int32).astype(dtype)  # out of range wraps, as in C++
    return np.array(field, dtype)


def _bfloat16() -> np.dtype[Any]:
    """NumPy's bfloat16, which the package ml_dtypes registers; TensorFlow imports that."""
    try:
        return np.dtype("bfloat16")
    except TypeError:
        raise ValueError("tensors of type bfloat16 need `import ml_dtypes`") from None


def _default(dtype: np.dtype[Any]) -> Any:
    return b"" if dtype == np.object_ else dtype.type(0)
