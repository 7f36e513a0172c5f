"""No request, however wrong, ends the server or gets anything but a status."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import grpc
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.client import Client, Options
from serving.errors import RequestRejected
from serving.exchange import PREDICT
from serving.tensors import fill
from serving.wire import predict_pb2

TYPES = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_, np.float16]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=5)
ARRAYS = st.sampled_from(TYPES).flatmap(lambda kind: arrays.arrays(kind, SHAPES))
STRINGS = st.lists(st.binary(max_size=40), min_size=1, max_size=3).map(
    lambda values: np.array([*values, None], object)[:-1]
)
VALUES = st.one_of(ARRAYS, STRINGS)
SIGNATURES = st.sampled_from(["serving_default", "image_bytes", "class_labels", "tf_example"])
INPUTS = st.sampled_from(["image", "image_bytes", "class_id", "examples"])
RELAXED = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def predict(server: Any) -> Iterator["grpc.UnaryUnaryMultiCallable[bytes, bytes]"]:
    """Predict as bytes."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel.unary_unary(PREDICT)


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[Client]:
    with Client(server.grpc_address, Options(retries=0)) as client:
        yield client


@pytest.fixture(autouse=True)
def still_answering(server: Any) -> Iterator[None]:
    yield
    with Client(server.grpc_address, Options(retries=0)) as client:
        assert client.predict(np.zeros((4, 4, 1), np.uint8), model="shapes")[0].label == "zero"


@RELAXED
@given(st.binary(max_size=300))
def test_raw_bytes(predict: "grpc.UnaryUnaryMultiCallable[bytes, bytes]", payload: bytes):
    future = predict.future(payload, timeout=10)
    assert future.code() is not grpc.StatusCode.UNAVAILABLE


@RELAXED
@given(st.dictionaries(INPUTS, VALUES, max_size=2), SIGNATURES)
def test_random_tensors(client: Client, inputs: dict[str, Any], signature: str):
    with suppress(RequestRejected):  # any other error fails the test
        client.infer(inputs, model="shapes", signature=signature)


@RELAXED
@given(
    st.integers(-3, 30), st.lists(st.integers(-(2**40), 2**40), max_size=8), st.binary(max_size=64)
)
def test_headers_that_lie(
    predict: "grpc.UnaryUnaryMultiCallable[bytes, bytes]",
    dtype: int,
    dims: list[int],
    content: bytes,
):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "shapes"
    tensor = request.inputs["image"]
    fill(tensor, np.zeros(1, np.uint8))
    tensor.dtype = max(dtype, 0)  # type: ignore[assignment]  # numbers of no type too
    tensor.tensor_content = content
    for size in dims:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as caught:
        predict(request.SerializeToString(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["b64", "image", "x"]), inner, max_size=2),
    ),
    max_leaves=12,
)


@pytest.fixture
def connection(server: Any) -> Iterator[http.client.HTTPConnection]:
    """One connection for all requests: none of them spoils it for the next."""
    with closing(http.client.HTTPConnection(server.rest_address, timeout=10)) as connection:
        yield connection


@RELAXED
@given(st.sampled_from(["instances", "inputs", "examples"]), JSON, SIGNATURES)
def test_random_json(connection: http.client.HTTPConnection, key: str, value: Any, signature: str):
    verb = "classify" if key == "examples" else "predict"
    body = json.dumps({key: value, "signature_name": signature})
    connection.request("POST", f"/v1/models/shapes:{verb}", body)
    reply = connection.getresponse()
    content = reply.read()
    assert reply.status in (200, 400), content
    json.loads(content)


@RELAXED
@given(st.binary(max_size=100))
def test_random_http(server: Any, payload: bytes):
    host, _, port = server.rest_address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/models/shapes:predict HTTP/1.1\r\n" + payload + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
