"""Where a request ends is never in doubt, and whatever is refused is refused in JSON."""

import json
import re
import socket
from typing import Any

import pytest

BODY = b'{"instances":[1.5]}'
ANSWER = {"predictions": [4.5]}
POST = b"POST /v1/models/odd:predict HTTP/1.1\r\nHost: a\r\n"
SECOND = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def exchange(server: Any, *parts: bytes, half_close: bool = False) -> list[tuple[int, bytes]]:
    """Send bytes and return status and body of every answer until the server closes."""
    host, _, port = server.rest_address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(1 << 16):
            received += chunk
    heads = re.finditer(rb"HTTP/1\.[01] (\d+) .*?\r\n\r\n", received, re.DOTALL)
    places = [(int(head[1]), head.start(), head.end()) for head in heads]
    ends = [*[start for _, start, _ in places][1:], len(received)][: len(places)]
    return [
        (status, received[body:end]) for (status, _, body), end in zip(places, ends, strict=True)
    ]


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


CLOSE, CHUNKED = b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "body",
    [
        chunked(BODY),
        chunked(BODY[:5], BODY[5:]),
        b"13;name=value\r\n" + BODY + b"\r\n000\r\nTrailer: x\r\n\r\n",
    ],
)
def test_a_body_in_chunks_is_read(odd_server: Any, body: bytes):
    ((status, content),) = exchange(odd_server, POST + CLOSE + CHUNKED + b"\r\n", body)
    assert (status, json.loads(content)) == (200, ANSWER)


def test_a_connection_goes_on_after_chunks(odd_server: Any):
    one = POST + CHUNKED + b"\r\n" + chunked(BODY)
    answers = exchange(odd_server, one, one, SECOND, half_close=True)
    assert [status for status, _ in answers] == [200, 200, 200]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (b"Content-Length: 19\r\nContent-Length: 19\r\n", BODY, 400),
        (b"Content-Length: 19\r\nContent-Length: 53\r\n", BODY, 400),
        (b"Content-Length: 19\r\n" + CHUNKED, BODY, 400),
        (b"Content-Length: 19, 19\r\n", BODY, 400),
        (b"Content-Length: +19\r\n", BODY, 400),
        (b"Content-Length: \xd9\xa3\r\n", BODY, 400),
        (b"Content-Length : 19\r\n", BODY, 400),
        (b"no colon\r\nContent-Length: 19\r\n", BODY, 400),
        (b"Transfer-Encoding: gzip, chunked\r\n", BODY, 501),
        (CHUNKED + CHUNKED, chunked(BODY), 501),
        (CHUNKED, b"xyz\r\n", 400),
        (CHUNKED, b"5\r\nabcdefgh\r\n", 400),
        (CHUNKED, b"5\nabcde\n0\n\n", 400),
        (CHUNKED, b"-5\r\n", 400),
        (CHUNKED, b"fffffffff\r\n", 413),
        (CHUNKED, b"0\r\n" + b"T: x\r\n" * 40, 400),
        (b"", BODY, 411),
    ],
)
def test_a_body_without_a_certain_end_is_refused_and_the_connection_closed(
    odd_server: Any, headers: bytes, body: bytes, status: int
):
    ((got, content),) = exchange(odd_server, POST + headers + b"\r\n", body + SECOND)
    assert got == status
    assert list(json.loads(content)) == ["error"]


@pytest.mark.parametrize("headers", [CHUNKED, b"Content-Length: 5\r\n"])
def test_a_body_that_nobody_reads_is_no_second_request(odd_server: Any, headers: bytes):
    get = b"GET /v1/models/odd HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n"
    answers = exchange(odd_server, get + SECOND)
    assert [status for status, _ in answers] == [200]


@pytest.mark.parametrize(
    ("headers", "body"), [(b"Content-Length: 500\r\n", BODY), (CHUNKED, b"ff\r\n" + BODY)]
)
def test_a_body_that_is_cut_off_is_not_answered(odd_server: Any, headers: bytes, body: bytes):
    assert exchange(odd_server, POST + headers + b"\r\n" + body, half_close=True) == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"PUT /v1/models/odd:predict HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"OPTIONS /v1/models/odd HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"BREW /v1/models/odd HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_every_refusal_is_json(odd_server: Any, request_: bytes, status: int):
    ((got, content),) = exchange(odd_server, request_)
    assert got == status
    assert list(json.loads(content)) == ["error"]


@pytest.mark.parametrize(("path", "status"), [(b"/healthz", 200), (b"/v1/models/odd", 400)])
def test_head_has_a_head_alone(odd_server: Any, path: bytes, status: int):
    """A page's as GET has it; of the API, TensorFlow Serving knows GET and POST."""
    head = b"HEAD " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    answers = exchange(odd_server, head + SECOND, half_close=True)
    assert answers[0] == (status, b"")
    assert json.loads(answers[1][1]) == {"status": "alive"}
