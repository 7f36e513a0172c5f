"""TLS, of the server alone and of both sides."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.client import TLS, Client, Options
from serving.errors import ServerUnavailable
from serving.server import ModelServer
from serving.settings import ServerTLS
from serving.store import Store
from tests.support.running import settings, version_of


@pytest.fixture(scope="module", params=[False, True])
def mutual(request: pytest.FixtureRequest) -> bool:
    """Whether the server asks for a certificate of its callers."""
    return request.param


@pytest.fixture(scope="module")
def secured(served_store: Store, certificates: Path, mutual: bool) -> Iterator[ModelServer]:
    texts = {name: (certificates / name).read_text() for name in ("server.key", "server.pem")}
    ca = (certificates / "ca.pem").read_text() if mutual else ""
    tls = ServerTLS(texts["server.key"], texts["server.pem"], ca)
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
    key, certificate = ((certificates / f"server.{kind}").read_text() for kind in ("key", "pem"))
    with ModelServer(settings(served_store, tls=ServerTLS(key, certificate))) as server:
        url = f"http://{server.rest_address}/v1/models/shapes"
        with urllib.request.urlopen(url, timeout=5) as reply:
            assert b"AVAILABLE" in reply.read()
