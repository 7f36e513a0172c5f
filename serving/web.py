"""The HTTP listener of the REST API: sockets, limits, TLS, and an orderly end."""

import logging
import socket
import ssl
import tempfile
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from serving.errors import ConfigError, RequestError
from serving.rest import Reply, failure
from serving.settings import ServerTLS

log = logging.getLogger(__name__)

Answer = Callable[[str, str, bytes], Reply]  # method, path, body

IDLE_SECONDS = 60  # a connection that says nothing for so long is closed
MAX_CONNECTIONS = 256


class WebServer:
    """Passes HTTP requests to `answer`. Raises ConfigError when the port is taken."""

    def __init__(
        self, host: str, port: int, answer: Answer, max_body: int, tls: ServerTLS | None = None
    ) -> None:
        try:
            self._server = _Server((host, port), answer, max_body, tls)
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="convoy-rest", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Accept nothing more and wait up to `grace` seconds for the requests under way."""
        self._server.shutdown()
        self._server.server_close()
        self._server.drain(grace)


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # idle connections must not hold up the end of the process
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], answer: Answer, max_body: int, tls: ServerTLS | None
    ) -> None:
        self.answer = answer
        self.max_body = max_body
        self.tls = _context(tls) if tls else None
        self.draining = False
        self._active = 0
        self._idle = threading.Condition()
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            # Here and not in the accepting thread, which a slow handshake would hold up.
            secured = self._secure(request) if self.tls else request
            super().process_request_thread(secured, client_address)
        except OSError:
            self.handle_error(request, client_address)
        finally:
            self._slots.release()

    def _secure(self, request: Any) -> Any:
        request.settimeout(IDLE_SECONDS)
        try:
            return self.tls.wrap_socket(request, server_side=True) if self.tls else request
        except OSError:
            request.close()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection from %s ended in an error", client_address, exc_info=True)

    def count(self, change: int) -> None:
        with self._idle:
            self._active += change
            self._idle.notify_all()

    def drain(self, grace: float) -> None:
        self.draining = True
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0, grace)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:  # noqa: N802
        # A body that nobody reads would be taken for the next request.
        self.close_connection |= "Content-Length" in self.headers
        self._answer(b"")

    def do_POST(self) -> None:  # noqa: N802
        length = self._length()
        if length is None:
            return
        body = self.rfile.read(length)
        if "gzip" in self.headers.get("Content-Encoding", "").lower():
            self._answer_compressed(body)
        else:
            self._answer(body)

    def setup(self) -> None:
        super().setup()
        # Head and body are two writes; without this, the second waits for the first one's ACK.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def _length(self) -> int | None:
        """The body's length; None when the request was refused for it."""
        text = self.headers.get("Content-Length", "")
        if not text.isdecimal():
            self._refuse(411, "a request body needs a Content-Length")
            return None
        if int(text) > self.server.max_body:
            limit = f"the limit is {self.server.max_body}"
            self._refuse(413, f"the body of {text} bytes is too large; {limit}")
            return None
        return int(text)

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # a body that was not read would be taken for a request
        body = failure(RequestError("INVALID_ARGUMENT", message)).body
        self._send(Reply(status, body))

    def _answer_compressed(self, body: bytes) -> None:
        limit = self.server.max_body
        try:
            content = uncompress(body, limit)
        except ValueError as error:
            self._refuse(400, str(error))
        else:
            if len(content) > limit:
                self._refuse(413, f"the body is too large uncompressed; the limit is {limit}")
            else:
                self._answer(content)

    def _answer(self, body: bytes) -> None:
        self.server.count(+1)
        try:
            self._send(self.server.answer(self.command, self.path, body))
        finally:
            self.server.count(-1)

    def _send(self, reply: Reply) -> None:
        self.close_connection |= self.server.draining
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)


def uncompress(body: bytes, limit: int) -> bytes:
    """What gzip data holds, cut off at `limit` + 1 bytes: a megabyte can promise a gigabyte.

    Raises ValueError when it is no gzip data, or not all of it.
    """
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise ValueError(f"the body is no gzip data: {error}") from None
    if len(content) <= limit and (not reader.eof or reader.unused_data):
        raise ValueError("the body must be one whole gzip stream")
    return content


def _context(tls: ServerTLS) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:  # load_cert_chain reads files only
        key, certificate = Path(directory, "key"), Path(directory, "certificate")
        key.touch(0o600)
        key.write_text(tls.key)
        certificate.write_text(tls.certificate)
        context.load_cert_chain(certificate, key)
    if tls.ca:
        context.load_verify_locations(cadata=tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
