"""Requests that a server runs through a new model before it takes traffic.

The file is TensorFlow Serving's `tf_serving_warmup_requests`: a TFRecord of PredictionLog messages.
They are encoded here by hand, four nested messages of length-delimited fields, because the package
that defines them belongs to the serving side.
"""

from pathlib import Path

import tensorflow as tf

FILE_NAME = "tf_serving_warmup_requests"


def write(path: Path, inputs: list[tuple[str, str, tf.Tensor]]) -> None:
    """Write one predict request for each (signature, input name, value)."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name, value in inputs:
            writer.write(prediction_log(signature, name, value))


def prediction_log(signature: str, name: str, value: tf.Tensor) -> bytes:
    """Give a serialized tensorflow.serving.PredictionLog of one predict request."""
    tensor = tf.make_tensor_proto(value).SerializeToString()
    model_spec = _field(3, signature.encode())  # the server knows its own model's name
    named_input = _field(1, name.encode()) + _field(2, tensor)
    request = _field(1, model_spec) + _field(2, named_input)
    predict_log = _field(1, request)
    return _field(6, predict_log)


def _field(number: int, payload: bytes) -> bytes:
    """Encode one length-delimited protocol buffer field."""
    length_delimited = 2
    return _varint(number << 3 | length_delimited) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
