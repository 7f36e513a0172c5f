"""Keys are made, versions signed and examined by commands, and a run signs what it publishes."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.exits import CommandError
from serving.access import read_tokens
from serving.store import Store
from tests.support.publishing import put_in_service


def models(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def refusal(*arguments: object) -> CommandError:
    """Give the error of a command that must fail."""
    problem = models(*arguments).exception
    assert isinstance(problem, CommandError)
    return problem


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two versions of `pets`, not signed."""
    export, store = tmp_path / "export", Store(tmp_path / "models")
    (export / "assets.extra").mkdir(parents=True)
    (export / "saved_model.pb").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing
    manifest = {"algorithm": "sha256", "files": {"saved_model.pb": digest}}
    (export / "assets.extra" / "manifest.json").write_text(json.dumps(manifest))
    for _ in range(2):
        put_in_service(store, "pets", export)
    return store


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A pair of keys, made by the command: the private and the public one."""
    made = json.loads(models("keygen", tmp_path / "keys", "--json").stdout)
    return Path(made["private"]), Path(made["public"])


def examined(store: Store, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """Give the exit code of `verify`, 0 or that of its error, and what it found."""
    done = models("verify", "pets", *arguments, "--store", store.root, "--json")
    code = done.exception.code if isinstance(done.exception, CommandError) else done.exit_code
    return code, json.loads(done.stdout)["versions"]


def test_versions_are_signed_and_examined(store: Store, keys: tuple[Path, Path]):
    old, new = store.versions("pets")
    code, found = examined(store)
    assert (code, [f["signed"] for f in found]) == (0, [False, False])
    code, found = examined(store, "--key", keys[1])
    assert (code, [f["version"] for f in found if "not signed" in f["problem"]]) == (1, [old, new])
    signed = models("sign", "pets", old, "--key", keys[0], "--store", store.root)
    assert signed.stdout == f"pets: signed {old}\n"
    assert examined(store, old, "--key", keys[1])[0] == 0
    assert examined(store, "--key", keys[1])[0] == 1
    models("sign", "pets", "--key", keys[0], "--store", store.root)
    assert examined(store, "--key", keys[1])[0] == 0
    shown = json.loads(models("show", "pets", "--store", store.root, "--json").stdout)
    assert (shown["intact"], shown["signed"]) == (True, True)


def test_what_is_served_changes_with_the_key_alone_once_it_is_signed(
    store: Store, keys: tuple[Path, Path]
):
    old, new = store.versions("pets")
    place = ("--settle-seconds", 0, "--store", store.root)
    models("sign", "pets", "--key", keys[0], "--store", store.root)
    for command in (("rollback", "pets"), ("withdraw", "pets", new), ("label", "pets", "x", old)):
        assert "is signed, so what is served changes with a key alone" in str(
            refusal(*command, *place)
        )
    done = models("rollback", "pets", "--signing-key", keys[0], *place)
    assert done.stdout == f"pets: version {old} is live\n"
    assert examined(store, "--key", keys[1])[0] == 0
    config = store.root / "models.config"
    config.write_text(config.read_text().replace(str(old), str(new)))
    done = models("verify", "pets", "--key", keys[1], "--store", store.root, "--json")
    assert "models.config is not signed with a key of" in json.loads(done.stdout)["configuration"]


def test_a_tampered_version_is_told_from_a_whole_one(store: Store, keys: tuple[Path, Path]):
    old, new = store.versions("pets")
    models("sign", "pets", "--key", keys[0], "--store", store.root)
    (store.path("pets", old) / "saved_model.pb").write_text("other")
    code, found = examined(store, "--key", keys[1])
    assert (code, [f["intact"] for f in found]) == (1, [False, True])
    assert "saved_model.pb does not match its manifest" in found[0]["problem"]
    table = models("verify", "pets", "--store", store.root)
    assert str(new) in table.stdout
    assert str(table.exception) == f"pets: 1 of 2 failed: {old}"


def test_what_cannot_be_signed_or_examined_is_named(store: Store, keys: tuple[Path, Path]):
    place, (private, public) = ("--store", store.root), keys
    assert "is there already" in str(refusal("keygen", private.parent))
    assert "pets has no version 7" in str(refusal("sign", "pets", 7, "--key", private, *place))
    assert "Ed25519 private key" in str(refusal("sign", "pets", "--key", public, *place))
    assert "Ed25519 public key" in str(refusal("verify", "pets", "--key", private, *place))
    assert "no version of cars. Models: pets" in str(refusal("verify", "cars", *place))


def test_a_wrong_key_ends_a_run_before_it_has_begun(workplace):
    done = workplace("run", "job.toml", "--set", "publish.signing_key=none.pem")
    assert done.returncode == 2
    assert "publish.signing_key: cannot read the private key none.pem: No such file" in done.stderr
    assert list((workplace.path / "runs" / "tiny").iterdir()) == []


def test_a_token_is_shown_once_and_kept_as_its_digest(tmp_path: Path):
    file = tmp_path / "tokens"
    made = [json.loads(models("token", name, "--tokens", file, "--json").stdout) for name in "ab"]
    kept = {told["name"]: sha256(told["token"].encode()).digest() for told in made}
    assert read_tokens(file) == kept
    assert not any(told["token"] in file.read_text() for told in made)
    assert "has a token of a: remove its line first" in str(refusal("token", "a", "--tokens", file))
