"""What a scheduler can rely on when it calls `convoy run` again."""

import json
from pathlib import Path

import pytest

from jobs.config import load
from jobs.crew import Crew
from jobs.exits import ConfigError
from jobs.rundir import RunDir, in_order
from jobs.runs import COPIES, begin, prune, thin
from jobs.stages import DataChanged, Stages
from serving.store import Store
from trainer.callbacks import Hooks

QUICK = ("--set", "train.epochs=1", "--set", "bless.max_class_fall=1")


def result(done) -> dict:
    return json.loads(done.stdout) | {"code": done.returncode}


@pytest.fixture
def job(workplace):
    return load(workplace.path / "job.toml")


def test_unchanged_data_and_settings_are_nothing_to_do(own_published):
    place, first = own_published
    runs = sorted((place.path / "runs" / "tiny").iterdir())
    again = result(place("run", "job.toml", "--json"))
    assert (again["status"], again["code"]) == ("unchanged", 0)
    assert (again["version"], again["run"]) == (first["version"], first["run"])
    assert again["metrics"]["accuracy"] == first["metrics"]["accuracy"]
    assert sorted((place.path / "runs" / "tiny").iterdir()) == runs


@pytest.mark.slow
def test_a_forced_run_publishes_and_a_rollback_by_a_person_stays(workplace):
    place = workplace.path
    first, forced = (
        result(workplace("run", "job.toml", "--json", "--force", *QUICK)) for _ in range(2)
    )
    assert (first["status"], forced["status"]) == ("published", "published")
    store = Store(place / "models")
    assert store.versions("tiny") == [first["version"], forced["version"]]
    # The same data and settings would make the same model again.
    store.rollback("tiny")
    assert result(workplace("run", "job.toml", "--json", *QUICK))["status"] == "unchanged"
    assert store.live("tiny") == first["version"]


@pytest.mark.slow
def test_a_refused_model_is_judged_again_without_training_it_again(workplace):
    place, settings = workplace.path, ("--set", "train.epochs=1", "--set", "bless.min_accuracy=1")
    done = workplace("run", "job.toml", "--json", *settings)
    first = result(done)
    assert (first["status"], first["code"], first["version"]) == ("not_blessed", 3, None)
    assert "not blessed: accuracy is 0." in done.stderr
    run = place / first["run"]
    assert (run / "NOT_BLESSED").read_bytes() == b""
    assert not (run / "BLESSED").exists()
    assert not (place / "models" / "tiny").exists()
    trained = json.loads((run / "state.json").read_text())["stages"]["train"]
    again = result(workplace("run", "job.toml", "--json", *settings))
    assert (again["run"], again["code"]) == (first["run"], 3)
    assert json.loads((run / "state.json").read_text())["stages"]["train"] == trained


@pytest.mark.slow
def test_a_canary_goes_live_when_it_is_promoted(workplace):
    place = workplace.path
    done = result(workplace("run", "job.toml", "--json", "--set", "publish.canary=true", *QUICK))
    store = Store(place / "models")
    assert store.labels("tiny") == {"canary": done["version"]}
    promoted = result(workplace("models", "promote", "tiny", "--json"))
    assert promoted == {"name": "tiny", "live": done["version"], "code": 0}
    assert store.labels("tiny") == {"stable": done["version"]}
    assert workplace("models", "promote", "tiny").returncode == 2


def test_a_run_that_was_stopped_is_gone_on_with_until_its_settings_change(tmp_path, job):
    first, fresh = begin(tmp_path, job)
    again, anew = begin(tmp_path, job)
    assert (fresh, anew) == (True, False)
    assert again.path == first.path
    other = job.model_copy(update={"train": job.train.model_copy(update={"epochs": 7})})
    assert begin(tmp_path, other)[1]
    assert begin(tmp_path, job, force=True)[1]


def named(run: RunDir, name: str) -> RunDir:
    """Give a run another name, as a wrong clock or a person does."""
    return RunDir(run.path.rename(run.path.with_name(name)))


def test_the_newest_run_is_the_one_that_was_begun_last_whatever_its_name(tmp_path, job):
    names = ("20400101T000000Z-clock", "kept", "20260101T000000Z-aaaaaa")
    runs = [named(RunDir.create(tmp_path, "tiny", job.to_toml()), name) for name in names]
    for number, run in enumerate(runs):
        (run / "checkpoints").mkdir()
        profile = {"classes": {}, "brightness": [float(number)]}
        run.write_json("data.json", {"ok": True, "profile": profile})
    assert begin(tmp_path, job)[0].path == runs[2].path
    previous = runs[2].last_profile()
    assert previous is not None
    assert previous.brightness == [1.0]
    thin(runs[2], keep=2)
    assert [(run / "checkpoints").exists() for run in runs] == [False, True, True]


def test_runs_without_a_number_are_ordered_by_what_else_they_have_recorded(tmp_path):
    """Those begun before runs were numbered; a state that cannot be read is the oldest."""
    moments = {"b": "2026-03-01", "z": "2026-01-01", "a": "2026-02-01"}
    for name, moment in moments.items():
        (tmp_path / name).mkdir()
        stages = {"data": {"ended": moment}, "train": {"ended": f"{moment}T12"}}
        RunDir(tmp_path / name).write_json("state.json", {"stages": stages, "running": None})
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / "state.json").write_text("[")
    newest = RunDir.begin(tmp_path / "0", "")
    assert [path.name for path in in_order(tmp_path)] == ["zz", "z", "a", "b", "0"]
    assert newest.earlier("state.json")[0].path.name == "b"


@pytest.mark.parametrize("status", ["published", "rolled_back", "trained"])
def test_a_run_that_came_to_its_end_is_not_gone_on_with(tmp_path, job, status):
    first, _ = begin(tmp_path, job)
    first.write_json("outcome.json", {"status": status})
    assert begin(tmp_path, job)[1]


def test_a_run_is_not_continued_on_other_data(tmp_path, job):
    run, _ = begin(tmp_path, job)
    run.record_digest("of yesterday's data")
    with pytest.raises(DataChanged, match="digits has changed since .* Start a new run"):
        Stages(job, run, Hooks(), Crew()).prepare_data()
    assert issubclass(DataChanged, ConfigError)


def test_old_runs_keep_their_records_and_lose_what_is_heavy(tmp_path, job):
    runs = [RunDir.create(tmp_path, "tiny", job.to_toml()) for _ in range(4)]
    for run in runs:
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "epoch-00001.npz").write_bytes(b"weights")
        (run / "partial-export").mkdir()
        run.write("report.html", "<p>")
    thin(runs[-1], keep=2)
    for run in runs[:2]:
        assert {p.name for p in run.path.iterdir()} == {"config.toml", "state.json", "report.html"}
    for run in runs[2:]:
        assert (run / "checkpoints" / "epoch-00001.npz").exists()


def test_the_run_at_hand_is_never_thinned(tmp_path, job):
    runs = [RunDir.create(tmp_path, "tiny", job.to_toml()) for _ in range(3)]
    (runs[0] / "checkpoints").mkdir()
    thin(runs[0], keep=1)
    assert (runs[0] / "checkpoints").exists()


def copies_of(runs: list[RunDir]) -> list[bool]:
    """Tell of each run whether the copy of data that it alone used is there."""
    return [Path(run.read_json(COPIES)[-1]).exists() for run in runs]


def test_copies_of_data_that_only_old_runs_used_are_removed(tmp_path, job):
    job = job.model_copy(
        update={
            "data": job.data.model_copy(update={"data_dir": str(tmp_path / "data")}),
            "runs": job.runs.model_copy(update={"keep_data": 2}),
        }
    )
    runs = [RunDir.create(tmp_path / "runs", "tiny", job.to_toml()) for _ in range(5)]
    shared, foreign = tmp_path / "data" / "shared", tmp_path / "elsewhere"
    for run in runs:
        place = tmp_path / "data" / run.path.name
        for directory in (place, shared, foreign):
            directory.mkdir(parents=True, exist_ok=True)
        used = [foreign, shared, place] if run is runs[0] else [shared, place]
        run.write_json(COPIES, list(map(str, used)))
    prune(runs[-1], job, {runs[1].path.name})
    assert copies_of(runs) == [False, True, False, True, True]  # 1 is of a version that is served
    assert shared.exists()  # recent runs use it as well
    assert foreign.exists()  # it lies elsewhere
    prune(runs[-1], job, set())
    assert copies_of(runs) == [False, False, False, True, True]


def test_nothing_outside_of_the_data_directory_is_ever_removed(tmp_path, job):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for place in (data / "old", elsewhere):
        place.mkdir(parents=True)
    (data / "link").symlink_to(elsewhere)
    job = job.model_copy(
        update={
            "data": job.data.model_copy(update={"data_dir": str(data)}),
            "runs": job.runs.model_copy(update={"keep_data": 1}),
        }
    )
    old, new = (RunDir.create(tmp_path / "runs", "tiny", job.to_toml()) for _ in range(2))
    names = ("old", "link", "../elsewhere", "old/../../elsewhere", ".")
    old.write_json(COPIES, [f"{data}/{name}" for name in names])
    prune(new, job, set())
    assert elsewhere.is_dir()
    assert data.is_dir()
    assert not (data / "old").exists()


def test_a_run_that_finds_other_data_still_answers_for_those_it_began_with(tmp_path, job):
    run, _ = begin(tmp_path, job)
    run.record_digest("of yesterday's data")
    run.write_json(COPIES, ["/data/yesterday"])
    with pytest.raises(DataChanged):
        Stages(job, run, Hooks(), Crew()).prepare_data()
    recorded = run.read_json(COPIES)
    assert "/data/yesterday" in recorded
    assert any(place.startswith(str(Path(job.data.data_dir).resolve())) for place in recorded)


def test_a_run_that_is_resumed_keeps_its_data(tmp_path, job):
    job = job.model_copy(
        update={
            "data": job.data.model_copy(update={"data_dir": str(tmp_path)}),
            "runs": job.runs.model_copy(update={"keep_data": 1}),
        }
    )
    runs = [RunDir.create(tmp_path / "runs", "tiny", job.to_toml()) for _ in range(2)]
    for number, run in enumerate(runs):
        (tmp_path / str(number)).mkdir()
        run.write_json(COPIES, [str(tmp_path / str(number))])
    prune(runs[0], job, set())
    assert copies_of(runs) == [True, True]
