"""Commands move labels in two writes, and repair what a crash or a lost file left."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.exits import CommandError
from serving.store import Store
from tests.support.classifier import write_manifest
from tests.support.publishing import put_in_service

NOBODY = "127.0.0.1:1"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "saved_model.pb").write_bytes(b"")
    write_manifest(tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture
def store(tmp_path: Path, export: Path) -> Store:
    """Three versions of `pets`: one that waits for nothing, the one before, and the live one."""
    store = Store(tmp_path / "models")
    for _ in range(3):
        put_in_service(store, "pets", export)
    return store


def models(store: Store, *arguments: object) -> Result:
    asked = ["models", *map(str, arguments), "--store", str(store.root)]
    return CliRunner().invoke(app, asked)


def result(store: Store, *arguments: object) -> Any:
    done = models(store, *arguments, "--json")
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def refusal(store: Store, *arguments: object) -> CommandError:
    problem = models(store, *arguments).exception
    assert isinstance(problem, CommandError), problem
    return problem


def test_a_label_moves_to_a_version_that_is_loaded_first(store: Store):
    old, _, live = store.versions("pets")
    found = result(store, "label", "pets", "blue", old, "--settle-seconds", 0)
    assert found == {"name": "pets", "label": "blue", "version": old}
    assert store.labels("pets") == {"blue": old, "stable": live}
    events = [(event["event"], event.get("pending")) for event in store.history("pets")[-2:]]
    assert events == [("label", True), ("settle", None)]


def test_a_label_stays_where_a_server_does_not_get_the_version(store: Store):
    old, _, live = store.versions("pets")
    problem = refusal(
        store, "label", "pets", "stable", old, "--servers", NOBODY, "--settle-seconds", 0,
        "--load-seconds", 0,
    )  # fmt: skip
    assert problem.code == 1
    assert f"{NOBODY} does not serve pets version {old}" in str(problem)
    assert "No label has moved" in str(problem)
    assert (store.live("pets"), store.pending("pets")) == (live, {"stable": old})
    assert old in store.served("pets")
    table = models(store, "list").stdout
    assert f"stable={live}, stable to be {old}" in table


def test_rollback_and_promotion_take_one_write(store: Store, export: Path):
    _, before, _ = store.versions("pets")
    assert result(store, "rollback", "pets") == {"name": "pets", "live": before}
    canary = put_in_service(store, "pets", export, "canary")
    assert result(store, "promote", "pets") == {"name": "pets", "live": canary}
    assert store.pending("pets") == {}


def test_a_rollback_to_a_version_that_is_not_served_takes_two(store: Store):
    _, before, live = store.versions("pets")
    path = store.root / "models.config"
    path.write_text(path.read_text().replace(f"    versions: {before}\n", ""))  # by hand
    assert store.served("pets") == [live]
    found = result(store, "rollback", "pets", "--settle-seconds", 0)
    assert found == {"name": "pets", "live": before}
    assert store.history("pets")[-1]["event"] == "settle"


def test_a_withdrawn_version_gives_way_and_its_reason_is_kept(store: Store):
    _, before, live = store.versions("pets")
    found = result(store, "withdraw", "pets", live, "--reason", "mistakes cats")
    assert found == {"name": "pets", "withdrawn": live, "live": before}
    assert store.history("pets")[-1]["reason"] == "mistakes cats"
    assert "no version 7" in str(refusal(store, "withdraw", "pets", 7))


def test_repair_finishes_what_was_interrupted(store: Store, export: Path):
    waiting = store.publish("pets", export)
    found = result(store, "repair", "--settle-seconds", 0)
    assert found == {
        "rebuilt": False, "removed": [], "moved": {"pets": {"stable": waiting}}, "lacks": [],
    }  # fmt: skip
    assert "nothing was waiting" in models(store, "repair", "--settle-seconds", 0).stdout
    assert store.live("pets") == waiting


def test_a_lost_configuration_names_repair_which_rebuilds_it(store: Store):
    labels = store.labels("pets")
    (store.root / "models.config").write_text("")
    for command in (("list",), ("rollback", "pets"), ("promote", "pets"), ("show", "pets")):
        assert "convoy models repair --store" in str(refusal(store, *command))
    assert result(store, "repair", "--settle-seconds", 0)["rebuilt"] is True
    assert store.labels("pets") == labels


def test_repair_says_which_servers_still_lack_something(store: Store):
    problem = refusal(
        store, "repair", "--servers", NOBODY, "--settle-seconds", 0, "--load-seconds", 0
    )
    assert (problem.code, NOBODY in str(problem)) == (1, True)
    assert store.pending("pets") == {}  # its labels are where they were


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":8500", "localhost:http"])
def test_an_address_without_a_port_is_refused(store: Store, address: str):
    assert "expected HOST:PORT" in str(refusal(store, "repair", "--servers", address))


@pytest.mark.parametrize("name", ["+5", " 7", "-3", "0005"])
def test_names_that_tensorflow_serving_takes_for_versions_are_listed(store: Store, name: str):
    (store.root / "pets" / name).mkdir()
    if name == "0005":
        (store.root / "pets" / "5").mkdir()
    done = models(store, "list", "--json")
    assert f"holds {name!r}, which TensorFlow Serving takes for versions" in done.stderr
    assert json.loads(done.stdout)[0]["name"] == "pets"
