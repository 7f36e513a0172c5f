"""Where the body of an HTTP/1.1 request ends (RFC 9112, section 6), and what of it is refused.

Two servers in a row that see different ends take a part of one request for another (smuggling), so
whatever could be read in two ways is refused and the connection closed.
"""

import re
from email.message import Message
from io import BufferedIOBase

LINE_BYTES = 256  # of a chunk's size with its extensions, or of a trailer
TRAILERS = 32

_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")


class FramingError(Exception):
    """A body without a certain end. `status`: what its sender is told."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class CutOffError(Exception):
    """The sender went away in the middle of the body."""


def fault(headers: Message) -> str:
    """Return what is wrong with the headers; empty for nothing.

    Python's parser takes a line without a colon for the end of the headers, and a blank before the
    colon for a part of the name: another server would see the headers that so disappear.
    """
    if headers.defects or headers.get_payload():
        return "every header is a line with a colon"
    if any(re.search(r"\s", name) for name in headers):
        return "a header's name and its colon stand together"
    return ""


def announced(headers: Message) -> bool:
    """Return whether a request says that a body follows it."""
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0").strip() != "0"


def read_body(file: BufferedIOBase, headers: Message, limit: int) -> bytes:
    """Return the body of a request. Raises FramingError, or CutOffError where it ends too early."""
    lengths = headers.get_all("Content-Length", [])
    coding = headers.get_all("Transfer-Encoding", [])
    if coding:
        if lengths:
            raise FramingError("a request has a Content-Length or a Transfer-Encoding, not both")
        if [value.strip().lower() for value in coding] != ["chunked"]:
            raise FramingError("the only Transfer-Encoding here is chunked", 501)
        return _read_chunks(file, limit)
    if not lengths:
        raise FramingError("a request body needs a Content-Length or chunks", 411)
    if len(lengths) > 1:
        raise FramingError("a request has one Content-Length")
    return _read_length(file, lengths[0].strip(), limit)


def _read_length(file: BufferedIOBase, text: str, limit: int) -> bytes:
    if not (text.isascii() and text.isdecimal()):
        raise FramingError(f"Content-Length must be a number, got {text[:40]!r}")
    if len(text) > 15 or int(text) > limit:
        raise too_large(f"the body of {text[:40]} bytes is too large", limit)
    return _exactly(file, int(text))


def _read_chunks(file: BufferedIOBase, limit: int) -> bytes:
    body = bytearray()
    while size := _chunk_size(_line(file)):
        if len(body) + size > limit:
            raise too_large("the body is too large", limit)
        body += _exactly(file, size)
        if _line(file):
            raise FramingError("a chunk must end with its line")
    for _ in range(TRAILERS):
        if not _line(file):
            return bytes(body)
    raise FramingError(f"more than {TRAILERS} trailers")


def _chunk_size(line: bytes) -> int:
    found = _SIZE.fullmatch(line)
    if not found:
        raise FramingError("a chunk must begin with its size")
    return int(found[1], 16)


def _line(file: BufferedIOBase) -> bytes:
    line = file.readline(LINE_BYTES)
    if not line:
        raise CutOffError
    if not line.endswith(b"\r\n"):
        raise FramingError("a line of a chunked body must end with CR LF, and soon")
    return line[:-2]


def _exactly(file: BufferedIOBase, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise CutOffError
    return content


def too_large(what: str, limit: int) -> FramingError:
    """Return the error of a body beyond the limit, which is in bytes."""
    return FramingError(f"{what}; the limit is {limit}", 413)
