"""What the REST API refuses, with TensorFlow Serving's codes and words."""

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest

IMAGE = np.zeros((1, 4, 4, 1), np.uint8)


def ask(server: Any, path: str, body: Any = None) -> tuple[int, Any]:
    """Give the status and the JSON of an answer; a body that is no bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{server.rest_address}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            "/v1/models/m:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(m)",
        ),
        (
            "/v1/models/shapes/versions/7:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(shapes, 7)",
        ),
        (
            "/v1/models/shapes/labels/L:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: L",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [1], "signature_name": "S"},
            400,
            'Serving signature name: "S" not found in signature def',
        ),
        ("/v1/models/M", None, 404, "Could not find any versions of model M"),
        (
            "/v1/models/shapes/versions/7",
            None,
            404,
            "Could not find version 7 of model shapes",
        ),
        (
            "/v1/models/shapes:predict",
            {"inputs": {}},
            400,
            "Missing named input: image in 'inputs' object.",
        ),
        (
            "/v1/models/shapes:predict",
            {"inputs": {"A": IMAGE.tolist()}},
            400,
            "Missing named input: image in 'inputs' object.",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [{"A": 1}]},
            400,
            "JSON object: does not have named input: A",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [{}]},
            400,
            "Failed to process element: 0 of 'instances' list. JSON object with keys [] "
            "keys must be equal to: image",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": IMAGE[0].tolist()},
            400,
            "input image has shape [4,4,1], expected [?,4,4,1]",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [["text"]]},
            400,
            "JSON value is not of expected type: uint8",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [[[[256]]]]},
            400,
            "JSON value is out of range for uint8: 0 to 255",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [[1, [2]]]},
            400,
            "Encountered list of inconsistent lengths or nesting",
        ),
        (
            "/v1/models/shapes:predict",
            {},
            400,
            "Request must have either 'instances' or 'inputs', and not both",
        ),
        (
            "/v1/models/shapes:predict",
            {"instances": [1], "signature_name": 3},
            400,
            "'signature_name' key must be a string value.",
        ),
        ("/v1/models/shapes:classify", {"examples": []}, 400, "non-empty list of 'examples'"),
        (
            "/v1/models/shapes:classify",
            {"examples": [{"x": 1}], "signature_name": "S"},
            400,
            "No signature was found with the name: S",
        ),
        ("/v1/models/shapes:explode", {}, 400, "Malformed request: POST /v1/models/shapes:explode"),
        ("/v2/health", None, 400, "Malformed request: GET /v2/health"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/models/shapes:PREDICT", {}, 400, "Malformed request: POST"),
        (
            "/v1/models/shapes/versions/99999999999999999999",
            None,
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (
            "/v1/models/shapes/versions/1760000000000000000:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(shapes, 1760000000000000000)",
        ),
        ("/v1/models/shapes:predict", None, 400, "Malformed request: GET"),
        (
            "/v1/models/shapes:predict",
            {"inputs": {"image_bytes": {"b64": "?"}}, "signature_name": "image_bytes"},
            400,
            "Unable to base64 decode",
        ),
    ],
)
def test_rest_refuses(server: Any, path: str, body: Any, status: int, message: str):
    got, answer = ask(server, path, body)
    assert got == status
    assert list(answer) == ["error"]
    assert message in answer["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_rest_refuses_what_is_no_json_object(server: Any, body: bytes):
    status, answer = ask(server, "/v1/models/shapes:predict", body)
    assert status == 400
    assert answer["error"].startswith("JSON Parse error")
