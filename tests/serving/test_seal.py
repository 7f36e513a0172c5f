"""Who signed a version can be told, and a server that requires it serves nothing else."""

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import strategies as st

from serving import flags, seal
from serving.client import Client
from serving.errors import ConfigError, StoreError
from serving.manifest import MANIFEST, SIGNATURE
from serving.model_settings import parse_named
from serving.server import ModelServer
from serving.settings import Listen, ServerSettings, of_store
from serving.signed_config import SignedConfig, sign
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


def test_what_is_published_is_signed_as_what_it_is(
    signed: Store, shell: Shell, keys: tuple[Path, Path]
):
    version = signed.publish("digits", shell())
    path = signed.path("digits", version)
    signed.verify("digits", version)  # the manifest does not miss the signature
    seal.read_verifier(keys[1]).verify(path, "digits", version)
    public = pem.load_pem_public_key(keys[1].read_bytes())
    assert isinstance(public, ed25519.Ed25519PublicKey)
    listed = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    statement = f"convoy version\ndigits\n{version}\n{listed}\n".encode()
    public.verify((path / SIGNATURE).read_bytes(), statement)
    assert stat.S_IMODE((path / SIGNATURE).stat().st_mode) == 0o644


@pytest.mark.parametrize(("model", "more"), [("other", 0), ("digits", 1)])
def test_a_signature_is_of_one_name_and_one_number(
    signed: Store, shell: Shell, keys: tuple[Path, Path], model: str, more: int
):
    version = signed.publish("digits", shell())
    with pytest.raises(StoreError, match=f"or as another version than {model} {version + more}"):
        seal.read_verifier(keys[1]).verify(signed.path("digits", version), model, version + more)


def test_a_signature_of_the_manifest_alone_is_told_from_a_wrong_one(
    store: Store, shell: Shell, keys: tuple[Path, Path]
):
    version = store.publish("digits", shell())
    path = store.path("digits", version)
    signature = seal.read_signer(keys[0]).key.sign((path / MANIFEST).read_bytes())
    (path / SIGNATURE).write_bytes(signature)
    with pytest.raises(StoreError, match=r"as Convoy 0.1 did, without its name and number; sign"):
        seal.read_verifier(keys[1]).verify(path, "digits", version)


def test_a_changed_manifest_a_changed_file_and_a_changed_signature_are_found(
    signed: Store, shell: Shell, keys: tuple[Path, Path]
):
    verifier = seal.read_verifier(keys[1])
    version = signed.publish("digits", shell())
    path = signed.path("digits", version)

    def refused(reason: str) -> None:
        with pytest.raises(StoreError, match=reason):
            verifier.verify(path, "digits", version)

    for name, reason in (
        ("saved_model.pb", "changed after the export"),
        (MANIFEST, "signed with another key than .*public_key.pem or as"),
        (SIGNATURE, "signed with another key than .*public_key.pem or as"),
    ):
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused(reason)
        (path / name).write_bytes(whole)
    (path / SIGNATURE).unlink()
    refused(r"is not signed: it has no assets.extra/manifest.sig")
    (path / MANIFEST).unlink()
    refused("so its files cannot be verified")


def test_pipes_and_links_are_no_files_and_nobody_waits_for_them(
    signed: Store, shell: Shell, keys: tuple[Path, Path]
):
    """A signature in a pipe held the server between two looks at the manifest."""
    version = signed.publish("digits", shell())
    path = signed.path("digits", version)
    for name in (MANIFEST, SIGNATURE, "saved_model.pb"):
        moved = (path / name).rename(path.parent / "moved")
        (path / name).symlink_to(moved)
        with pytest.raises(StoreError, match="is a link; only files are taken"):
            seal.read_verifier(keys[1]).verify(path, "digits", version)
        (path / name).unlink()
        os.mkfifo(path / name)
        with pytest.raises(StoreError, match=r"is no file|has no saved_model\.pb"):
            seal.read_verifier(keys[1]).verify(path, "digits", version)
        (path / name).unlink()
        moved.rename(path / name)


def test_what_was_read_is_what_is_copied_and_nothing_else(
    signed: Store, shell: Shell, keys: tuple[Path, Path], tmp_path: Path
):
    version = signed.publish("digits", shell())
    path, copy = signed.path("digits", version), tmp_path / "copy"
    seal.read_verifier(keys[1]).verify(path, "digits", version, copy)
    names = {p.relative_to(copy).as_posix(): p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert names == {"saved_model.pb": b"graph", "variables/variables.index": b"w"}
    assert not os.path.samefile(copy / "saved_model.pb", path / "saved_model.pb")


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("mkfs.xfs"),
    reason="a file system that shares blocks needs root and xfsprogs",
)
def test_where_blocks_can_be_shared_a_copy_takes_none(
    shell: Shell, keys: tuple[Path, Path], tmp_path: Path
):
    disk, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        store = Store(place / "models", signer=seal.read_signer(keys[0]))
        version = store.publish("digits", shell(weights=bytes(64 << 20)))
        before = shutil.disk_usage(place).used
        copy = place / "copy"
        seal.read_verifier(keys[1]).verify(store.path("digits", version), "digits", version, copy)
        assert shutil.disk_usage(place).used - before < 8 << 20
        weights = copy / "variables" / "variables.index"
        (store.path("digits", version) / "variables" / "variables.index").write_bytes(b"other")
        assert weights.read_bytes() == bytes(64 << 20)
    finally:
        subprocess.run(["umount", place], check=True)


def test_another_key_is_not_trusted_and_two_can_be(
    store: Store, shell: Shell, keys: tuple[Path, Path], tmp_path: Path
):
    new_private, new_public = seal.generate(tmp_path / "new")
    version = store.publish("digits", shell())
    store.sign("digits", version, seal.read_signer(new_private))
    path = store.path("digits", version)
    with pytest.raises(StoreError, match="signed with another key"):
        seal.read_verifier(keys[1]).verify(path, "digits", version)
    both = tmp_path / "both.pem"
    both.write_bytes(keys[1].read_bytes() + new_public.read_bytes())
    seal.read_verifier(both).verify(path, "digits", version)
    store.sign("digits", version, seal.read_signer(keys[0]))
    seal.read_verifier(both).verify(path, "digits", version)
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
        [f"--model_config_file={useless}", f"--require_signature={useless / name}"]
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


def test_a_server_that_requires_signatures_serves_what_is_signed_and_follows_it(
    signed: Store, classifiers: list[Path], keys: tuple[Path, Path]
):
    good = signed.publish("shapes", classifiers[0])
    with ModelServer(strict(signed, keys[1])) as server, Client(server.grpc_address) as client:
        assert version_of(client) == good
        newer = signed.publish("shapes", classifiers[1])
        until(lambda: version_of(client) == newer)
        signed.settle("shapes")
        with pytest.raises(StoreError, match=r"models.config is signed, so what is served changes"):
            Store(signed.root).rollback("shapes")
        signed.rollback("shapes")
        until(lambda: client.predict(IMAGE, model="shapes", label="stable")[0].version == good)
        with pytest.raises(StoreError, match="is signed, so what is served changes with a key"):
            Store(signed.root).publish("shapes", classifiers[2])


Attack = Callable[[Store, int, int], None]


def copy_into_another_model(store: Store, old: int, new: int) -> None:
    pets = store.path("pets", store.versions("pets")[-1])
    shutil.rmtree(pets)
    shutil.copytree(store.path("shapes", new), pets)


def bring_the_old_one_back(store: Store, old: int, new: int) -> None:
    (store.root / "models.config").write_bytes((store.root / "kept.config").read_bytes())
    (store.root / "models.config.sig").write_bytes((store.root / "kept.sig").read_bytes())


def give_the_old_one_a_new_number(store: Store, old: int, new: int) -> None:
    shutil.copytree(store.path("shapes", old), store.root / "shapes" / str(new + 1))
    edit(store, new)


def edit(store: Store, new: int) -> None:
    config = store.root / "models.config"
    config.write_text(config.read_text().replace(f"versions: {new}", f"versions: {new + 1}"))


def drop_the_signature(store: Store, old: int, new: int) -> None:
    (store.root / "models.config.sig").unlink()


@pytest.mark.parametrize(
    "attack",
    [
        copy_into_another_model,
        bring_the_old_one_back,
        give_the_old_one_a_new_number,
        drop_the_signature,
    ],
)
def test_who_writes_to_the_store_without_the_key_changes_nothing(
    signed: Store, classifiers: list[Path], keys: tuple[Path, Path], attack: Attack
):
    old = signed.publish("shapes", classifiers[0])
    pets = signed.publish("pets", classifiers[2])
    for name in ("config", "sig"):
        kept = signed.root / f"models.{'config' if name == 'config' else 'config.sig'}"
        shutil.copy(kept, signed.root / f"kept.{name}")
    new = signed.publish("shapes", classifiers[1])
    signed.settle("shapes")
    signed.withdraw("shapes", old, "it was bad")
    with ModelServer(strict(signed, keys[1])) as server, Client(server.grpc_address) as client:
        assert version_of(client) == new
        attack(signed, old, new)
        until(lambda: server.registry.problems() or attack is copy_into_another_model)
        for _ in range(3):
            server._watch.poll()
            server.registry.refresh()
        assert version_of(client) == new
        assert [v.version for v in client.status("shapes") if v.state == "AVAILABLE"] == [new]
        answered = client.predict(IMAGE, model="pets")[0]
        assert (answered.version, answered.class_id) == (pets, 2)
    if attack is copy_into_another_model:  # a server that starts now has nothing to go on with
        with ModelServer(strict(signed, keys[1])) as server:
            [fault] = server.registry.models()[1].missing().values()
            assert "or as another version than pets" in fault


def test_the_counter_outlives_the_server_where_it_is_kept(
    signed: Store, classifiers: list[Path], keys: tuple[Path, Path], tmp_path: Path
):
    signed.publish("shapes", classifiers[0])
    config, verifier = signed.root / "models.config", seal.read_verifier(keys[1])
    old = [(p, p.read_bytes()) for p in (config, config.with_name("models.config.sig"))]
    signed.publish("shapes", classifiers[1])
    state = tmp_path / "state"
    SignedConfig(config, verifier, state).read()
    for path, content in old:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="is older than one that was in force"):
        SignedConfig(config, verifier, state).read()
    SignedConfig(config, verifier).read()  # who keeps nothing knows no better
    state.write_text("x")
    with pytest.raises(ConfigError, match="must hold a counter"):
        SignedConfig(config, verifier, state)


def test_a_poller_between_the_two_files_reads_what_was_signed_before(
    signed: Store, classifiers: list[Path], keys: tuple[Path, Path]
):
    signed.publish("shapes", classifiers[0])
    config, verifier = signed.root / "models.config", seal.read_verifier(keys[1])
    before = config.read_bytes()
    signed.publish("shapes", classifiers[1])
    follower = SignedConfig(config, verifier)
    after = config.read_bytes()
    config.write_bytes(before)  # the signature is new, the file is not yet
    assert follower.read().encode() == before
    config.write_bytes(after)
    assert follower.read().encode() == after


def test_a_configuration_without_versions_is_none_to_be_signed(
    signed: Store, keys: tuple[Path, Path]
):
    signed.create()
    model = 'name: "m" base_path: "/models/m" model_platform: "tensorflow"'
    text = f"model_config_list {{ config {{ {model} }} }}"
    (signed.root / "models.config").write_text(text)
    sign(signed.root / "models.config", text.encode(), seal.read_signer(keys[0]))
    with pytest.raises(ConfigError, match="names no versions of m"):
        ModelServer(strict(signed, keys[1])).start()


@pytest.mark.parametrize("cases", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_no_changed_byte_or_name_of_a_signed_store_is_served(
    signed: Store, shell: Shell, keys: tuple[Path, Path], tmp_path: Path, cases: int
):
    """What a server would load is what was signed, or nothing."""
    version = signed.publish("digits", shell())
    whole = tmp_path / "whole"
    shutil.copytree(signed.root, whole)
    files = sorted(p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file())
    verifier = seal.read_verifier(keys[1])

    @hypothesis.settings(max_examples=cases, deadline=None, database=None)
    @hypothesis.given(
        st.sampled_from(files),
        st.integers(0, 10_000),
        st.integers(1, 255),
        st.sampled_from(CHANGES),
    )
    def attack(name: str, place: int, flip: int, change: str) -> None:
        root = tmp_path / "attacked"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole, root)
        alter(root / name, place, flip, change)
        for model, number in served(root, verifier):
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            verifier.verify(root / model / str(number), model, number, copy)
            assert (model, number) == ("digits", version)
            assert (copy / "saved_model.pb").read_bytes() == b"graph"
            assert (copy / "variables" / "variables.index").read_bytes() == b"w"

    attack()


CHANGES = ("flip", "cut", "append", "rename", "renumber", "link")


def alter(path: Path, place: int, flip: int, change: str) -> None:
    content = path.read_bytes()
    place %= max(len(content), 1)
    match change:
        case "flip" if content:
            path.write_bytes(
                content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
            )
        case "cut":
            path.write_bytes(content[:place])
        case "append":
            path.write_bytes(content + bytes([flip]))
        case "rename":
            path.rename(path.with_name(f"{path.name}{flip}"))
        case "renumber" if path.parent.name.isdecimal():
            path.parent.rename(path.parent.with_name(f"{flip}"))
        case _:
            path.rename(path.with_name("other"))
            path.symlink_to("other")


def served(root: Path, verifier: seal.Verifier) -> list[tuple[str, int]]:
    """What a server that requires signatures is told to serve, and finds whole."""
    try:
        text = SignedConfig(root / "models.config", verifier).read()
        models = parse_named(text, root)
    except ConfigError:
        return []
    found = []
    for model in models:
        for number in model.policy.specific or ():
            with suppress(StoreError, OSError):
                verifier.verify(model.base_path / str(number), model.name, number)
                found.append((model.name, number))
    return found
