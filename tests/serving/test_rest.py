"""The documented JSON of TensorFlow Serving's REST API, and the pages beside it."""

import base64
import gzip
import http.client
import io
import json
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from serving.errors import RequestError
from serving.framing import FramingError
from serving.json_tensors import read_inputs, write_outputs
from serving.predictor import Predictor
from serving.rest import Rest
from serving.settings import Limits
from serving.signature import Signature, Spec
from serving.store import Store
from serving.web import uncompress
from serving.wire import predict_pb2


def call(server: Any, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://{server.rest_address}{path}", data, timeout=10) as reply:
        return json.loads(reply.read())


def image(first: int) -> list[Any]:
    pixels = np.zeros((4, 4, 1), np.uint8)
    pixels[0, 0, 0] = first
    nested: list[Any] = pixels.tolist()
    return nested


def test_rows_give_one_prediction_each(server: Any):
    answer = call(server, "/v1/models/shapes:predict", {"instances": [image(1), image(2)]})
    labels = [prediction["label"] for prediction in answer["predictions"]]
    assert labels == ["one", "two"]
    assert answer["predictions"][0]["class_id"] == 1
    assert sum(answer["predictions"][0]["probabilities"]) == pytest.approx(1)


def test_named_rows_and_columns_agree(server: Any):
    rows = call(server, "/v1/models/shapes:predict", {"instances": [{"image": image(1)}]})
    columns = call(server, "/v1/models/shapes:predict", {"inputs": {"image": [image(1)]}})
    bare = call(server, "/v1/models/shapes:predict", {"inputs": [image(1)]})
    assert columns == bare
    assert columns["outputs"]["label"] == [rows["predictions"][0]["label"]]


def test_encoded_images_travel_as_base64(server: Any):
    file = io.BytesIO()
    PillowImage.fromarray(np.full((4, 4), 2, np.uint8)).save(file, "PNG")
    value = {"b64": base64.b64encode(file.getvalue()).decode()}
    body = {"signature_name": "image_bytes", "instances": [value, {"image_bytes": value}]}
    with pytest.raises(urllib.error.HTTPError):  # one form or the other, not both in one list
        call(server, "/v1/models/shapes:predict", body)
    for instance in (value, {"image_bytes": value}):
        body["instances"] = [instance, instance]
        answer = call(server, "/v1/models/shapes:predict", body)
        assert [prediction["label"] for prediction in answer["predictions"]] == ["two", "two"]


def test_version_and_label_in_the_path(server: Any, served_store: Store):
    version = served_store.live("shapes")
    for where in (f"versions/{version}", "labels/stable"):
        answer = call(server, f"/v1/models/shapes/{where}:predict", {"instances": [image(0)]})
        assert answer["predictions"][0]["label"] == "zero"


def test_the_status_is_the_documented_json(server: Any, served_store: Store):
    version = served_store.live("shapes")
    expected = {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    assert call(server, "/v1/models/shapes") == expected
    assert call(server, f"/v1/models/shapes/versions/{version}") == expected
    assert call(server, "/v1/models/shapes/labels/stable") == expected


def test_the_metadata_is_the_documented_json(server: Any, served_store: Store):
    answer = call(server, "/v1/models/shapes/metadata")
    spec = answer["model_spec"]
    assert (spec["name"], spec["signature_name"]) == ("shapes", "")
    assert spec["version"] == str(served_store.live("shapes"))
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    pixels = signatures["serving_default"]["inputs"]["image"]
    assert pixels["dtype"] == "DT_UINT8"
    assert [dim["size"] for dim in pixels["tensor_shape"]["dim"]] == ["-1", "4", "4", "1"]
    assert pixels["tensor_shape"]["unknown_rank"] is False


def test_health_and_readiness(server: Any):
    assert call(server, "/healthz") == {"status": "alive"}
    assert call(server, "/readyz") == {"status": "ready", "missing": {}}


def test_the_metrics_page_counts_requests(server: Any, served_store: Store):
    call(server, "/v1/models/shapes:predict", {"instances": [image(0)]})
    url = f"http://{server.rest_address}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        page = reply.read().decode()
    version = served_store.live("shapes")
    lines = page.splitlines()
    counted = [line for line in lines if line.startswith(":tensorflow:serving:request_count{")]
    assert any('model_name="shapes",status="OK"' in line for line in counted)
    latency = ':tensorflow:serving:request_latency_bucket{model_name="shapes",API="predict",'
    assert any(line.startswith(latency + 'entrypoint="REST",le="') for line in lines)
    labels = f'{{model_name="shapes",version="{version}",signature="serving_default",status="OK"}}'
    assert any(line.startswith("convoy_requests_total" + labels) for line in lines)
    assert any(line.startswith("convoy_batch_rows_bucket{") for line in lines)


def test_one_connection_carries_several_requests(server: Any):
    connection = http.client.HTTPConnection(server.rest_address, timeout=10)
    for _ in range(3):
        connection.request(
            "POST", "/v1/models/shapes:predict", json.dumps({"instances": [image(1)]})
        )
        assert connection.getresponse().read().startswith(b'{"predictions": ')
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Content-Length": str(1 << 40)}, 413), ({}, 411)],
)
def test_a_body_without_or_beyond_a_length_is_refused(
    server: Any, headers: dict[str, str], status: int
):
    connection = http.client.HTTPConnection(server.rest_address, timeout=10)
    connection.putrequest("POST", "/v1/models/shapes:predict")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == status
    assert "error" in json.loads(reply.read())
    connection.close()


def post(server: Any, body: bytes, encoding: str = "identity") -> tuple[int, Any]:
    """Status and JSON of a predict request for `shapes`."""
    connection = http.client.HTTPConnection(server.rest_address, timeout=10)
    headers = {"Content-Encoding": encoding}
    connection.request("POST", "/v1/models/shapes:predict", body, headers)
    reply = connection.getresponse()
    content = json.loads(reply.read())
    connection.close()
    return reply.status, content


def test_a_compressed_body_is_read(server: Any):
    body = json.dumps({"instances": [image(1)]}).encode()
    status, content = post(server, gzip.compress(body), "gzip")
    assert status == 200
    assert content == post(server, body)[1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"instances": []}', "the body is no gzip data"),
        (gzip.compress(b"{}")[:-6], "one whole gzip stream"),
        (gzip.compress(b"{}") + b"{}", "one whole gzip stream"),
    ],
    ids=["no gzip", "cut short", "followed by more"],  # the header holds the time of day
)
def test_a_body_that_is_not_the_gzip_it_says_is_refused(server: Any, body: bytes, message: str):
    status, content = post(server, body, "gzip")
    assert status == 400
    assert message in content["error"]


def test_a_decompression_bomb_is_refused_before_it_unfolds():
    with pytest.raises(FramingError, match="the limit is 1000"):
        uncompress(gzip.compress(bytes(10_000_000)), limit=1000)


def test_a_bomb_gets_the_status_of_a_large_body(server: Any):
    status, content = post(server, gzip.compress(bytes(Limits.body_bytes + 1), 1), "gzip")
    assert status == 413
    assert "too large uncompressed" in content["error"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"instances": [[]]}', b'{"signature_name": 3}']
)
def test_a_body_that_cannot_be_read_is_counted(server: Any, body: bytes):
    before = refused(server)
    assert post(server, body)[0] == 400
    assert refused(server) == before + 1


def refused(server: Any) -> float:
    name = ':tensorflow:serving:request_count{model_name="shapes",status="INVALID_ARGUMENT"} '
    found = [line for line in server.metrics.page().splitlines() if line.startswith(name)]
    return float(found[0].removeprefix(name)) if found else 0.0


def test_an_unforeseen_error_is_logged_and_hidden_from_no_caller(
    caplog: pytest.LogCaptureFixture,
):
    broken: Any = None  # no predictor at all
    reply = Rest(broken).answer("POST", "/v1/models/m:predict", b'{"instances": [1]}')
    assert reply.status == 500
    assert b"AttributeError" in reply.body
    assert "request failed" in caplog.text


FLOATS = Spec("x:0", predict_pb2.DT_FLOAT, (-1, 2))
STRINGS = Spec("s:0", predict_pb2.DT_STRING, (-1, 2))


def signature(**inputs: Spec) -> Signature:
    return Signature("tensorflow/serving/predict", inputs, {})


def test_rows_of_two_inputs_are_stacked():
    body = {"instances": [{"x": [1, 2], "s": ["a", "b"]}, {"x": [3.5, 4], "s": ["c", "d"]}]}
    arrays = read_inputs(body, signature(x=FLOATS, s=STRINGS))
    assert arrays["x"].dtype == np.float32
    assert arrays["x"].tolist() == [[1, 2], [3.5, 4]]
    assert arrays["s"].tolist() == [[b"a", b"b"], [b"c", b"d"]]


def test_bytes_outputs_are_base64_and_others_text():
    outputs = {"x_bytes": np.array([b"\xff"], object), "x": np.array([b"hi"], object)}
    assert write_outputs(outputs, rows=True) == {
        "predictions": [{"x_bytes": {"b64": "/w=="}, "x": "hi"}]
    }


def test_a_single_output_has_no_name():
    outputs = {"y": np.array([[1.5], [2.5]], np.float32)}
    assert write_outputs(outputs, rows=True) == {"predictions": [[1.5], [2.5]]}
    assert write_outputs(outputs, rows=False) == {"outputs": [[1.5], [2.5]]}


def test_a_shape_is_not_made_before_its_values_are_counted():
    """A list of n texts whose first is a list of n would be n x n pointers."""
    count = 200_000
    body = {"instances": [["a"] * count, *["b"] * count]}
    with pytest.raises(RequestError, match="inconsistent lengths or nesting"):
        read_inputs(body, signature(s=STRINGS))


def test_values_are_counted_before_they_are_made(server: Any):
    limits = replace(server._predictor.limits, json_values=1000)
    rest = Rest(Predictor(server.registry, limits))
    reply = rest.answer("POST", "/v1/models/shapes:predict", b'{"instances":[' + b"[]," * 999)
    assert reply.status == 429
    assert b"2000 values and lists, more than the limit of 1000" in reply.body
