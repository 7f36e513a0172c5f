"""What TensorFlow Serving answers over gRPC where an embedded server might think otherwise."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.errors import RequestError
from serving.model_settings import ModelSettings, Policy
from serving.registry import Registry
from serving.servable import SavedModel
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings
from serving.signature import CLASSIFY, REGRESS, Signature, Spec
from serving.version import State
from serving.warmup import MAX_RECORDS, RECORDS, warm_up
from tests.support.shelf import Shelf, served

FLOATS = np.array([1, 2, 4], np.float32)


class Stubs:
    def __init__(self, channel: grpc.Channel) -> None:
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture(scope="module")
def stubs(odd_server: ModelServer) -> Iterator[Stubs]:
    with grpc.insecure_channel(odd_server.grpc_address) as channel:
        yield Stubs(channel)


def request(x: Any, signature: str = "", outputs: tuple[str, ...] = ()) -> Any:
    found = predict_pb2.PredictRequest(output_filter=outputs)
    found.model_spec.name, found.model_spec.signature_name = "odd", signature
    found.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    return found


def answer(stubs: Stubs, x: Any, signature: str = "") -> Any:
    return tf.make_ndarray(stubs.prediction.Predict(request(x, signature)).outputs["y"])


def refusal(call: Callable[[Any], Any], message: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message)
    return caught.value.code().name, caught.value.details() or ""


@pytest.mark.parametrize("signature", ["serving_default", "column", "any_rank"])
@pytest.mark.parametrize("x", [FLOATS, FLOATS[:, None], FLOATS[None, :], FLOATS[:0], FLOATS[0]])
def test_shapes_of_vectors_and_matrices_are_left_to_the_model(stubs: Stubs, signature: str, x: Any):
    found = answer(stubs, x, signature)
    assert found.shape == x.shape
    np.testing.assert_array_equal(found, x * 3)


@pytest.mark.parametrize(
    ("shape", "signature"),
    [((1, 2, 1), "image"), ((1, 3, 2, 1), "image"), ((2,), "image"), ((1, 1, 1), "column")],
)
def test_what_may_be_convolved_is_checked_before(
    stubs: Stubs, shape: tuple[int, ...], signature: str
):
    code, message = refusal(
        stubs.prediction.Predict, request(np.zeros(shape, np.float32), signature)
    )
    assert code == "INVALID_ARGUMENT"
    assert message.startswith(f"input x has shape [{','.join(map(str, shape))}], expected")


def test_a_half_of_every_type_is_answered(stubs: Stubs):
    halves = answer(stubs, FLOATS, "bfloat16")
    assert halves.dtype == tf.bfloat16.as_numpy_dtype
    assert halves.tolist() == [1, 2, 4]
    assert answer(stubs, FLOATS, "complex").tolist() == [1 - 1j, 2 - 2j, 4 - 4j]
    assert answer(stubs, tf.constant([1.5], tf.bfloat16).numpy(), "bfloat16_in").tolist() == [1.5]


def test_an_output_asked_for_twice_is_refused(stubs: Stubs):
    asked = request(FLOATS, outputs=("y", "y"))
    expected = ("INVALID_ARGUMENT", "duplicate output tensor alias: y")
    assert refusal(stubs.prediction.Predict, asked) == expected


def test_a_request_without_a_model_spec_is_refused(stubs: Stubs):
    missing = ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refusal(stubs.prediction.Predict, predict_pb2.PredictRequest()) == missing
    fields = {"metadata_field": ["signature_def"]}
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(**fields)
    assert refusal(stubs.prediction.GetModelMetadata, metadata) == missing
    status = get_model_status_pb2.GetModelStatusRequest()
    assert refusal(stubs.model.GetModelStatus, status) == missing
    status.model_spec.SetInParent()
    unnamed = ("NOT_FOUND", "Could not find any versions of model ")
    assert refusal(stubs.model.GetModelStatus, status) == unnamed


def test_the_status_ignores_a_label(stubs: Stubs):
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name, status.model_spec.version_label = "odd", "nobody's"
    (found,) = stubs.model.GetModelStatus(status).model_version_status
    assert (found.version, found.state) == (1, State.AVAILABLE.value)


def test_the_metadata_are_those_of_the_file(stubs: Stubs, odd_base: Path):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "odd"
    found = get_model_metadata_pb2.SignatureDefMap()
    stubs.prediction.GetModelMetadata(asked).metadata["signature_def"].Unpack(found)
    assert "__saved_model_init_op" in found.signature_def
    assert found.signature_def["two"].inputs["b"].dtype == tf.int32.as_datatype_enum


def test_only_versions_that_were_wanted_have_a_status(tmp_path: Path):
    shelf = Shelf(tmp_path)
    shelf.add(1, 2, 3)
    registry = served(shelf)
    assert [version.number for version in registry.versions("m")] == [3]
    with pytest.raises(RequestError, match="Could not find version 1 of model m"):
        registry.versions("m", 1)
    registry.configure([shelf.settings(Policy(specific=frozenset({9})))])
    assert [version.number for version in registry.versions("m")] == [3]


def test_a_load_that_fails_tells_its_own_code(tmp_path: Path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    registry = Registry(lambda directory, model, version: SavedModel(directory))
    registry.configure([ModelSettings("m", tmp_path / "m")])
    (version,) = registry.versions("m")
    assert version.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert "SavedModel file does not exist" in version.error


def examples(kind: Any, signature: str, *values: float | None) -> Any:
    found = kind()
    found.model_spec.name, found.model_spec.signature_name = "odd", signature
    for value in values:
        example = found.input.example_list.examples.add()
        if value is not None:
            example.features.feature["x"].float_list.value.append(value)
    return found


def test_classify_and_regress_ask_for_no_method_name(stubs: Stubs):
    asked = examples(classification_pb2.ClassificationRequest, "classify", 0.25, None)
    found = stubs.prediction.Classify(asked).result.classifications
    scores = [[(c.label, c.score) for c in entry.classes] for entry in found]
    assert scores == [[("a", 0.25), ("b", 0.75)], [("a", 0.5), ("b", 0.5)]]
    asked = examples(regression_pb2.RegressionRequest, "regress", 0.25)
    assert [r.value for r in stubs.prediction.Regress(asked).result.regressions] == [0.5]


def test_the_flag_brings_the_check_of_method_names_back(odd_base: Path):
    listen = Listen(port=0, rest_port=None)
    settings = ServerSettings(models=(ModelSettings("odd", odd_base),), listen=listen)
    with (
        ModelServer(replace(settings, check_methods=True)) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        asked = examples(regression_pb2.RegressionRequest, "regress", 0.25)
        code, message = refusal(Stubs(channel).prediction.Regress, asked)
    assert code == "INVALID_ARGUMENT"
    assert message.endswith("Was: tensorflow/serving/predict")


@pytest.mark.parametrize(
    ("method", "signature", "message"),
    [
        ("Classify", "numbered", "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        ("Classify", "text", "No classification inputs found in SignatureDef: ['x']"),
        ("Classify", "two", "Expected one input Tensor."),
        ("Regress", "regress_total", "[batch_size] or [batch_size, 1] but got []"),
        ("Regress", "regress_wide", "[batch_size] or [batch_size, 1] but got [1,2]"),
        ("Regress", "classify", "Expected one output Tensor."),
    ],
)
def test_what_cannot_be_classified_or_regressed_is_the_callers_error(
    stubs: Stubs, method: str, signature: str, message: str
):
    kinds = {
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
    }
    call = getattr(stubs.prediction, method)
    code, details = refusal(call, examples(kinds[method], signature, 0.25))
    assert code == "INVALID_ARGUMENT"
    assert details.endswith(message)


def multi_inference() -> Any:
    found = inference_pb2.MultiInferenceRequest()
    for signature, method in (("classify", CLASSIFY), ("regress", REGRESS)):
        task = found.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "odd", signature
    found.input.example_list.examples.add()
    return found


def test_multi_inference_of_a_tf2_model(stubs: Stubs):
    found = stubs.prediction.MultiInference(multi_inference()).results
    assert [entry.model_spec.version.value for entry in found] == [1, 1]
    assert found[1].regression_result.regressions[0].value == 1


def copy_with_records(base: Path, place: Path, *logs: Any) -> Path:
    shutil.copytree(base / "1", place)
    (place / RECORDS).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(place / RECORDS)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return place


def test_all_four_kinds_of_warm_up_record_run(odd_base: Path, tmp_path: Path):
    log = prediction_log_pb2.PredictionLog
    classified, regressed, inferred, predicted = log(), log(), log(), log()
    kind = classification_pb2.ClassificationRequest
    classified.classify_log.request.CopyFrom(examples(kind, "classify", 0.25))
    kind = regression_pb2.RegressionRequest
    regressed.regress_log.request.CopyFrom(examples(kind, "regress", 0.25))
    inferred.multi_inference_log.request.CopyFrom(multi_inference())
    predicted.predict_log.request.CopyFrom(request(FLOATS))
    logs = (classified, regressed, inferred, predicted)
    place = copy_with_records(odd_base, tmp_path / "all", *logs)
    model = SavedModel(place)
    assert warm_up(model, place) == 4
    wrong = log()
    wrong.regress_log.request.CopyFrom(examples(kind, "regress_wide", 0.25))
    place = copy_with_records(odd_base, tmp_path / "wrong", wrong)
    with pytest.raises(RequestError, match="Expected output Tensor shape"):
        warm_up(model, place)
    model.close()


def test_more_warm_up_records_than_the_limit_refuse_the_load(odd_base: Path, tmp_path: Path):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request(FLOATS))
    place = copy_with_records(odd_base, tmp_path / "many", *[log] * (MAX_RECORDS + 1))
    model = SavedModel(place)
    with pytest.raises(RequestError, match=r"exceeds the maximum \(1000\)"):
        warm_up(model, place)
    model.close()


def test_an_input_with_a_default_may_be_left_out():
    floats = Spec("x:0", tf.float32.as_datatype_enum, (-1,))
    found = Signature("", {"x": floats, "k": floats}, {}, {"k": FLOATS})
    completed = found.completed({"x": FLOATS[:1]})
    found.check(completed)
    assert completed["k"] is FLOATS
    assert found.completed({"x": FLOATS, "k": FLOATS[:1]})["k"].tolist() == [1]
    with pytest.raises(RequestError, match="Missing but required: {x}"):
        found.check(found.completed({}))
