"""A search of a chief and workers in processes of their own, some of which are killed."""

import csv
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.tune import JOURNAL
from tests.support.forkserver import ForkServer, Process
from tests.support.waiting import until
from tests.support.workplace import Workplace
from tuning.journal import read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

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
[tune]
warm_start = 0
lease_seconds = 10
{tune}
[tune.space]
"train.learning_rate" = {{ float = [1e-4, 1e-1], sampling = "log" }}
"train.optimizer" = {{ choice = ["adam", "sgd"] }}
"""
SEARCHES = {  # four trials; six, of which one goes on from another's state
    "random": "max_trials = 4",
    "hyperband": 'algorithm = "hyperband"\nhyperband = { max_epochs = 3, factor = 3 }',
}
HOST = "127.0.0.1"


class Hosts:
    """Processes of one search; each may have a directory of its own, as another host has."""

    def __init__(self, path: Path, job: str, forkserver: ForkServer) -> None:
        self.path, self.forkserver = path, forkserver
        (path / "job.toml").write_text(job)
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port = free.getsockname()[1]
        self.processes: dict[str, Process] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start `convoy tune` under a tuner id."""
        variables = {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": HOST,
            "KERASTUNER_ORACLE_PORT": str(self.port),
        }
        command = ("-m", "jobs", "tune", *arguments, "--json")
        self.processes[name] = self.forkserver.start(
            *command, cwd=self.path, env={**os.environ, **variables}
        )

    def kill(self, name: str) -> None:
        """End a process at once, by SIGKILL."""
        with self.processes.pop(name):
            pass

    def result(self, name: str) -> Any:
        """Wait for a process to end well and return what it printed."""
        printed, told = self.processes[name].communicate()
        assert self.processes[name].returncode == 0, told
        assert "Traceback" not in told
        return json.loads(printed)

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    @property
    def run(self) -> Path:
        """The only search's directory."""
        [journal] = self.path.glob(f"runs/flowers-tune/*/{JOURNAL}")
        return journal.parent

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The journal's events of a kind; none before the search has begun."""
        if not list(self.path.glob(f"runs/flowers-tune/*/{JOURNAL}")):
            return []
        return [event for event in read(self.run / JOURNAL) if event["event"] == kind]

    def training(self, name: str, runs: str = "runs") -> str | None:
        """The trial that a worker trains."""
        ended = {event["id"] for event in self.events("end")}
        for event in self.events("lease"):
            place = self.path / runs / "flowers-tune" / self.run.name / "trials" / event["trial"]
            if (
                event["worker"].startswith(f"{name}~")
                and event["trial"] not in ended
                and (place / "training" / "input.json").exists()
                and not (place / "result.json").exists()
            ):
                return event["trial"]
        return None


@pytest.fixture(scope="module", params=SEARCHES)
def job(request, data_dir) -> str:
    return JOB.format(data_dir=data_dir, tune=SEARCHES[request.param])


@pytest.fixture
def hosts(job, tmp_path, forkserver) -> Iterator[Hosts]:
    made = Hosts(tmp_path, job, forkserver)
    yield made
    made.close()


def board(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What must not depend on interruptions: everything but the seconds."""
    return [(t["id"], t["state"], t["values"], t["score"], t["reason"]) for t in result["trials"]]


def assert_accounted_for(hosts: Hosts, result: dict[str, Any]) -> None:
    """Every trial was made once, ended once, and completed."""
    assert {trial["state"] for trial in result["trials"]} == {"COMPLETED"}
    for kind, key in (("create", "trial"), ("end", "id")):
        told = sorted(event[key] for event in hosts.events(kind))
        assert told == sorted(trial["id"] for trial in result["trials"])
    with (hosts.run / "leaderboard.csv").open(newline="") as file:
        assert [row["trial"] for row in csv.DictReader(file)] == [t["id"] for t in result["trials"]]


def test_the_trials_of_a_killed_worker_are_run_by_another_that_shares_no_files(hosts):
    hosts.start("chief", "job.toml", "--chief")
    hosts.start("lost", "--worker")
    hosts.start("other", "job.toml", "--worker", "--runs", "elsewhere")
    trial = until(lambda: hosts.training("lost"), "a trial in training")
    hosts.kill("lost")
    result = hosts.result("chief")
    assert_accounted_for(hosts, result)
    retries = [(event["trial"], event["reason"]) for event in hosts.events("retry")]
    assert retries == [(trial, "its worker lost was silent for 10 s")]
    last = [event["worker"] for event in hosts.events("lease") if event["trial"] == trial][-1]
    assert last.startswith("other~")
    hosts.result("other")


@pytest.fixture(scope="module")
def undisturbed(job, tmp_path_factory, forkserver) -> list[tuple[Any, ...]]:
    """The leaderboard of the search that one supervisor runs and nobody disturbs."""
    place = tmp_path_factory.mktemp("undisturbed")
    (place / "job.toml").write_text(job)
    done = Workplace(place, forkserver)("tune", "job.toml", "--json")
    assert done.returncode == 0, done.stderr
    return board(json.loads(done.stdout))


def test_a_chief_killed_and_started_again_ends_like_an_undisturbed_search(hosts, undisturbed):
    hosts.start("chief", "job.toml", "--chief")
    hosts.start("worker", "--worker")
    until(lambda: hosts.events("end"), "a finished trial")
    trial = until(lambda: hosts.training("worker"), "a trial in training")
    hosts.kill("chief")
    kept = hosts.events("end")
    result = hosts.run / "trials" / trial / "result.json"
    until(result.exists, "the worker to go on without a chief")
    hosts.start("chief", "--resume", str(hosts.run), "--chief")
    resumed = hosts.result("chief")
    assert_accounted_for(hosts, resumed)
    assert hosts.events("end")[: len(kept)] == kept
    assert hosts.events("retry") == []
    assert board(resumed) == undisturbed
    hosts.result("worker")


@pytest.mark.parametrize("job", ["random"], indirect=True)
def test_a_worker_asked_to_stop_hands_its_trial_over_at_once(hosts):
    hosts.start("chief", "job.toml", "--chief", "--set", "tune.lease_seconds=200")
    hosts.start("first", "--worker")
    trial = until(lambda: hosts.training("first"), "a trial in training")
    hosts.processes["first"].send_signal(signal.SIGTERM)
    _, told = hosts.processes["first"].communicate()
    assert hosts.processes["first"].returncode == 75
    assert "other workers go on with its trials" in told
    hosts.start("second", "--worker")
    assert_accounted_for(hosts, hosts.result("chief"))
    assert [event["trial"] for event in hosts.events("release")] == [trial]
    assert hosts.events("retry") == []
