"""Numbers, texts and objects of a REST body mean what they mean to TensorFlow Serving."""

import base64
import http.client
import json
from typing import Any

import numpy as np
import pytest

from serving import json_body
from serving.errors import RequestError
from serving.json_examples import read_examples
from serving.json_tensors import shortest
from serving.rest import CORS, Rest

PREDICT = "/v1/models/odd:predict"


def ask(server: Any, body: Any, path: str = PREDICT, method: str = "POST") -> tuple[int, Any]:
    """Return the status and the JSON of an answer, or its bytes where they are none."""
    connection = http.client.HTTPConnection(server.rest_address, timeout=10)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, data)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    try:
        return reply.status, json.loads(content)
    except ValueError:
        return reply.status, content


def predictions(server: Any, body: Any) -> Any:
    status, content = ask(server, body)
    assert status == 200, content
    return content["predictions"]


def test_floats_are_printed_as_the_shortest_text_of_their_type(odd_server: Any):
    assert predictions(odd_server, {"instances": [0.2, 1, 1e10]}) == [0.6, 3.0, 3e10]
    status, content = ask(
        odd_server,
        {"signature_name": "regress", "examples": [{"x": 0.1}]},
        "/v1/models/odd:regress",
    )
    assert (status, content) == (200, {"results": [0.2]})
    _, content = ask(
        odd_server,
        {"signature_name": "classify", "examples": [{"x": 0.3}]},
        "/v1/models/odd:classify",
    )
    assert content == {"results": [[["a", 0.3], ["b", 0.7]]]}


def test_the_shortest_text_reads_back_as_the_same_float():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    floats = bits.view(np.float32)
    floats = floats[np.isfinite(floats)]
    found = shortest(floats)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found.astype(np.float32), floats)
    assert max(map(digits, found.tolist())) <= 9
    assert shortest(np.array([[0.1]], np.float16)).tolist() == [[0.1]]


def digits(value: float) -> int:
    return len(repr(abs(value)).partition("e")[0].replace(".", "").strip("0"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"instances": [NaN, Infinity, -Infinity]}', ["NaN", "Infinity", "-Infinity"]),
        ('{"instances": [Inf, -Inf]}', ["Infinity", "-Infinity"]),
        ('{"instances": [1]} xyz', ["3.0"]),
        ('\ufeff{"instances": [1]}', ["3.0"]),
        ('{"instances": [1], "instances": [2]}', ["3.0"]),
        ('{"instances": [1e39]}', ["Infinity"]),  # too large for a float32 alone
        ('{"instances": [1e-400]}', ["0.0"]),
        ('{"instances": [100000000000000000000000]}', ["3e+23"]),
    ],
)
def test_what_rapidjson_takes_is_taken(odd_server: Any, text: str, expected: list[str]):
    found = predictions(odd_server, text.encode())
    assert [json.dumps(value) for value in found] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"instances": [1e400]}', "Number too big to be stored in double"),
        ('{"instances": [-1E+999]}', "Number too big to be stored in double"),
        ('{"instances": [%s]}' % ("9" * 400), "Number too big to be stored in double"),
        ('{"instances": [1, true]}', "not of expected type: float"),
        ('{"instances": [[1.5, false]]}', "not of expected type: float"),
        ('{"instances": [true]}', "not of expected type: float"),
        ('{"instances": [null]}', "not of expected type: float"),
        ('{"instances": ["1"]}', "not of expected type: float"),
        ('{"signature_name": null, "instances": [1]}', "must be a string value"),
        ('{"signature_name": 0, "instances": [1]}', "must be a string value"),
        ('{"signature_name": "total", "instances": [1]}', "Tensor name: y has no shape"),
        (
            '{"signature_name": "inconsistent", "instances": [1]}',
            "Tensor name: b has inconsistent batch size: 2 expecting: 1",
        ),
        ('{"signature_name": "int64", "instances": [9223372036854775808]}', "out of range"),
        ('{"signature_name": "int64", "instances": [1.0]}', "not of expected type: int64"),
        ('{"signature_name": "logical", "instances": [1]}', "not of expected type: bool"),
        (
            '{"signature_name": "bfloat16", "instances": [1]}',
            "Failed to write JSON value for tensor type: bfloat16",
        ),
        (
            '{"signature_name": "complex", "instances": [1]}',
            "Failed to write JSON value for tensor type: complex64",
        ),
        ('{"signature_name": "two", "inputs": {"a": [[1, 2]]}}', "Missing named input: b"),
        ("", "JSON Parse error"),
        ("xyz", "JSON Parse error"),
        ('{"instances": [nan]}', "JSON Parse error"),
    ],
)
def test_what_tensorflow_serving_refuses_is_refused(odd_server: Any, text: str, message: str):
    status, content = ask(odd_server, text.encode())
    assert status == 400
    assert message in content["error"]


def test_a_type_that_json_has_no_words_for_is_not_implemented(odd_server: Any):
    status, content = ask(odd_server, {"signature_name": "bfloat16_in", "instances": [1]})
    assert status == 501
    assert content["error"].endswith("to type: bfloat16")


def test_columns_that_no_input_has_do_not_count(odd_server: Any):
    body = {"signature_name": "two", "inputs": {"a": [[1, 2]], "b": [3], "c": 4}}
    assert ask(odd_server, body) == (200, {"outputs": {"sum": [6.0], "double": [6]}})


def test_a_scalar_is_answered_in_the_column_format(odd_server: Any):
    body = {"signature_name": "total", "inputs": [1, 2]}
    assert ask(odd_server, body) == (200, {"outputs": 3.0})


@pytest.mark.parametrize("text", ["YWFh\nYWFh\n", "YWFhYWFh", " YWFh YWFh "])
def test_base64_may_come_in_lines(odd_server: Any, text: str):
    body = {"signature_name": "text", "instances": [{"b64": text}]}
    assert predictions(odd_server, body)[0]["y"] == "aaaaaa"


@pytest.mark.parametrize(("text", "content"), [("YQ", "a"), ("YWE", "aa"), ("YQ==", "a"), ("", "")])
def test_base64_may_come_without_padding(odd_server: Any, text: str, content: str):
    body = {"signature_name": "text", "instances": [{"b64": text}]}
    assert predictions(odd_server, body)[0]["y"] == content


@pytest.mark.parametrize("text", ["*", "YQ=", "Y", "-_-_", "YQ===", "é"])
def test_what_is_no_base64_is_refused(odd_server: Any, text: str):
    status, content = ask(odd_server, {"signature_name": "text", "instances": [{"b64": text}]})
    assert status == 400
    assert "Unable to base64 decode" in content["error"]


def test_bytes_that_are_no_text_leave_as_they_are(odd_server: Any):
    value = base64.b64encode(b"\xff\x00a").decode()
    body = {"signature_name": "text", "inputs": [{"b64": value}]}
    status, content = ask(odd_server, body)
    assert status == 200
    assert b'"\xff\\u0000a"' in content
    assert value.encode() in content


def feature(*values: Any) -> Any:
    source = read_examples({"examples": [{"x": list(values)}]})
    return source.example_list.examples[0].features.feature["x"]


def test_a_feature_takes_its_kind_from_its_values():
    assert feature().WhichOneof("kind") is None  # so that a default counts
    assert list(feature(1, True).int64_list.value) == [1, 1]
    assert list(feature(0.5, 2.0).float_list.value) == [0.5, 2]
    assert feature(10**23).WhichOneof("kind") == "float_list"
    assert list(feature("a", {"b64": "Yg"}).bytes_list.value) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2**63], "Feature: x has uint64_t element. Only int64_t is supported."),
        ([1, 0.5], "Unexpected element type in feature: x expecting type: int64"),
        ([None], "Feature: x has element with unexpected JSON type: Null"),
        ([[1]], "Feature: x has element with unexpected JSON type: Array"),
    ],
)
def test_a_feature_of_mixed_or_odd_values_is_refused(values: list[Any], message: str):
    with pytest.raises(RequestError) as caught:
        feature(*values)
    assert caught.value.message == message


def test_an_empty_feature_leaves_the_default_to_count(odd_server: Any):
    body = {"signature_name": "classify", "examples": [{"x": []}]}
    found = ask(odd_server, body, "/v1/models/odd:classify")
    assert found == (200, {"results": [[["a", 0.5], ["b", 0.5]]]})


def test_text_between_quotes_is_no_number():
    body = json_body.parse(b'{"a": "Inf 1e999", "b": Inf, "c": "\\"Inf"}', 9)
    assert body == {"a": "Inf 1e999", "b": float("inf"), "c": '"Inf'}


@pytest.mark.parametrize(
    "path",
    [
        "/V1/MODELS/odd",
        "/v1/models/%6Fdd",
        "/v1/models/odd/versions/0001",
        "/v1/models/odd/labels/nobodys",
        "http://elsewhere:80/v1/models/odd",
        "/v1/models/odd?x=1",
    ],
)
def test_a_path_in_any_spelling_finds_the_model(odd_server: Any, path: str):
    status, content = ask(odd_server, None, path, "GET")
    assert status == 200
    assert content["model_version_status"][0]["state"] == "AVAILABLE"


def test_pages_of_other_origins_may_call_only_when_allowed():
    nobody: Any = None
    asked = ("OPTIONS", PREDICT, b"", "https://page.example")
    assert Rest(nobody).answer(*asked).status == 400
    open_to_all = Rest(nobody, cors=True)
    allowed = open_to_all.answer(*asked)
    assert (allowed.status, allowed.headers) == (200, CORS)
    assert open_to_all.answer("OPTIONS", PREDICT, b"").status == 400  # no browser
    assert open_to_all.answer("GET", "/healthz", b"").headers == CORS
