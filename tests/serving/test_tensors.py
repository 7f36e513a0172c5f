"""Arrays survive the wire, and TensorFlow reads what we write and writes what we read."""

from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from serving.tensors import MAX_REPEATED, claim, fill, fill_typed, number, to_array
from serving.wire import predict_pb2

TYPES = [
    np.float32,
    np.float64,
    np.float16,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.bool_,
]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NUMBERS = st.sampled_from(TYPES).flatmap(lambda kind: arrays.arrays(kind, SHAPES))


def encoded(write: Any, array: Any) -> Any:
    proto = predict_pb2.Tensor()
    write(proto, array)
    return proto


@pytest.mark.parametrize("write", [fill, fill_typed])
def test_arrays_come_back_as_they_were(write: Any):
    @given(NUMBERS)
    def check(array: Any) -> None:
        back = to_array(encoded(write, array))
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)

    check()


@pytest.mark.parametrize("write", [fill, fill_typed])
def test_tensorflow_reads_what_is_written(write: Any):
    @given(NUMBERS)
    def check(array: Any) -> None:
        proto = tf.make_tensor_proto(0)
        proto.ParseFromString(encoded(write, array).SerializeToString())
        np.testing.assert_array_equal(tf.make_ndarray(proto), array)

    check()


@given(NUMBERS)
def test_what_tensorflow_writes_is_read(array: Any):
    proto = predict_pb2.Tensor.FromString(tf.make_tensor_proto(array).SerializeToString())
    np.testing.assert_array_equal(to_array(proto), array)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_bytes_come_back_as_they_were(values: list[bytes]):
    array = np.empty(len(values), np.object_)
    array[:] = values
    assert to_array(encoded(fill, array)).tolist() == values
    assert to_array(encoded(fill_typed, array)).tolist() == values


def varint(number: int) -> bytes:
    """A number below 2^14 as protobuf writes it."""
    return bytes([number]) if number < 128 else bytes([number % 128 + 128, number // 128])


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(0, 1))
def test_strings_in_the_content_are_read_as_tensorflow_reads_them(values: list[bytes], cut: int):
    lengths = b"".join(varint(len(value)) for value in values)
    content = lengths + b"".join(values)
    proto = tensor([len(values)], dtype=7, tensor_content=content[: len(content) - cut])
    try:
        expected = tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy().tolist()
    except tf.errors.InvalidArgumentError:
        with pytest.raises(ValueError, match="strings"):
            to_array(proto)
    else:
        assert to_array(proto).tolist() == expected


def test_text_is_sent_as_utf8():
    assert to_array(encoded(fill, np.array(["é"]))).tolist() == ["é".encode()]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dtype": 1, "float_val": [2.5]}, np.full((2, 2), 2.5, np.float32)),
        ({"dtype": 1}, np.zeros((2, 2), np.float32)),
        ({"dtype": 4, "int_val": [1, 300]}, np.array([[1, 44], [44, 44]], np.uint8)),
        ({"dtype": 7, "string_val": [b"a"]}, np.full((2, 2), b"a", object)),
    ],
)
def test_missing_values_repeat_the_last_as_in_tensorflow(fields: Any, expected: Any):
    proto = predict_pb2.Tensor(**fields)
    for _ in range(2):
        proto.tensor_shape.dim.add(size=2)
    np.testing.assert_array_equal(to_array(proto), expected)


def tensor(dims: list[int], **fields: Any) -> predict_pb2.Tensor:
    proto = predict_pb2.Tensor(**({"dtype": 1} | fields))
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (tensor([2], tensor_content=b"1234"), r"4 bytes of content do not fill a float32 .* \[2\]"),
        (tensor([1], float_val=[1, 2]), "2 values do not fit"),
        (tensor([-1]), r"must be known, got \[-1\]"),
        (tensor([1] * 65), "at most 64 dimensions, got 65"),
        (tensor([1 << 40]), "larger than"),
        (tensor([1 << 62, 1 << 62]), "larger than"),
        (tensor([1], dtype=0), "type number 0 are not supported"),
        (tensor([1], dtype=101), "type number 101"),
        (
            tensor([2], dtype=7, tensor_content=b"\x01\x01ab3"),
            "5 bytes of content are no 2 strings",
        ),
        (tensor([9], dtype=7, tensor_content=b"\x00"), "1 bytes of content are no 9 strings"),
        (tensor([1], dtype=7, tensor_content=b"\xff\xff"), "lengths of the strings .* cut off"),
        (tensor([1], dtype=7, tensor_content=b"\xff" * 9), "lengths of the strings .* cut off"),
    ],
)
def test_a_tensor_that_does_not_fit_together_is_refused(proto: Any, message: str):
    with pytest.raises(ValueError, match=message):
        to_array(proto)


@pytest.mark.parametrize("kind", [tf.complex64, tf.complex128, tf.bfloat16])
def test_types_that_only_servers_send_are_written_as_tensorflow_does(kind: Any):
    array = tf.cast([1.5, -2.0], kind).numpy()
    written = tf.make_tensor_proto(0)
    written.Clear()
    fill_typed(written, array)
    np.testing.assert_array_equal(tf.make_ndarray(written), array)
    np.testing.assert_array_equal(to_array(written), array)
    np.testing.assert_array_equal(to_array(tf.make_tensor_proto(array)), array)


def test_a_client_says_that_it_cannot_read_complex_numbers():
    proto = tensor([1], dtype=8)
    with pytest.raises(ValueError, match="type complex64 cannot be read by a client"):
        to_array(proto)


def test_an_array_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="arrays of .* cannot be sent. Known: bool, complex"):
        number(np.dtype("datetime64[s]"))


def test_a_shape_makes_no_memory_that_the_message_does_not_carry():
    """43 bytes made 2 GiB."""
    proto = predict_pb2.Tensor(dtype=predict_pb2.DT_FLOAT, float_val=[1.0])
    proto.tensor_shape.dim.add(size=MAX_REPEATED // 4)
    assert claim(proto).shape == (MAX_REPEATED // 4,)
    proto.tensor_shape.dim[0].size += 1
    for read in (claim, to_array):
        with pytest.raises(ValueError, match="would repeat the last of 1 values"):
            read(proto)
