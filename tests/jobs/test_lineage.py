"""A card tells where a version comes from, and two cards what changed between them."""

import hashlib
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from jobs import origin
from jobs.card import make_card
from jobs.commands.lineage import diff, show
from jobs.config import load
from jobs.exits import CommandError
from jobs.lineage import Change
from jobs.lineage import diff as compare
from jobs.rundir import RunDir
from pipeline.dataset import DataInfo
from serving.store import Store
from tests.support.publishing import put_in_service

app = typer.Typer()
app.command("show")(show)
app.command("diff")(diff)

INFO = DataInfo("digits", "ab12", ("0", "1"), {"train": 10, "test": 4}, (16, 16, 1))


@pytest.fixture
def card(workplace, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The card of a run that trained with learning rate 0.5, as its last search had found."""
    monkeypatch.chdir(workplace.path)
    job = load(Path("job.toml"), ["train.learning_rate=0.5"])
    search = Path("runs/tiny-tune/20260101T000000Z-aaaaaa")
    search.mkdir(parents=True)
    values = {"train.learning_rate": 0.5, "tuner/epochs": 3}
    (search / "best_hyperparameters.txt").write_text(json.dumps({"space": [], "values": values}))
    run = RunDir.create(Path("runs"), "tiny", job.to_toml())
    run.write_json("evaluation.json", {"accuracy": 0.9})
    run.write_json("blessing.json", {"blessed": True})
    return make_card(job, run, INFO)


def test_a_card_is_complete(card: dict[str, Any]):
    assert card["config"]["train"]["learning_rate"] == 0.5
    assert card["data"]["counts"] == {"train": 10, "test": 4}
    assert card["data"]["digest"] == "ab12"
    assert card["seeds"].keys() == {"data", "train"}
    assert card["versions"]["python"] == platform.python_version()
    assert card["versions"]["tensorflow"].startswith("2.")
    assert card["search"] == {
        "run": "20260101T000000Z-aaaaaa",
        "values": {"train.learning_rate": 0.5},
    }
    machine = card["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert isinstance(machine["accelerators"], list)
    assert (card["metrics"], card["blessing"]) == ({"accuracy": 0.9}, {"blessed": True})
    assert json.loads(json.dumps(card)).keys() == card.keys()


def test_a_search_whose_values_were_not_taken_is_none(card: dict[str, Any]):
    other = load(Path("job.toml"), ["train.learning_rate=0.25"])
    run = RunDir.create(Path("runs"), "tiny", other.to_toml())
    for name in ("evaluation.json", "blessing.json"):
        run.write_json(name, {})
    assert make_card(other, run, INFO)["search"] is None


def test_the_source_code_is_known_and_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert (origin.git_revision(), origin.git_dirty()) == (None, None)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "job.toml").write_text("one")
    git("init")
    git("add", "job.toml")
    git("commit", "-m", "one")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "new").write_text("not tracked")
    assert len(origin.git_revision() or "") == 40
    assert origin.git_dirty() is False
    (tmp_path / "job.toml").write_text("two")
    assert origin.git_dirty() is True


OLD = {
    "run": "a",
    "config": {"train": {"epochs": 3, "learning_rate": 0.1}, "data": {"source": "digits"}},
    "data": {"digest": "aa", "counts": {"train": 10}},
    "versions": {"keras": "3.15.0"},
    "git_revision": "1" * 40,
    "metrics": {
        "accuracy": 0.9,
        "confidence": 0.75,
        "intervals": {"accuracy": {"low": 0.85, "high": 0.94}},
        "confusion": [[1, 0], [0, 1]],
        "per_class": [{"label": "cat", "recall": 0.5}, {"label": "dog", "recall": 0.75}],
    },
    "blessing": {"blessed": True},
}
NEW = {
    "run": "b",
    "config": {"train": {"epochs": 5, "learning_rate": 0.1}, "data": {"source": "digits"}},
    "data": {"digest": "bb", "counts": {"train": 12}},
    "versions": {"keras": "3.15.1"},
    "git_revision": "1" * 40,
    "metrics": {
        "accuracy": 0.95,
        "confidence": 0.75,
        "confusion": [[2, 0], [0, 1]],
        "per_class": [{"label": "cat", "recall": 0.5}, {"label": "dog", "recall": 0.8}],
    },
    "blessing": {"blessed": False},
}


def test_what_differs_is_named_by_section_and_nothing_else():
    assert compare(OLD, NEW) == [
        Change("settings", "train.epochs", 3, 5),
        Change("data", "data.digest", "aa", "bb"),
        Change("data", "data.counts.train", 10, 12),
        Change("versions", "versions.keras", "3.15.0", "3.15.1"),
        Change("metrics", "metrics.accuracy", 0.9, 0.95),
        Change("metrics", "metrics.per_class.dog.recall", 0.75, 0.8),
    ]
    assert compare(OLD, OLD | {"run": "c", "fingerprint": "x"}) == []


def test_what_one_card_lacks_is_none():
    assert Change("metrics", "metrics.accuracy", 0.9, None) in compare(OLD, {"imported": "h5"})
    assert compare({}, {"imported": "old.h5"}) == [Change("data", "imported", None, "old.h5")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two versions of `pets`, the second live."""
    store = Store(tmp_path / "models")
    for card in (OLD, NEW):
        extra = tmp_path / "export" / "assets.extra"
        extra.mkdir(parents=True, exist_ok=True)
        (extra.parent / "saved_model.pb").write_text("graph")
        (extra / "card.json").write_text(json.dumps(card))
        names = ("saved_model.pb", "assets.extra/card.json")
        digests = {n: hashlib.sha256((extra.parent / n).read_bytes()).hexdigest() for n in names}
        manifest = {"algorithm": "sha256", "files": digests}
        (extra / "manifest.json").write_text(json.dumps(manifest))
        put_in_service(store, "pets", extra.parent)
    return store


def run(store: Store, *arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments), "--store", str(store.root)])


def test_show_tells_of_the_live_version_or_another(store: Store):
    old, new = store.versions("pets")
    found = json.loads(run(store, "show", "pets", "--json").stdout)
    assert (found["version"], found["live"], found["labels"]) == (new, True, ["stable"])
    assert found["card"] == NEW
    assert found["intact"] is True
    assert found["bytes"] > 0
    assert [event["event"] for event in found["history"]] == ["publish", "settle"]
    older = run(store, "show", "pets", old).stdout
    for text in (f"pets version {old}", "aa", "train.epochs", "as in the manifest"):
        assert text in older
    assert "0.9000 (0.8500 to 0.9400 with 75% confidence)" in older
    assert "0.7500" not in older  # how sure the interval is, and no score


def test_show_says_when_a_file_was_changed(store: Store):
    version = store.live("pets")
    assert version
    (store.path("pets", version) / "saved_model.pb").write_text("other")
    assert json.loads(run(store, "show", "pets", "--json").stdout)["intact"] is False
    assert "CHANGED since the export" in run(store, "show", "pets").stdout


def test_diff_is_a_table_or_json(store: Store):
    old, new = store.versions("pets")
    table = run(store, "diff", "pets", old, new).stdout
    assert "train.epochs" in table
    assert "+0.05" in table
    found = json.loads(run(store, "diff", "pets", old, new, "--json").stdout)
    assert (found["name"], found["versions"]) == ("pets", [old, new])
    assert found["changes"][0] == {
        "section": "settings", "key": "train.epochs", "before": 3, "after": 5,
    }  # fmt: skip
    assert "say the same" in run(store, "diff", "pets", new, new).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "pets", "7"], "pets has no version 7"),
        (["show", "cars"], "cars has no live version"),
        (["diff", "pets", "7", "8"], "pets has no version 7"),
    ],
)
def test_a_version_that_is_not_there_is_named(store: Store, arguments: list[str], message: str):
    problem = run(store, *arguments).exception
    assert isinstance(problem, CommandError)
    assert message in str(problem)
