"""How a client behaves and whom it trusts."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import grpc


@dataclass(frozen=True)
class TLS:
    """PEM files. `ca`: who signed the server's certificate (None: the system's authorities).

    `key` and `certificate` prove who is calling where the server asks for it (mutual TLS).
    """

    ca: str | PathLike[str] | None = None
    key: str | PathLike[str] | None = None
    certificate: str | PathLike[str] | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError when one is missing."""
        paths = (self.ca, self.key, self.certificate)
        return grpc.ssl_channel_credentials(*(Path(p).read_bytes() if p else None for p in paths))


@dataclass(frozen=True)
class Options:
    """How a client behaves. `timeout`: seconds for one request, its retries included.

    An input longer than `batch_size` is sent as several requests, `concurrency` of them at a time.
    """

    timeout: float = 10.0
    retries: int = 6  # after UNAVAILABLE only; their pauses add up to 3 s on average
    batch_size: int = 32  # larger batches gain nothing on a CPU and cost latency
    concurrency: int = 4
    max_message_bytes: int = 64 << 20  # gRPC's own limit of 4 MiB is 27 images of 224 x 224

    def __post_init__(self) -> None:
        for name in ("timeout", "batch_size", "concurrency", "max_message_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, got {self.retries}")

    def channel(self) -> list[tuple[str, int]]:
        """gRPC's channel arguments."""
        return [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            # The channel's own back-off after a refused connection starts at 1 s and would hide a
            # server that has come back from our retries.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_retries", 0),  # one layer of retries, not two
        ]
