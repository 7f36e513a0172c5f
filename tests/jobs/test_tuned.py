"""A run that searches before it trains, or takes what an earlier search has found."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.commands.run import _execute, _open
from jobs.exits import CommandError, ConfigError
from jobs.rundir import RunDir
from jobs.tune import JOURNAL
from serving.store import Store
from tests.support.waiting import until
from tuning.journal import read

SEARCH = """
[tune]
enabled = true
max_trials = 3
workers = 2
[tune.space]
"train.batch_size" = { choice = [24, 32] }
"train.optimizer" = { choice = ["adam", "sgd"] }
"""


@pytest.fixture
def place(workplace) -> Path:
    """The path of a workplace whose job searches, and trains one epoch."""
    text = (workplace.path / "job.toml").read_text().replace("epochs = 3", "epochs = 1")
    (workplace.path / "job.toml").write_text(text + SEARCH)
    return workplace.path


def result(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def searches(place: Path) -> list[Path]:
    return sorted((place / "runs" / "tiny-tune").iterdir())


@pytest.mark.slow
def test_a_run_searches_and_then_trains_the_best(workplace, place):
    outcome = result(workplace("run", "job.toml", "--json"))
    assert outcome["status"] == "published"
    assert "search" in outcome["seconds"]
    [search] = searches(place)
    assert search.name == Path(outcome["run"]).name
    card = Store(place / "models").card("tiny", outcome["version"])
    told = card["search"]
    assert (told["run"], told["trials"], told["completed"]) == (search.name, 3, 3)
    best = (search / "best_hyperparameters.txt").read_text()
    assert told["values"] == json.loads(best)["values"]
    assert card["config"]["train"]["batch_size"] == told["values"]["train.batch_size"]
    assert card["config"]["train"]["optimizer"] == told["values"]["train.optimizer"]
    again = result(workplace("run", "job.toml", "--json"))
    assert (again["status"], again["version"]) == ("unchanged", outcome["version"])
    assert searches(place) == [search]


@pytest.mark.slow
def test_a_search_inside_a_run_goes_on_after_an_interruption_and_starts_the_next(workplace, place):
    with workplace.start("run", "job.toml", "--json") as run:
        until(lambda: _ended(place), "a finished trial")
        run.terminate()
        assert run.wait() == 75, run.stderr.read()
    [search] = searches(place)
    kept = _ended(place)
    outcome = result(workplace("run", "job.toml", "--json"))
    assert Path(outcome["run"]).name == search.name
    assert searches(place) == [search]
    assert _ended(place)[: len(kept)] == kept
    assert len(_ended(place)) == 3
    forced = result(workplace("run", "job.toml", "--force", "--json"))
    second = searches(place)[1]
    assert second.name == Path(forced["run"]).name
    warm = read(second / JOURNAL)[0]["warm"]
    best = RunDir(place / outcome["run"]).read_json("search.json")["best"]
    assert warm[0] == best["values"]


def _ended(place: Path) -> list[str]:
    journals = list(place.glob(f"runs/tiny-tune/*/{JOURNAL}"))
    return [e["id"] for path in journals[:1] for e in read(path) if e["event"] == "end"]


@pytest.mark.parametrize("also", ["tune.enabled=false", "train.epochs=2"])
def test_settings_that_a_search_has_found_come_last(place, also):
    found = {"space": [], "values": {"train.batch_size": 24, "tuner/epochs": 3}}
    (place / "best.txt").write_text(json.dumps(found))
    job, run = _open(place / "job.toml", ["train.batch_size=50", also], None, place / "best.txt")
    assert (job.train.batch_size, run) == (24, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.1}, r"best.txt: lr: unknown key\. Allowed here: bless, data"),
        ({"train.batch_size": 0}, r"best.txt: train.batch_size: .*greater than or equal to 1"),
    ],
)
def test_values_that_the_job_does_not_know_are_refused_by_name(place, values, message):
    (place / "best.txt").write_text(json.dumps({"space": [], "values": values}))
    with pytest.raises(ConfigError, match=message):
        _open(place / "job.toml", None, None, place / "best.txt")


def test_a_resumed_run_keeps_its_settings(place):
    with pytest.raises(CommandError, match="--hyperparameters does not go with --resume"):
        _open(None, None, place, place / "best.txt")


def test_workers_that_train_together_do_not_search(place, monkeypatch):
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(ConfigError, match="tune.enabled does not go with TF_CONFIG"):
        _execute(_open(place / "job.toml", None, None), place / "runs", train_only=False)


def test_a_wrong_space_is_refused_before_the_data_are_read(workplace, place):
    text = (place / "job.toml").read_text().replace('"train.optimizer" =', '"train.optimiser" =')
    (place / "job.toml").write_text(text)
    done = workplace("run", "job.toml", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "tune.space: train.optimiser: unknown key" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((place / "runs" / "tiny").glob("*/data.json")) == []
