"""The cases of TensorFlow Serving's own test of its server, asked of ours, or of the named one.

Its file is tensorflow_serving/model_servers/tensorflow_model_server_test.py. Of its cases these do
not apply, since our server has nothing behind them: testPredictOnTfLite and
testPredictWithSignatureDefOnTfLite (--prefer_tflite_model is known and ignored),
test_profiler_service_with_valid_trace_request (TensorFlow's profiler service is not offered) and
test_tf_text (a model with operations of TensorFlow Text, which is no dependency). _TestBadModel is
none of its cases: nothing calls it.
"""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    regression_pb2,
)

from tests.support.core_calls import VERSION, Stub, config, has, predicted
from tests.support.core_models import CLASSIFY, MODELS, REGRESS
from tests.support.forkserver import ForkServer
from tests.support.model_server import Running, Start, output_of_failed_start
from tests.support.waiting import until

OF_BOTH = pytest.mark.parametrize("model", ["half_plus_two", "half_plus_two_tf2"])
MONITORING = "prometheus_config { enable: true }"
SAVE_MIRRORED = """
import sys
from pathlib import Path
from tests.support.core_models import save_mirrored
save_mirrored(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server's files and its socket lie; the path of a socket must be short."""
    return tmp_path_factory.mktemp("core")


@pytest.fixture(scope="module")
def server(core_models: Path, start: Start, place: Path) -> Iterator[Running]:
    """One server of all models."""
    (place / "models.config").write_text(config(core_models, *MODELS))
    (place / "monitoring.config").write_text(MONITORING)
    with start(
        f"--model_config_file={place / 'models.config'}",
        f"--monitoring_config_file={place / 'monitoring.config'}",
        f"--grpc_socket_path={place / 'socket'}",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: Running) -> Iterator[Stub]:
    found = Stub(server.grpc)
    yield found
    found.channel.close()


def of_example(message: Any, model: str, signature: str) -> Any:
    message.model_spec.name, message.model_spec.signature_name = model, signature
    message.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    return message


def rest(server: Running, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://{server.rest}{path}", data, timeout=30) as reply:
        return json.loads(reply.read())


def test_get_model_status(stub: Stub):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half_plus_two"
    (found,) = stub.status(request, timeout=30).model_version_status
    assert (found.version, found.status.error_code) == (VERSION, 0)


@OF_BOTH
def test_classify(stub: Stub, model: str):
    asked = of_example(classification_pb2.ClassificationRequest(), model, "classify_x_to_y")
    response = stub.classify(asked, timeout=30)
    ((found,),) = (row.classes for row in response.result.classifications)
    assert (found.label, found.score) == ("", 3.0)
    assert response.model_spec.signature_name == "classify_x_to_y"
    assert response.model_spec.version.value == VERSION


@OF_BOTH
def test_regress(stub: Stub, model: str):
    asked = of_example(regression_pb2.RegressionRequest(), model, "regress_x_to_y")
    response = stub.regress(asked, timeout=30)
    assert [row.value for row in response.result.regressions] == [3.0]
    assert response.model_spec.signature_name == "regress_x_to_y"


@OF_BOTH
def test_multi_inference(stub: Stub, model: str):
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in ((REGRESS, "regress_x_to_y"), (CLASSIFY, "classify_x_to_y")):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(2.0)
    first, second = stub.multi_inference(request, timeout=30).results
    assert first.regression_result.regressions[0].value == 3.0
    assert second.classification_result.classifications[0].classes[0].score == 3.0
    for result, signature in ((first, "regress_x_to_y"), (second, "classify_x_to_y")):
        assert result.model_spec.signature_name == signature
        assert result.model_spec.version.value == VERSION


@pytest.mark.parametrize("output", ["y", ""])
@pytest.mark.parametrize(("model", "expected"), [("half_plus_two", 3.0), ("half_plus_three", 4.0)])
def test_predict_saved_model_and_good_model_config(
    stub: Stub, model: str, output: str, expected: float
):
    assert predicted(stub, model, output) == expected


def test_bad_model_config(tmp_path: Path, forkserver: ForkServer):
    (tmp_path / "bad.config").write_text("improperly formatted file!\n")
    said = output_of_failed_start(forkserver, f"--model_config_file={tmp_path / 'bad.config'}")
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in said


@pytest.mark.parametrize("poll", [1, 0])
def test_model_config_reload(core_models: Path, start: Start, tmp_path: Path, poll: int):
    """Also with a period of zero: then the file is read once."""
    file = tmp_path / "model_config.txt"
    file.write_text(config(core_models, "half_plus_two"))
    period = f"--model_config_file_poll_wait_seconds={poll}"
    with start(f"--model_config_file={file}", period) as running:
        stub = Stub(running.grpc)
        assert predicted(stub, "half_plus_two") == 3.0
        file.write_text(config(core_models, "half_plus_three"))
        if poll:
            until(lambda: has(stub, "half_plus_three"))
        assert has(stub, "half_plus_two") == (not poll)
        assert has(stub, "half_plus_three") == bool(poll)
        stub.channel.close()


def test_good_grpc_channel_arguments(server: Running):
    """The shared server has them: a connection is closed after two seconds, and calls go on."""
    stub = Stub(server.grpc)
    assert predicted(stub, "half_plus_two") == 3.0
    stub.channel.close()


def test_classify_rest(server: Running):
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}
    found = rest(server, "/v1/models/half_plus_two:classify", body)
    assert found == {"results": [[["", 3.0]]]}


def test_regress_rest(server: Running):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}
    assert rest(server, "/v1/models/half_plus_two:regress", body) == {"results": [3.0]}


@pytest.mark.parametrize(
    ("sent", "answered"), [("instances", "predictions"), ("inputs", "outputs")]
)
def test_predict_rest_in_rows_and_columns(server: Running, sent: str, answered: str):
    found = rest(server, "/v1/models/half_plus_two:predict", {sent: [2.0, 3.0, 4.0]})
    assert found == {answered: [3.0, 3.5, 4.0]}


def test_get_status_rest(server: Running):
    status = {"error_code": "OK", "error_message": ""}
    assert rest(server, "/v1/models/half_plus_two") == {
        "model_version_status": [{"version": str(VERSION), "state": "AVAILABLE", "status": status}]
    }


def test_get_model_metadata_rest(server: Running, core_models: Path):
    found = rest(server, "/v1/models/half_plus_two/metadata")
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(
        (core_models / "half_plus_two" / "00000123" / "saved_model.pb").read_bytes()
    )
    kept = saved.meta_graphs[0].signature_def
    assert found["model_spec"] == {
        "name": "half_plus_two", "signature_name": "", "version": str(VERSION)
    }  # fmt: skip
    told = found["metadata"]["signature_def"]["signature_def"]
    assert told.keys() == kept.keys()
    for name, signature in kept.items():
        expected = json_format.MessageToDict(signature, preserving_proto_field_name=True)
        assert told[name]["method_name"] == expected["method_name"]
        for side in ("inputs", "outputs"):
            assert told[name][side].keys() == expected[side].keys()
            for key, tensor in expected[side].items():
                assert told[name][side][key]["name"] == tensor["name"]
                assert told[name][side][key]["dtype"] == tensor["dtype"]


def test_prometheus_endpoint(server: Running):
    url = f"http://{server.rest}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url, timeout=30) as reply:
        assert "# TYPE" in reply.read().decode()


def test_predict_over_a_unix_socket(server: Running, place: Path):
    stub = Stub(f"unix:{place / 'socket'}")
    assert predicted(stub, "half_plus_two") == 3.0
    stub.channel.close()


def test_saved_model_save(stub: Stub):
    assert predicted(stub, "checkpoint") == 12.0


def test_saved_model_save_of_two_signatures(stub: Stub):
    assert predicted(stub, "two_signatures", signature="custom_signature_key") == 2.0
    assert predicted(stub, "two_signatures") == 1.0


def test_a_sequential_keras_model(stub: Stub):
    assert predicted(stub, "sequential", batch=True) == 2.0


@pytest.mark.slow
def test_a_sequential_keras_model_of_several_replicas(
    forkserver: ForkServer, start: Start, tmp_path: Path
):
    done = forkserver.run("-c", SAVE_MIRRORED, str(tmp_path / "mirrored" / "00000123"))
    assert done.returncode == 0, done.stderr
    base = f"--model_base_path={tmp_path / 'mirrored'}"
    with start("--model_name=mirrored", base) as running:
        stub = Stub(running.grpc)
        assert predicted(stub, "mirrored", batch=True) == 2.0
        stub.channel.close()
