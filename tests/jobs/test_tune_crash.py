"""Searches whose processes are killed, raise, diverge and eat the memory; all of them real."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.tune import JOURNAL
from tests.support.forkserver import ForkServer, Process
from tests.support.waiting import until
from tests.support.workplace import Workplace
from tuning.journal import read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOB = """
name = "flowers"
[data]
source = "iris"
data_dir = "{data_dir}"
[model]
name = "mlp"
[train]
epochs = 40
batch_size = 16
precision = "mixed_bfloat16"
[tune]
warm_start = 0
{tune}
"""
SPACE = """
[tune.space]
"train.learning_rate" = { float = [1e-4, 1e-1], sampling = "log" }
"train.optimizer" = { choice = ["adam", "sgd"] }
"""
SEARCHES = {  # four trials; six, of which one goes on from another's state
    "random": "max_trials = 4" + SPACE,
    "hyperband": 'algorithm = "hyperband"\nhyperband = { max_epochs = 3, factor = 3 }' + SPACE,
}

SEARCH = ("tune", "job.toml", "--workers", "2", "--json")


@dataclass(frozen=True)
class Place:
    """A workplace with a search job, and what `convoy tune` leaves there."""

    workplace: Workplace

    @property
    def path(self) -> Path:
        return self.workplace.path

    @property
    def run(self) -> Path:
        """The only search's directory."""
        [journal] = self.path.glob(f"runs/flowers-tune/*/{JOURNAL}")
        return journal.parent

    def tune(self, *arguments: str) -> dict[str, Any]:
        """Run the command to its end, which must be a good one."""
        with self.workplace.start("tune", *arguments, "--json") as search:
            return result(search)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The journal's events of a kind; none before the search has begun."""
        if not list(self.path.glob(f"runs/flowers-tune/*/{JOURNAL}")):
            return []
        return [event for event in read(self.run / JOURNAL) if event["event"] == kind]

    def trial_in_training(self) -> tuple[str, int] | None:
        """A trial that has a state and no result, and its process."""
        ended = {event["id"] for event in self.events("end")}
        for place in sorted(self.path.glob("runs/flowers-tune/*/trials/*")):
            begun = list(place.glob("training/checkpoints/state-*.npz"))
            if place.name not in ended and begun and not (place / "result.json").exists():
                return place.name, int((place / "pid").read_text())
        return None


def result(search: Process) -> dict[str, Any]:
    """Wait for a search to end well and return what it printed."""
    output, errors = search.communicate()
    assert search.returncode == 0, errors
    assert "Traceback" not in errors
    found: dict[str, Any] = json.loads(output)
    return found


def board(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What must not depend on interruptions: everything but the seconds."""
    return [(t["id"], t["state"], t["values"], t["score"], t["reason"]) for t in result["trials"]]


def make_place(path: Path, data_dir: Path, forkserver: ForkServer, tune: str) -> Place:
    (path / "job.toml").write_text(JOB.format(data_dir=data_dir, tune=tune))
    return Place(Workplace(path, forkserver))


@pytest.fixture(scope="module", params=SEARCHES)
def algorithm(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def undisturbed(algorithm, tmp_path_factory, data_dir, forkserver) -> list[tuple[Any, ...]]:
    """The leaderboard of the search that nobody disturbs."""
    path = tmp_path_factory.mktemp("undisturbed")
    return board(make_place(path, data_dir, forkserver, SEARCHES[algorithm]).tune("job.toml"))


@pytest.fixture
def place(algorithm, tmp_path, data_dir, forkserver) -> Place:
    return make_place(tmp_path, data_dir, forkserver, SEARCHES[algorithm])


def test_a_trial_killed_in_training_is_retried_and_all_are_accounted_for(place, undisturbed):
    with place.workplace.start(*SEARCH) as search:
        name, pid = until(place.trial_in_training, "a trial in training")
        os.kill(pid, signal.SIGKILL)
        found = result(search)
    assert {trial["state"] for trial in found["trials"]} == {"COMPLETED"}
    assert len(found["trials"]) == len(undisturbed)
    created = [event["trial"] for event in place.events("create")]
    assert sorted(created) == sorted(trial["id"] for trial in found["trials"])
    retries = [(event["trial"], event["reason"]) for event in place.events("retry")]
    assert retries == [(name, "its process ended by signal SIGKILL")]


def test_a_supervisor_killed_and_resumed_ends_as_if_nothing_had_happened(place, undisturbed):
    with place.workplace.start("tune", "job.toml"):
        until(lambda: place.events("end"), "a finished trial")
        _, pid = until(place.trial_in_training, "a trial in training")
    until(lambda: not Path(f"/proc/{pid}").exists(), "the orphan to be killed")
    kept = place.events("end")
    with (place.run / JOURNAL).open("a") as file:
        file.write('{"event": "end", "id": ')  # the crash came in the middle of a line
    resumed = place.tune("--resume", str(place.run))
    assert place.events("end")[: len(kept)] == kept
    ended = [event["id"] for event in place.events("end")]
    assert sorted(ended) == sorted(row[0] for row in undisturbed)
    assert board(resumed) == undisturbed
    for told in place.run.glob("trials/*/training/precision.json"):
        assert json.loads(told.read_text())["policy"] == "mixed_bfloat16"


@pytest.fixture
def random_search(tmp_path, data_dir, forkserver) -> Place:
    return make_place(tmp_path, data_dir, forkserver, SEARCHES["random"])


def test_a_terminated_search_exits_75_and_goes_on_from_there(random_search):
    place = random_search
    with place.workplace.start(*SEARCH) as search:
        until(place.trial_in_training, "a trial in training")
        search.terminate()
        output, errors = search.communicate()
    assert (search.returncode, output) == (75, "")
    assert f"convoy tune --resume {place.run.relative_to(place.path)}" in errors
    assert "Traceback" not in errors
    states = [trial["state"] for trial in place.tune("--resume", str(place.run))["trials"]]
    assert states == ["COMPLETED"] * 4


def test_the_process_that_starts_trials_may_die_too(random_search):
    place = random_search
    with place.workplace.start(*SEARCH) as search:
        _, trial = until(place.trial_in_training, "a trial in training")
        nursery = int(Path(f"/proc/{trial}/stat").read_text().rpartition(")")[2].split()[1])
        assert nursery != search.pid
        os.kill(nursery, signal.SIGKILL)
        assert {trial["state"] for trial in result(search)["trials"]} == {"COMPLETED"}
    reasons = {event["reason"] for event in place.events("retry")}
    assert reasons == {"the process that starts trials was killed"}


FAULTY = """
algorithm = "grid"
memory_limit_mb = 2000
[tune.space]
"model.name" = { choice = ["mlp", "alexnet"] }
"model.options.units" = { choice = [8, 40000], when = { "model.name" = ["mlp"] } }
"train.learning_rate" = { choice = [1e-3, 1e30], when = { "model.options.units" = [8] } }
"""


def test_what_raises_diverges_or_swells_is_recorded_and_the_search_goes_on(
    tmp_path, data_dir, forkserver
):
    """AlexNet takes no vectors; two hidden layers of 40,000 neurons have 6.4 GB of weights."""
    place = make_place(tmp_path, data_dir, forkserver, FAULTY)
    layers = "model.options={ units = 8, hidden_layers = 2 }"
    quick = ("--set", "train.batch_size=4", "--set", "train.epochs=3")  # two halvings are left
    searched = place.tune("job.toml", "--set", layers, *quick, "--workers", "2")
    found = {}
    for trial in searched["trials"]:
        values = trial["values"]
        names = ("model.name", "model.options.units", "train.learning_rate")
        found[tuple(map(values.get, names))] = (trial["state"], trial["reason"])
    assert found[("mlp", 8, 1e-3)] == ("COMPLETED", None)
    expected: dict[tuple[Any, ...], str] = {
        ("mlp", 8, 1e30): "the loss",
        ("mlp", 40000, None): "out of memory, even with one example in a batch",
        ("alexnet", None, None): "'alexnet' takes image; iris gives features",
    }
    assert found.keys() == {("mlp", 8, 1e-3), *expected}
    for point, reason in expected.items():
        assert found[point][0] == "FAILED"
        assert reason in found[point][1]
    retried = [(event["halvings"], event["reason"]) for event in place.events("retry")]
    assert retried == [(n, "out of memory: its process held over 2000 MB") for n in (1, 2, 3)]
