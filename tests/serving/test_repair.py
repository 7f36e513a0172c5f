"""A real server that missed a write says so, and `convoy models repair` brings it back."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from serving.store import Store
from tests.support.publishing import put_in_service
from tests.support.running import serving, version_of
from tests.support.waiting import until


def publish_unseen(store: Store, export: Path) -> int:
    """Publish in two writes of which a server that polls `store` sees the second alone."""
    hidden = Store(shutil.copytree(store.root, store.root.with_name("hidden")))
    version = put_in_service(hidden, "shapes", export)
    shutil.copytree(hidden.path("shapes", version), store.root / "shapes" / str(version))
    for name in ("shapes/history.jsonl", "models.config"):
        (hidden.root / name).replace(store.root / name)
    return version


def test_a_server_that_missed_a_write_is_repaired_by_command(
    store: Store, classifiers: list[Path], caplog: pytest.LogCaptureFixture
):
    old = store.publish("shapes", classifiers[0])
    with serving(store) as (server, client):
        new = publish_unseen(store, classifiers[1])
        caplog.set_level(logging.WARNING)
        refusal = f"Request to assign label to version {new} of model shapes"
        until(lambda: refusal in caplog.text, "the server refuses the file")
        assert version_of(client, label="stable") == old
        command = ["models", "repair", "--servers", server.grpc_address, "--json"]
        done = CliRunner().invoke(app, [*command, "--store", str(store.root)])
        assert json.loads(done.stdout)["lacks"] == [], done.exception
        until(lambda: version_of(client, label="stable") == new)
        assert store.unconfirmed("shapes") == []
        again = CliRunner().invoke(app, [*command, "--store", str(store.root)])
        assert json.loads(again.stdout)["moved"] == {}
