"""TLS, of the server alone and of both sides."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from serving.client import TLS, Client, Options
from serving.errors import ServerUnavailable
from serving.server import ModelServer
from serving.settings import ServerSettings, ServerTLS
from serving.store import Store
from tests.serving.running import settings, version_of


def secured(store: Store, certificates: Path, mutual: bool) -> ServerSettings:
    texts = {name: (certificates / name).read_text() for name in ("server.key", "server.pem")}
    ca = (certificates / "ca.pem").read_text() if mutual else ""
    return settings(store, tls=ServerTLS(texts["server.key"], texts["server.pem"], ca))


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_serves_those_it_should_and_no_others(
    store: Store, classifiers: list[Path], certificates: Path, mutual: bool
):
    version = store.publish("shapes", classifiers[0])
    anonymous = TLS(ca=certificates / "ca.pem")
    known = TLS(certificates / "ca.pem", certificates / "client.key", certificates / "client.pem")
    once = Options(retries=0, timeout=5)
    with ModelServer(secured(store, certificates, mutual)) as server:
        with Client(server.grpc_address, once, known if mutual else anonymous) as client:
            assert version_of(client) == version
        refused = [None, TLS(ca=certificates / "client.pem"), *([anonymous] if mutual else [])]
        for wrong in refused:
            with (
                Client(server.grpc_address, once, wrong) as client,
                pytest.raises(ServerUnavailable),
            ):
                version_of(client)


@pytest.mark.parametrize("mutual", [False, True])
def test_rest_is_behind_the_same_tls(
    store: Store, classifiers: list[Path], certificates: Path, mutual: bool
):
    import ssl

    store.publish("shapes", classifiers[0])
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with ModelServer(secured(store, certificates, mutual)) as server:
        url = f"https://{server.rest_address}/v1/models/shapes"
        if mutual:
            with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
                urllib.request.urlopen(url, context=context, timeout=5)
            context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        with urllib.request.urlopen(url, context=context, timeout=5) as reply:
            assert b"AVAILABLE" in reply.read()
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(url.replace("https", "http"), timeout=5)
