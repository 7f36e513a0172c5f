"""A client's connection: blocking with `grpc`, awaited with `grpc.aio`; both open one alike."""

from types import ModuleType
from typing import Any

from serving.exchange import RESPONSES
from serving.options import TLS, Options


def connect(grpc: ModuleType, address: str, options: Options, tls: TLS | None) -> Any:
    """Open a channel of that module; it connects when it is first used.

    Raises OSError when a file of `tls` is missing.
    """
    if tls is None:
        return grpc.insecure_channel(address, options.channel())
    return grpc.secure_channel(address, tls.credentials(), options.channel())


def methods(channel: Any) -> dict[str, Any]:
    """What can be called through a channel, by the method's full name."""
    return {
        name: channel.unary_unary(
            name, lambda request: request.SerializeToString(), response.FromString
        )
        for name, response in RESPONSES.items()
    }
