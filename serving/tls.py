"""A server's key and certificates, which are read again when their file changes."""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509

from serving.errors import ConfigError
from serving.followed import Followed
from serving.model_settings import read_file
from serving.wire import config_pb2


@dataclass(frozen=True)
class ServerTLS:
    """PEM text: the server's key and certificate, and who signs those of its callers.

    With `ca`, a caller without a certificate signed by it is refused (mutual TLS). Raises
    ConfigError when key and certificate are none, or do not belong together.
    """

    key: str
    certificate: str
    ca: str = ""

    def __post_init__(self) -> None:
        self.context  # noqa: B018  # a wrong file is refused before it is in force

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What secures a connection of Python's own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            with tempfile.TemporaryDirectory() as directory:  # load_cert_chain reads files only
                key, certificate = Path(directory, "key"), Path(directory, "certificate")
                key.touch(0o600)
                key.write_text(self.key)
                certificate.write_text(self.certificate)
                context.load_cert_chain(certificate, key)
            if self.ca:
                context.load_verify_locations(cadata=self.ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"server_key, server_cert or custom_ca: {error}") from None
        return context

    @property
    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """What secures a connection of gRPC's."""
        return grpc.ssl_server_certificate_configuration(
            [(self.key.encode(), self.certificate.encode())], self.ca.encode() or None
        )

    def fault(self, now: datetime | None = None) -> str:
        """Return what keeps callers from trusting the certificate by its dates; "" for nothing."""
        now = now or datetime.now(UTC)
        for certificate in x509.load_pem_x509_certificates(self.certificate.encode()):
            end, start = certificate.not_valid_after_utc, certificate.not_valid_before_utc
            name = certificate.subject.rfc4514_string()
            if end < now:
                return f"the certificate of {name} expired on {end:%Y-%m-%d %H:%M} UTC"
            if start > now:
                return f"the certificate of {name} is not valid before {start:%Y-%m-%d %H:%M} UTC"
        return ""


def read_tls(path: Path) -> ServerTLS:
    """Keys and certificates of an SSLConfig file. Raises ConfigError."""
    config = read_file(path, config_pb2.SSLConfig())
    if not config.server_key or not config.server_cert:
        raise ConfigError(f"{path} must have server_key and server_cert, the text of PEM files")
    if config.client_verify and not config.custom_ca:
        raise ConfigError(f"{path} asks for client_verify, which needs custom_ca to verify with")
    try:
        return ServerTLS(
            config.server_key, config.server_cert, config.custom_ca if config.client_verify else ""
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def credentials(tls: Followed[ServerTLS]) -> grpc.ServerCredentials:
    """Return gRPC's credentials; each handshake looks whether the file has changed.

    Whether callers need a certificate is settled by the first content.
    """
    told = tls.current()

    def newest() -> Any:
        nonlocal told
        found = tls.current()
        changed, told = found is not told, found
        return found.configuration if changed else None

    return grpc.dynamic_ssl_server_credentials(told.configuration, newest, bool(told.ca))
