"""Classify, Regress and MultiInference on signatures of TensorFlow's own builders."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import inference
from serving.errors import RequestError
from serving.model_settings import ModelSettings
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def save_half_plus_two(directory: Path) -> None:
    """TensorFlow Serving's own example, y = x / 2 + 2; two classes have the scores y and 10 - y."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None])
        parsed = v1.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        y = parsed["x"] / 2 + 2
        scores = tf.concat([y, 10 - y], axis=1)
        classes = tf.tile(tf.constant([["low", "high"]]), [tf.shape(scores)[0], 1])
        info = v1.saved_model.build_tensor_info
        build = v1.saved_model.build_signature_def
        inputs = {"inputs": info(examples)}
        outputs = {"classes": info(classes), "scores": info(scores)}
        signatures = {
            "serving_default": build(inputs, {"outputs": info(y)}, REGRESS),
            "classify": build(inputs, outputs, CLASSIFY),
        }
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


@pytest.fixture(scope="module")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    base = tmp_path_factory.mktemp("half_plus_two")
    save_half_plus_two(base / "123")
    models = (ModelSettings("half", base),)
    with ModelServer(ServerSettings(models=models, listen=Listen(port=0, rest_port=0))) as server:
        yield server


@pytest.fixture(scope="module")
def stub(half_plus_two: ModelServer) -> Iterator[Any]:
    with grpc.insecure_channel(half_plus_two.grpc_address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def example(x: float) -> tf.train.Example:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[x]))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature}))


def test_classify(stub: Any):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "half", "classify"
    request.input.example_list.examples.extend([example(2), example(4)])
    response = stub.Classify(request)
    found = [[(c.label, c.score) for c in e.classes] for e in response.result.classifications]
    assert found == [[("low", 3), ("high", 7)], [("low", 4), ("high", 6)]]
    assert response.model_spec.version.value == 123


def test_regress_with_a_shared_context(stub: Any):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half"
    source = request.input.example_list_with_context
    source.context.CopyFrom(example(6))
    source.examples.extend([tf.train.Example(), example(0)])
    response = stub.Regress(request)
    assert [regression.value for regression in response.result.regressions] == [5, 2]


def test_multi_inference_answers_each_task(stub: Any):
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("serving_default", REGRESS), ("classify", CLASSIFY)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "half", signature
    request.input.example_list.examples.append(example(2))
    regression, classification = stub.MultiInference(request).results
    assert regression.regression_result.regressions[0].value == 3
    classes = classification.classification_result.classifications[0].classes
    assert [found.label for found in classes] == ["low", "high"]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([("half", "", REGRESS), ("other", "b", REGRESS)], "INVALID_ARGUMENT", "same model name"),
        ([("half", "", REGRESS)] * 2, "INVALID_ARGUMENT", "Duplicate evaluation of signature: "),
        ([("half", "", "walk")], "UNIMPLEMENTED", "Unsupported signature method_name: walk"),
        ([("half", "a", REGRESS)], "INVALID_ARGUMENT", "signature not found in model graph: a"),
        ([("half", "", REGRESS), ("", "b", REGRESS)], "INVALID_ARGUMENT", "an empty model name"),
        ([("nobody", "", REGRESS)], "NOT_FOUND", r"Latest\(nobody\)"),
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ],
)
def test_multi_inference_refuses(stub: Any, tasks: Any, code: str, message: str):
    request = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    request.input.example_list.examples.append(example(2))
    with pytest.raises(grpc.RpcError, match=message) as caught:
        stub.MultiInference(request)
    assert caught.value.code().name == code


def rest(server: ModelServer, verb: str, **body: Any) -> Any:
    url = f"http://{server.rest_address}/v1/models/half:{verb}"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10) as reply:
        return json.loads(reply.read())


def test_rest_classify_and_regress(half_plus_two: ModelServer):
    examples = [{"x": 2.0}, {"x": [4.0]}]
    found = rest(half_plus_two, "classify", signature_name="classify", examples=examples)
    assert found == {"results": [[["low", 3], ["high", 7]], [["low", 4], ["high", 6]]]}
    assert rest(half_plus_two, "regress", examples=examples) == {"results": [3, 4]}
    context = rest(half_plus_two, "regress", examples=[{}], context={"x": 6.0})
    assert context == {"results": [5]}


def test_a_shared_context_is_not_copied_without_end():
    source = input_pb2.Input()
    context = source.example_list_with_context.context
    context.features.feature["x"].bytes_list.value.append(bytes(1 << 20))
    for _ in range(64):
        source.example_list_with_context.examples.add()
    with pytest.raises(RequestError, match="the context of 64 examples takes 671[0-9]+ bytes"):
        inference.serialized(source)
