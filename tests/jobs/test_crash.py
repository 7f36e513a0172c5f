"""Killed by SIGKILL anywhere and run again, a run ends like an undisturbed one: one version."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.lock import held
from jobs.rundir import RunDir
from serving import seal
from serving.server import ModelServer
from serving.settings import Listen, of_store
from serving.store import Store
from tests.support.waiting import until
from tests.support.workplace import newest_state

STAGES = (
    "data", "check", "train", "evaluate", "bless", "export", "verify", "publish", "probe", "report",
)  # fmt: skip
QUICK = ("--set", "train.epochs=2", "--json")


@pytest.fixture
def settings(workplace) -> Iterator[tuple[str, ...]]:
    """Arguments of a run that signs, and whose versions a server in this process must accept."""
    store = Store(workplace.path / "models")
    store.create()
    private, public = seal.generate(workplace.path / "keys")
    found = of_store(store.root, Listen(port=0, rest_port=0))
    with ModelServer(replace(found, verifier=seal.read_verifier(public))) as server:
        probe = f'publish.probe=["{server.grpc_address}"]'
        yield (*QUICK, "--set", probe, "--set", f"publish.signing_key={private}")


@pytest.fixture(scope="module")
def undisturbed(published, tmp_path_factory) -> RunDir:
    """The same job, run once without a disturbance."""
    place = replace(published[0], path=tmp_path_factory.mktemp("undisturbed"))
    shutil.copy(published[0].path / "job.toml", place.path)
    done = place("run", "job.toml", *QUICK)
    assert done.returncode == 0, done.stderr
    return RunDir(place.path / json.loads(done.stdout)["run"])


def assert_ended_like(undisturbed: RunDir, place: Path) -> None:
    (path,) = [p for p in (place / "runs" / "tiny").iterdir()]
    run, store = RunDir(path), Store(place / "models")
    (version,) = store.versions("tiny")
    assert store.labels("tiny") == {"stable": version}
    store.verify("tiny", version)
    seal.read_verifier(place / "keys" / seal.PUBLIC).verify(
        store.path("tiny", version), "tiny", version
    )
    assert store.card("tiny", version)["run"] == path.name
    assert [event["event"] for event in store.history("tiny")] == ["publish"]
    assert [p.name for p in (place / "models" / "tiny").iterdir() if p.name[0] == "."] == []
    assert run.read_json("outcome.json")["version"] == version
    for name in ("evaluation.json", "history.csv"):
        assert without_times(run / name) == without_times(undisturbed / name)
    golden, expected = np.load(run / "golden.npz"), np.load(undisturbed / "golden.npz")
    assert np.array_equal(golden["probabilities"], expected["probabilities"])  # bit for bit
    assert "<h2>" in (run / "report.html").read_text()


def without_times(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return [line.rpartition(",")[0] for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_again_and_again_it_ends_like_an_undisturbed_run(workplace, settings, undisturbed):
    """Inside every stage and after it, one kill after the other, rerun and resumed in turn.

    Some stages take a millisecond: a kill that comes too late leaves points behind, which no later
    process comes to again. Each of them is visited for itself by the next test.
    """
    place, seconds = workplace.path, undisturbed.seconds()
    points = [(s, share) for s in STAGES for share in (seconds.get(s, 0.1) / 2, None)]
    kills = 0
    for stage, share in points:
        if stage in newest_state(place).get("stages", {}):
            continue
        runs = sorted(place.glob("runs/tiny/*"))
        again = ("--resume", str(runs[-1]), "--json") if kills % 2 and runs else None
        command = again or ("job.toml", *settings)
        assert workplace.killed(stage, share, "run", *command) == -9, (stage, share)
        kills += 1
    assert kills >= len(points) / 2
    done = workplace("run", "job.toml", *settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] in ("published", "unchanged")
    assert_ended_like(undisturbed, place)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_once_it_ends_like_an_undisturbed_run(
    workplace, settings, undisturbed, stage, inside
):
    share = undisturbed.seconds().get(stage, 0.1) / 2 if inside else None
    assert workplace.killed(stage, share, "run", "job.toml", *settings) == -9
    done = workplace("run", "job.toml", *settings)
    assert done.returncode == 0, done.stderr
    assert_ended_like(undisturbed, workplace.path)


def test_two_runs_of_a_name_at_once_are_one_run_and_a_clear_word(workplace):
    place = workplace.path
    with workplace.start("run", "job.toml", *QUICK) as first:
        until(lambda: list(place.glob("runs/tiny/*/state.json")), "a run")
        second = workplace("run", "job.toml", "--json")
    assert (second.returncode, second.stdout) == (2, "")
    assert f"runs/.tiny.lock is held by pid {first.pid} on " in second.stderr
    with held(place / "runs", "tiny"):  # the crash has released it
        pass
