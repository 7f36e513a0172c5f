"""Who may call: bearer tokens with names, and who may change what a server serves."""

import hashlib
import hmac
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc

from serving.errors import ConfigError
from serving.followed import Followed

HEALTH = "/grpc.health.v1.Health/"  # probes carry no token
WANTED = "this server wants a token: send the header Authorization: Bearer TOKEN"
RELOAD_IS_OFF = (
    "HandleReloadConfigRequest is off. Start the server with --allow_config_reload, or call it "
    "through its Unix socket, or with a client certificate"
)
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64})\s+(?P<digest>[0-9a-f]{64})")
Tokens = Mapping[str, bytes]  # SHA-256 of each caller's token


def read_tokens(path: Path) -> Tokens:
    """Read lines of a caller's name and the SHA-256 of its token in hex. Raises ConfigError."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{path} can be written by everybody: chmod o-w it")
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        told = _LINE.fullmatch(line)
        if told is None or told["name"] in found:
            raise ConfigError(
                f"{path}, line {number}: expected a name, not named before, and the SHA-256 of a "
                "token in hex; convoy models token NAME makes one"
            )
        found[told["name"]] = bytes.fromhex(told["digest"])
    if not found:
        raise ConfigError(f"{path} names no caller, so nobody could call")
    return found


def digest(token: str) -> str:
    """Return what a tokens file holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Guard(grpc.ServerInterceptor):
    """Lets calls through whose token is known, and counts them by the caller's name."""

    def __init__(self, tokens: Followed[Tokens], count: Callable[[str, str], None]) -> None:
        self._tokens, self._count = tokens, count

    def intercept_service(self, continuation: Callable[[Any], Any], call: Any) -> Any:
        """Return the handler of a call, or one that refuses it."""
        handler = continuation(call)
        if handler is None or call.method.startswith(HEALTH):
            return handler
        header = next((v for k, v in call.invocation_metadata if k == "authorization"), "")
        return handler if self.admits(header, "GRPC") else _REFUSED

    def admits(self, header: str, entrypoint: str) -> bool:
        """Return whether an Authorization header names a known token.

        All digests are compared, each in constant time: how long it takes says nothing of them.
        """
        scheme, _, token = header.partition(" ")
        sent = bytes.fromhex(digest(token.strip()))
        tokens = self._tokens.current()
        known = [name for name, wanted in tokens.items() if hmac.compare_digest(sent, wanted)]
        admitted = bool(known) and scheme.lower() == "bearer"
        self._count(known[0] if admitted else "", entrypoint)
        return admitted


def may_reload(allowed: bool, context: grpc.ServicerContext) -> bool:
    """Return whether a call may change what is served: by the flag, or by where it comes from."""
    return bool(allowed or context.peer().startswith("unix:") or context.peer_identities())


def _refuse(messages: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, WANTED)


_REFUSED: Any = grpc.stream_stream_rpc_method_handler(_refuse)  # which waits for no message
