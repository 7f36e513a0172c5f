"""Between the two writes of a publish servers are asked, or time passes; then the label moves."""

import logging
from pathlib import Path

import numpy as np
import pytest

from jobs import release as stages
from jobs.config import Job, load
from jobs.golden import Golden
from jobs.release import Release
from jobs.rundir import RunDir
from jobs.settling import Settling
from serving.store import Store
from tests.support.classifier import write_manifest
from tests.support.publishing import put_in_service
from trainer.callbacks import Hooks, Interrupted

NOBODY = "127.0.0.1:1"


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def export(tmp_path: Path) -> Path:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "saved_model.pb").write_bytes(b"")
    write_manifest(tmp_path / "export")
    return tmp_path / "export"


def release_of(
    job_file: Path, slept: list[float], version: int, hooks: Hooks | None = None, **more: object
) -> Release:
    """The last stages of a run that has published a version; its label waits."""
    job: Job = load(job_file)
    publish = job.publish.model_copy(update={"store": str(job_file.parent / "models"), **more})
    job = job.model_copy(update={"publish": publish})
    run = RunDir.begin(job_file.parent / "runs" / "tiny" / "one", job.to_toml())
    run.write_json(stages.PUBLISHED, {"version": version, "label": "stable"})
    rows = {"serving_default": ("image", np.zeros((1, 16, 16, 1), np.uint8))}
    Golden(rows, np.zeros((1, 10), np.float32)).save(run / stages.GOLDEN)
    return Release(job, run, hooks or Hooks(), slept.append)


@pytest.fixture
def store(workplace, export: Path) -> Store:
    store = Store(workplace.path / "models")
    put_in_service(store, "tiny", export)
    return store


def test_time_passes_in_steps_between_which_it_can_be_given_up(slept: list[float]):
    checks: list[int] = []
    settling = Settling(settle_seconds=1.2, check=lambda: checks.append(1), sleep=slept.append)
    assert settling.wait({"digits": {1}}) == []
    assert sum(slept) == pytest.approx(1.2)
    assert len(checks) == len(slept) == 3


def test_a_store_that_nobody_polls_is_not_waited_for(slept: list[float]):
    Settling(settle_seconds=0, sleep=slept.append).wait({"digits": {1}})
    assert slept == []


def test_a_server_that_does_not_answer_is_asked_until_loading_takes_too_long(slept: list[float]):
    settling = Settling((NOBODY,), settle_seconds=0, load_seconds=1, sleep=slept.append)
    (lack,) = settling.wait({"digits": {1}})
    assert (lack.server, lack.version, lack.reached) == (NOBODY, 1, False)
    assert sum(slept) == 1


def test_without_probes_the_label_moves_when_time_has_passed_with_a_warning(
    workplace, store: Store, export: Path, slept: list[float], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    old, new = store.live("tiny"), store.publish("tiny", export)
    release = release_of(workplace.path / "job.toml", slept, new, settle_seconds=30)
    assert store.live("tiny") == old
    assert release.roll_out_export() == (new, [])
    assert sum(slept) == 30
    assert store.live("tiny") == new
    assert "refuses the whole models.config, all models, while a label moves" in caplog.text
    slept.clear()
    assert release.roll_out_export() == (new, [])  # resumed: there is nothing to wait for
    assert slept == []


def test_a_first_version_is_waited_for_by_nobody(
    workplace, export: Path, slept: list[float], caplog: pytest.LogCaptureFixture
):
    store = Store(workplace.path / "models")
    version = store.publish("tiny", export)
    release = release_of(workplace.path / "job.toml", slept, version, settle_seconds=30)
    assert release.roll_out_export() == (version, [])
    assert (slept, store.live("tiny")) == ([], version)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_run_stopped_while_it_waits_goes_on_to_move_the_label(
    workplace, store: Store, export: Path, slept: list[float]
):
    old, new = store.live("tiny"), store.publish("tiny", export)
    stops = iter([False, False, False, True])  # it begins, publishes, waits, and is told to stop
    hooks = Hooks(stop_requested=lambda: next(stops))
    with pytest.raises(Interrupted):
        release_of(
            workplace.path / "job.toml", slept, new, hooks, settle_seconds=9
        ).roll_out_export()
    assert (store.live("tiny"), store.pending("tiny")) == (old, {"stable": new})
    release_of(workplace.path / "job.toml", slept, new, settle_seconds=9).roll_out_export()
    assert (store.live("tiny"), store.pending("tiny")) == (new, {})


def test_a_failed_probe_withdraws_before_the_label_has_moved(
    workplace, store: Store, export: Path, slept: list[float]
):
    old, new = store.live("tiny"), store.publish("tiny", export)
    job_file = workplace.path / "job.toml"
    release = release_of(job_file, slept, new, probe=(NOBODY,), probe_seconds=0.1)
    version, (fault,) = release.roll_out_export()
    assert version == new
    assert fault.startswith(f"{NOBODY} does not serve tiny version {new}")
    labelled = [e for e in store.history("tiny") if e.get("label") and not e.get("pending")]
    assert {event["version"] for event in labelled} == {old}
    assert (store.live("tiny"), store.pending("tiny")) == (old, {})
    assert new not in store.served("tiny")


def test_a_label_that_no_server_ever_confirmed_is_told_before_the_next_publish(
    workplace, store: Store, export: Path, slept: list[float], caplog: pytest.LogCaptureFixture
):
    release = release_of(workplace.path / "job.toml", slept, 0)
    release._look_at_last_label()
    assert f"serves tiny version {store.live('tiny')}, which has a label" in caplog.text
    assert "--servers HOST:PORT asks them" in caplog.text
    caplog.clear()
    new = store.publish("tiny", export)
    store.settle("tiny", new, ["server:8500"])
    release._look_at_last_label()
    assert caplog.text == ""
