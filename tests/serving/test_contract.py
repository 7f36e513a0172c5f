"""Bad requests get TensorFlow Serving's codes and words, over gRPC."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.store import Store

Code = grpc.StatusCode
IMAGE = np.zeros((1, 4, 4, 1), np.uint8)


class Wire:
    """TensorFlow Serving's own stubs, as a client of theirs would use them."""

    def __init__(self, server: Any) -> None:
        channel = grpc.insecure_channel(server.grpc_address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(channel)
        self.channel = channel


@pytest.fixture(scope="module")
def wire(server: Any) -> Any:
    wire = Wire(server)
    yield wire
    wire.channel.close()


def predict(
    inputs: dict[str, Any], outputs: tuple[str, ...] = (), **spec: Any
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=outputs)
    fill_spec(request.model_spec, **({"name": "shapes"} | spec))
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def fill_spec(spec: Any, name: str, version: int = 0, label: str = "", signature: str = "") -> None:
    spec.name, spec.signature_name = name, signature
    if version:
        spec.version.value = version
    if label:
        spec.version_label = label


def refusal(call: Callable[[Any], Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            predict({"image": IMAGE}, name=""),
            Code.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            predict({"image": IMAGE}, name="m"),
            Code.NOT_FOUND,
            "Servable not found for request: Latest(m)",
        ),
        (
            predict({"image": IMAGE}, version=7),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(shapes, 7)",
        ),
        (
            predict({"image": IMAGE}, label="L"),
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: L",
        ),
        (
            predict({"image": IMAGE}, signature="S"),
            Code.FAILED_PRECONDITION,
            'Serving signature key "S" not found.',
        ),
        (
            predict({}),
            Code.INVALID_ARGUMENT,
            "input size does not match signature: 0!=1 len({}) != len({image}). "
            "Sent extra: {}. Missing but required: {image}.",
        ),
        (
            predict({"image": IMAGE, "more": IMAGE}),
            Code.INVALID_ARGUMENT,
            "input size does not match signature: 2!=1 len({image,more}) != len({image}). "
            "Sent extra: {more}. Missing but required: {}.",
        ),
        (
            predict({"A": IMAGE}),
            Code.INVALID_ARGUMENT,
            "input tensor alias not found in signature: A. "
            "Inputs expected to be in the set {image}.",
        ),
        (
            predict({"image": IMAGE}, outputs=("A",)),
            Code.INVALID_ARGUMENT,
            "output tensor alias not found in signature: A "
            "Outputs expected to be in the set {class_id,label,probabilities}.",
        ),
        (
            predict({"image": IMAGE.astype(np.int32)}),
            Code.INVALID_ARGUMENT,
            "Type mismatch: actual int32 vs. expect uint8",
        ),
        (
            predict({"image": IMAGE[0]}),
            Code.INVALID_ARGUMENT,
            "input image has shape [4,4,1], expected [?,4,4,1]",
        ),
        (
            predict({"image": np.zeros((1, 5, 4, 1), np.uint8)}),
            Code.INVALID_ARGUMENT,
            "input image has shape [1,5,4,1], expected [?,4,4,1]",
        ),
        (
            predict({"image": IMAGE[:0]}),
            Code.INVALID_ARGUMENT,
            "input image is empty: its shape is [0,4,4,1]",
        ),
    ],
)
def test_grpc_predict_refuses(wire: Wire, request_: Any, code: grpc.StatusCode, message: str):
    got, details = refusal(wire.prediction.Predict, request_)
    assert got is code
    assert details.endswith(message)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "M"}, "Could not find any versions of model M"),
        ({"name": "shapes", "version": 7}, "Could not find version 7 of model shapes"),
    ],
)
def test_grpc_status_refuses(wire: Wire, spec: Any, message: str):
    request = get_model_status_pb2.GetModelStatusRequest()
    fill_spec(request.model_spec, **spec)
    assert refusal(wire.model.GetModelStatus, request) == (Code.NOT_FOUND, message)


@pytest.mark.parametrize(
    ("fields", "message"), [([], "at least one metadata_field"), (["x"], "x is not supported")]
)
def test_grpc_metadata_refuses(wire: Wire, fields: list[str], message: str):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "shapes"
    code, details = refusal(wire.prediction.GetModelMetadata, request)
    assert code is Code.INVALID_ARGUMENT
    assert message in details


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
    ],
)
def test_grpc_classify_and_regress_refuse(wire: Wire, method: str, request_: Any):
    call = getattr(wire.prediction, method)
    fill_spec(request_.model_spec, "shapes", signature="S")
    assert refusal(call, request_) == (Code.INVALID_ARGUMENT, "Input is empty.")
    request_.input.example_list.examples.add()
    expected = (Code.INVALID_ARGUMENT, "No signature was found with the name: S")
    assert refusal(call, request_) == expected
    fill_spec(request_.model_spec, "shapes", signature="serving_default")
    code, details = refusal(call, request_)
    assert code is Code.INVALID_ARGUMENT
    assert details.endswith("inputs found in SignatureDef: ['image']")


def test_grpc_predict_answers_as_tensorflow_serving_does(wire: Wire, served_store: Store):
    response = wire.prediction.Predict(predict({"image": IMAGE}))
    spec = response.model_spec
    assert (spec.name, spec.signature_name) == ("shapes", "serving_default")
    assert spec.version.value == served_store.live("shapes")
    probabilities = response.outputs["probabilities"]
    assert len(probabilities.float_val) == 3  # not in tensor_content
    assert tf.make_ndarray(probabilities).shape == (1, 3)
    assert tf.make_ndarray(response.outputs["label"]).tolist() == [b"zero"]
    assert tf.make_ndarray(response.outputs["class_id"]).dtype == np.int64


def test_an_output_filter_leaves_the_other_outputs_out(wire: Wire):
    response = wire.prediction.Predict(predict({"image": IMAGE}, outputs=("label",)))
    assert list(response.outputs) == ["label"]
