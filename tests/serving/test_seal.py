"""Who signed a version can be told, and a server that requires it serves nothing else."""

import logging
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from serving import flags, seal
from serving.client import Client
from serving.errors import ConfigError, ModelNotFound, StoreError
from serving.manifest import MANIFEST, SIGNATURE
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings, of_store
from serving.store import Store
from serving.version import Retries
from tests.support.waiting import until

Shell = Callable[..., Path]
IMAGE = np.zeros((1, 4, 4, 1), np.uint8)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A pair of keys: the private and the public one."""
    return seal.generate(tmp_path / "keys")


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Store:
    """A store that signs what is published in it."""
    return Store(tmp_path / "models", signer=seal.read_signer(keys[0]))


def test_only_its_owner_can_read_a_private_key(keys: tuple[Path, Path]):
    private, public = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    with pytest.raises(ConfigError, match=r"signing_key.pem is there already"):
        seal.generate(private.parent)


def test_what_is_published_is_signed_whole(signed: Store, shell: Shell, keys: tuple[Path, Path]):
    path = signed.path("digits", signed.publish("digits", shell()))
    signed.verify("digits", int(path.name))  # the manifest does not miss the signature
    seal.read_verifier(keys[1]).verify(path)
    public = pem.load_pem_public_key(keys[1].read_bytes())
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify((path / SIGNATURE).read_bytes(), (path / MANIFEST).read_bytes())
    assert stat.S_IMODE((path / SIGNATURE).stat().st_mode) == 0o644


def test_a_signature_goes_along_to_another_store(
    signed: Store, shell: Shell, keys: tuple[Path, Path], tmp_path: Path
):
    path = signed.path("digits", signed.publish("digits", shell()))
    other = Store(tmp_path / "production")
    seal.read_verifier(keys[1]).verify(other.path("digits", other.publish("digits", path)))


def test_a_changed_manifest_a_changed_file_and_a_changed_signature_are_found(
    signed: Store, shell: Shell, keys: tuple[Path, Path]
):
    verifier = seal.read_verifier(keys[1])
    version = signed.publish("digits", shell())
    path = signed.path("digits", version)
    (path / "saved_model.pb").write_text("other")
    verifier.verify(path)  # the signature covers the manifest,
    with pytest.raises(StoreError, match="changed after the export"):
        signed.verify("digits", version)  # and the manifest the file
    for name in (MANIFEST, SIGNATURE):
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(StoreError, match="signed with another key than .*public_key.pem, or"):
            verifier.verify(path)
        (path / name).write_bytes(whole)
    (path / SIGNATURE).unlink()
    with pytest.raises(StoreError, match=r"is not signed: it has no assets.extra/manifest.sig"):
        verifier.verify(path)
    (path / MANIFEST).unlink()
    with pytest.raises(StoreError, match="so nothing in it can be signed"):
        verifier.verify(path)


def test_another_key_is_not_trusted_and_two_can_be(
    store: Store, shell: Shell, keys: tuple[Path, Path], tmp_path: Path
):
    new_private, new_public = seal.generate(tmp_path / "new")
    version = store.publish("digits", shell())
    store.sign("digits", version, seal.read_signer(new_private))
    path = store.path("digits", version)
    with pytest.raises(StoreError, match="signed with another key"):
        seal.read_verifier(keys[1]).verify(path)
    both = tmp_path / "both.pem"
    both.write_bytes(keys[1].read_bytes() + new_public.read_bytes())
    seal.read_verifier(both).verify(path)
    store.sign("digits", version, seal.read_signer(keys[0]))
    seal.read_verifier(both).verify(path)
    assert [event["event"] for event in store.history("digits")] == ["publish", "sign", "sign"]


def test_what_was_changed_is_not_signed(store: Store, shell: Shell, keys: tuple[Path, Path]):
    version = store.publish("digits", shell())
    (store.path("digits", version) / "saved_model.pb").write_text("other")
    with pytest.raises(StoreError, match="changed after the export"):
        store.sign("digits", version, seal.read_signer(keys[0]))
    assert not (store.path("digits", version) / SIGNATURE).exists()


@pytest.fixture(scope="module")
def useless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of key files that are of no use, each in its way, and a pair in `keys`."""
    directory = tmp_path_factory.mktemp("useless")
    seal.generate(directory / "keys")
    (directory / "text.pem").write_text("secret")
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = ed25519.Ed25519PrivateKey.generate()
    locked = pem.BestAvailableEncryption(b"word")
    form = (pem.Encoding.PEM, pem.PrivateFormat.PKCS8)
    (directory / "rsa.pem").write_bytes(foreign.private_bytes(*form, pem.NoEncryption()))
    (directory / "locked.pem").write_bytes(own.private_bytes(*form, locked))
    return directory


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.pem", r"cannot read the private key .*absent.pem: No such file"),
        ("keys", r"cannot read the private key .*keys: Is a directory"),
        ("text.pem", "must hold an Ed25519 private key in PEM; it is no PEM file"),
        ("rsa.pem", "must hold an Ed25519 private key in PEM; it is a PEM file with PRIVATE KEY"),
        ("keys/public_key.pem", "it is a PEM file with PUBLIC KEY without one"),
        ("locked.pem", "has a passphrase, which nobody is there to type"),
    ],
)
def test_a_file_that_is_no_signing_key_is_named(useless: Path, name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        seal.read_signer(useless / name)


@pytest.mark.parametrize("name", ["absent.pem", "text.pem", "rsa.pem", "keys/signing_key.pem"])
def test_a_file_that_is_no_public_key_stops_a_server(useless: Path, name: str):
    options = flags.parser().parse_args(
        [f"--model_base_path={useless}", f"--require_signature={useless / name}"]
    )
    with pytest.raises(ConfigError, match="public key"):
        flags.settings(options)


def test_a_private_key_that_others_can_read_is_spoken_of(
    keys: tuple[Path, Path], caplog: pytest.LogCaptureFixture
):
    keys[0].chmod(0o644)
    seal.read_signer(keys[0])
    assert "other users can read the private key" in caplog.text


def strict(store: Store, public: Path) -> ServerSettings:
    """Settings of a server that loads nothing without a signature, and soon tries again."""
    found = of_store(store.root, Listen(port=0, rest_port=None))
    loading = replace(
        found.loading, poll_config=0.05, poll_versions=0.05, retries=Retries(2, seconds=0.05)
    )
    return replace(found, loading=loading, verifier=seal.read_verifier(public))


def version_of(client: Client) -> int:
    return client.predict(IMAGE, model="shapes")[0].version


def test_a_server_that_requires_signatures_keeps_the_version_that_has_one(
    store: Store,
    signed: Store,
    classifiers: list[Path],
    keys: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
):
    good = signed.publish("shapes", classifiers[0])
    with ModelServer(strict(store, keys[1])) as server, Client(server.grpc_address) as client:
        assert version_of(client) == good
        unsigned = store.publish("shapes", classifiers[1])  # it would take the label
        until(lambda: client.status("shapes")[0].state == "END")  # after every try
        newest = client.status("shapes")[0]
        assert newest.version == unsigned
        assert "is not signed: it has no assets.extra/manifest.sig" in newest.error
        assert version_of(client) == good
        errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
        assert len([message for message in errors if "is not signed" in message]) == 1
        store.sign("shapes", unsigned, seal.read_signer(keys[0]))
        until(lambda: version_of(client) == unsigned)


def test_a_version_signed_with_another_key_is_never_served(
    store: Store, classifiers: list[Path], keys: tuple[Path, Path], tmp_path: Path
):
    stranger = seal.read_signer(seal.generate(tmp_path / "stranger")[0])
    Store(store.root, signer=stranger).publish("shapes", classifiers[0])
    with ModelServer(strict(store, keys[1])) as server, Client(server.grpc_address) as client:
        with pytest.raises(ModelNotFound):
            version_of(client)
        assert not server.registry.ready()
