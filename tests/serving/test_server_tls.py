"""TLS, of the server alone and of both sides."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.client import TLS, Client, Options
from serving.errors import ServerUnavailable
from serving.server import ModelServer
from serving.store import Store
from tests.support.running import settings, version_of


@pytest.fixture(scope="module", params=[False, True])
def mutual(request: pytest.FixtureRequest) -> bool:
    """Whether the server asks for a certificate of its callers."""
    return request.param


@pytest.fixture(scope="module")
def secured(served_store: Store, certificates: Path, mutual: bool) -> Iterator[ModelServer]:
    tls = certificates / ("mutual.ssl" if mutual else "server.ssl")
    with ModelServer(settings(served_store, tls=tls, rest_tls=True)) as server:
        yield server


def test_tls_serves_those_it_should_and_no_others(
    secured: ModelServer, served_store: Store, certificates: Path, mutual: bool
):
    anonymous = TLS(ca=certificates / "ca.pem")
    known = TLS(certificates / "ca.pem", certificates / "client.key", certificates / "client.pem")
    once = Options(retries=0, timeout=5)
    with Client(secured.grpc_address, once, known if mutual else anonymous) as client:
        assert version_of(client) == served_store.live("shapes")
    refused = [None, TLS(ca=certificates / "client.pem"), *([anonymous] if mutual else [])]
    for wrong in refused:
        with (
            Client(secured.grpc_address, once, wrong) as client,
            pytest.raises(ServerUnavailable),
        ):
            version_of(client)


def test_rest_is_behind_the_same_tls_when_asked_for(
    secured: ModelServer, certificates: Path, mutual: bool
):
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    url = f"https://{secured.rest_address}/v1/models/shapes"
    if mutual:
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            urllib.request.urlopen(url, context=context, timeout=5)
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    with urllib.request.urlopen(url, context=context, timeout=5) as reply:
        assert b"AVAILABLE" in reply.read()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(url.replace("https", "http"), timeout=5)


def test_tls_covers_grpc_alone_by_default(served_store: Store, certificates: Path):
    tls = certificates / "server.ssl"
    with ModelServer(settings(served_store, tls=tls)) as server:
        url = f"http://{server.rest_address}/v1/models/shapes"
        with urllib.request.urlopen(url, timeout=5) as reply:
            assert b"AVAILABLE" in reply.read()


def test_a_new_certificate_is_used_without_a_restart_and_a_broken_file_is_not(
    served_store: Store, certificates: Path, tmp_path: Path
):
    file = tmp_path / "ssl"
    file.write_text((certificates / "server.ssl").read_text())
    new = make_certificate(datetime.now(UTC) + timedelta(days=1))
    with ModelServer(settings(served_store, tls=file, rest_tls=True)) as server:
        addresses = (server.grpc_address, server.rest_address)
        first = {certificate_at(address) for address in addresses}
        file.write_text("server_key: broken")
        assert {certificate_at(address) for address in addresses} == first
        file.write_text(new.config)
        assert {certificate_at(address) for address in addresses} == {new.certificate}


def test_an_expired_certificate_is_said(served_store: Store, tmp_path: Path):
    file = tmp_path / "ssl"
    file.write_text(make_certificate(datetime.now(UTC) - timedelta(days=1)).config)
    with ModelServer(settings(served_store, tls=file)) as server:
        url = f"http://{server.rest_address}/readyz"
        told = json.loads(urllib.request.urlopen(url, timeout=5).read())
    assert told["problems"]["certificate"].startswith("the certificate of CN=here expired on ")


@dataclass(frozen=True)
class Made:
    """A certificate (PEM), and the SSLConfig that serves it."""

    certificate: str
    config: str


def make_certificate(end: datetime) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(end - timedelta(days=9)).not_valid_after(end)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret = key.private_bytes(serialization.Encoding.PEM, *plain).decode()
    return Made(pem, f"server_key: {json.dumps(secret)} server_cert: {json.dumps(pem)}")


def certificate_at(address: str) -> str:
    host, _, port = address.partition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10)
