"""The HTTP listener of the REST API: sockets, limits, TLS, and an orderly end."""

import io
import logging
import socket
import threading
import zlib
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving import framing
from serving.access import WANTED
from serving.connections import Patience, Slots
from serving.errors import ConfigError, RequestError
from serving.followed import Followed
from serving.rest import Reply, Rest, failure
from serving.settings import bracketed
from serving.tls import ServerTLS

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0  # between two requests of a connection
HEAD_SECONDS = 10.0  # from a request's first byte to the last of its headers
BODY_SECONDS = 120.0  # 64 MiB at half a MiB a second
SPARE_SECONDS = 2.0  # for the head, on a spare connection
RETRY_SECONDS = 1
LINGER_SECONDS = 1.0
NOTHING = b""


class WebServer:
    """Passes HTTP requests to a Rest. Raises ConfigError when the port is taken."""

    def __init__(
        self,
        host: str,
        port: int,
        rest: Rest,
        max_body: int,
        tls: Followed[ServerTLS] | None = None,
        slots: Slots | None = None,
    ) -> None:
        try:
            self._server = _Server((host.strip("[]"), port), rest, max_body, tls, slots or Slots())
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {bracketed(host)}:{port}: {error.strerror}"
            ) from None
        self.address = f"{bracketed(host)}:{self._server.server_address[1]}"
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
    request_queue_size = 1024  # what arrives in one go waits, and is not turned away

    def __init__(
        self,
        address: tuple[str, int],
        rest: Rest,
        max_body: int,
        tls: Followed[ServerTLS] | None,
        slots: Slots,
    ) -> None:
        self.rest = rest
        self.max_body = max_body
        self.tls = tls
        self.slots = slots
        self.draining = False
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._active = 0
        self._quiet = threading.Condition()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # As HTTPServer has it, without a look-up of the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.slots.enter():
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread can be started
                self.slots.leave()
                self.shutdown_request(request)
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
            self.slots.leave()

    def _secure(self, request: Any) -> Any:
        request.settimeout(HEAD_SECONDS)
        try:
            context = self.tls.current().context if self.tls else None
            return context.wrap_socket(request, server_side=True) if context else request
        except OSError:
            request.close()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection from %s ended in an error", client_address, exc_info=True)

    def count(self, change: int) -> None:
        with self._quiet:
            self._active += change
            self._quiet.notify_all()

    def drain(self, grace: float) -> None:
        self.draining = True
        with self._quiet:
            self._quiet.wait_for(lambda: self._active == 0, grace)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body leave as one
    server: _Server
    default_request_version = "HTTP/1.0"  # of a request that cannot be read: it gets headers too
    request_version = "HTTP/1.1"
    command = path = requestline = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        # A large body is several writes; without this, the last waits for the ACK of the others.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._patience = Patience(self.connection)
        self.rfile = self._reader = io.BufferedReader(self._patience)

    def handle_one_request(self) -> None:
        """Wait for a request's first byte, then read its head against a deadline, and answer it."""
        self.close_connection = True
        if not self._begun():
            return
        spare = self.server.slots.full()
        self._patience.wait(SPARE_SECONDS if spare else HEAD_SECONDS)
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.send_error(414)
            elif self.parse_request():
                self._handle(spare)
        except TimeoutError:
            self._refuse(408, "the request did not arrive in time")

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses, and in JSON as everything else."""
        self._refuse(code, message or self.responses.get(code, ("", ""))[0])

    def _begun(self) -> bool:
        """Whether a request begins, before the connection has been idle for too long."""
        self.server.slots.idle(self.connection)
        self._patience.wait(SPARE_SECONDS if self.server.slots.full() else IDLE_SECONDS)
        try:
            return bool(self._reader.peek(1))
        except (OSError, ValueError):
            return False
        finally:
            self.server.slots.busy()

    def _handle(self, spare: bool) -> None:
        if fault := framing.fault(self.headers):
            self._refuse(400, fault)
        elif spare and not self.server.rest.is_page(self.path):
            self._refuse(503, "too many connections; try again", ("Retry-After", RETRY_SECONDS))
        elif not self.server.rest.admits(self.path, self.headers.get("Authorization", "")):
            self._refuse(401, WANTED, ("WWW-Authenticate", "Bearer"))
        elif self.command == "POST":
            self._post()
        else:
            # A body that nobody reads would be taken for the next request.
            self.close_connection |= spare or framing.announced(self.headers)
            self._answer(NOTHING)

    def _post(self) -> None:
        self._patience.wait(BODY_SECONDS)
        try:
            body = framing.read_body(self._reader, self.headers, self.server.max_body)
            if "gzip" in self.headers.get("Content-Encoding", "").lower():
                body = uncompress(body, self.server.max_body)
        except framing.FramingError as error:
            self._refuse(error.status, str(error))
        except framing.CutOffError:
            self.close_connection = True
        else:
            self._answer(body)

    def _refuse(self, status: int, message: str, *headers: tuple[str, Any]) -> None:
        self.close_connection = True  # a body that was not read would be taken for a request
        body = failure(RequestError("INVALID_ARGUMENT", message)).body
        self._send(Reply(status, body, headers=[(name, str(value)) for name, value in headers]))
        self._linger()

    def _linger(self) -> None:
        """Read what is still coming: a socket closed on unread bytes takes the answer back."""
        self._patience.wait(LINGER_SECONDS)
        with suppress(OSError, ValueError):
            while self._reader.read1(1 << 16):
                pass

    def _answer(self, body: bytes) -> None:
        self.server.count(+1)
        try:
            origin = self.headers.get("Origin", "")
            self._send(self.server.rest.answer(self.command, self.path, body, origin))
        finally:
            self.server.count(-1)

    def _send(self, reply: Reply) -> None:
        self.close_connection |= self.server.draining
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.connection.settimeout(BODY_SECONDS)  # who does not read must not keep the thread
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()


def uncompress(body: bytes, limit: int) -> bytes:
    """Return what gzip data holds; a megabyte can promise a gigabyte, so no more than `limit`.

    Raises FramingError when it is more, no gzip data, or not all of it.
    """
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise framing.FramingError(f"the body is no gzip data: {error}") from None
    if len(content) > limit:
        raise framing.too_large("the body is too large uncompressed", limit)
    if not reader.eof or reader.unused_data:
        raise framing.FramingError("the body must be one whole gzip stream")
    return content
