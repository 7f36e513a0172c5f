"""A chief behind real sockets, asked by KerasTuner's own worker and by ours."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest

from tests.support.post import HOST, Post
from tests.support.search import MemoryPool, Notes, Rehearsal, age, config, drawn, peak_at_adam
from tests.support.waiting import until
from tuning.connection import ChiefLost, ChiefRefused, Connection
from tuning.messages import Status, rpc, service, types
from tuning.remote import LeasedPool, RemoteStudy
from tuning.service import AddressRefused
from tuning.supervisor import Supervisor
from tuning.trial import Outcome

GRID = {
    "train.learning_rate": {"choice": [0.01, 0.1]},
    "train.batch_size": {"choice": [16, 32]},
    "train.optimizer": {"choice": ["adam", "sgd"]},
}


@pytest.fixture
def post(rehearsal):
    """Make a post with a chief that stays until the test ends."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Post(rehearsal, **settings).manned())


def rows(study):
    return [(t.id, t.state, t.values, t.score) for t in study.ranked()]


@pytest.mark.parametrize("algorithm", ["random", "hyperband", "grid"])
def test_kerastuners_own_worker_runs_the_whole_search(post, plain, algorithm):
    there = post(algorithm=algorithm, space=GRID)
    worker, study = plain(there.port), there.chief.study
    assert study.is_over
    assert {trial.state for trial in study.trials.values()} == {"COMPLETED"}
    best = worker.get_best_hyperparameters()[0]
    assert best.get("train.learning_rate") == study.best().values["train.learning_rate"] == 0.1
    assert study.best().score == pytest.approx(0.6)
    assert there.chief.run(lambda: False)  # it knows that nobody waits for it


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_worker_of_ours_ends_like_a_supervisor(post, tmp_path, algorithm):
    (tmp_path / "alone").mkdir()
    alone, _, _ = Rehearsal(tmp_path / "alone").run(config(algorithm=algorithm))
    there = post(algorithm=algorithm)
    notes = there.work()
    assert rows(there.chief.study) == rows(alone)
    assert sorted(t.id for t in notes.ended) == sorted(alone.trials)
    assert there.chief.run(lambda: False)


def test_workers_at_the_same_time_share_the_trials(post):
    there = post()
    with ThreadPoolExecutor(3) as threads:
        notes = list(threads.map(there.work, ["a", "b", "c"]))
    ended = sorted(trial.id for note in notes for trial in note.ended)
    assert ended == sorted(there.chief.study.trials)
    assert len(ended) == 12


def test_one_worker_has_as_many_trials_as_its_host_bears(post):
    there = post(workers=2, max_trials=4)
    study = RemoteStudy(there.connection(), there.settings, "w0")
    both = [drawn(study), drawn(study)]
    assert study.next() is None
    assert study.running == {given.trial: given for given in both}
    assert set(there.chief.study.running) == set(study.running)


def test_how_an_attempt_ended_reaches_the_chief(post):
    there = post(retries=1)
    left = {"00": [Outcome("memory", reason="1 TB"), Outcome("raised", reason="no ünit")]}
    seen = []

    def result(given):
        seen.append(given)
        return left[given.trial].pop(0) if left.get(given.trial) else peak_at_adam(given)

    notes = there.work(result=result)
    assert there.chief.study.trials["00"].reason == "no ünit"
    assert there.chief.study.trials["00"].state == "FAILED"
    assert notes.retried == [("00", "1 TB")]
    assert [given.halvings for given in seen if given.trial == "00"] == [0, 1]


def test_a_trial_given_to_another_is_killed_where_it_ran(post):
    there = post(max_trials=1)
    connection = there.connection()
    study = RemoteStudy(connection, there.settings, "w0")
    pool = MemoryPool(lambda given: Outcome("killed", reason="signal SIGKILL"))
    leased = LeasedPool(pool, study)
    given = drawn(study)
    pool.start(0, given)
    with study.beating(lease_seconds=0.1):
        there.chief.leases.end(given.trial)
        until(study.lost)
    (report,) = leased.wait(1)
    assert pool.killed == [given.trial]
    assert report.outcome
    ended = study.finish(given.trial, report.outcome)
    assert ended
    assert ended.reason
    assert ended.reason.startswith("the chief has given it")
    assert given.trial in there.chief.study.running
    connection.close()


def test_the_end_of_the_time_ends_the_trials_of_every_worker(post):
    there = post(lease_seconds=1, hang_minutes=5, max_minutes=30)

    class Endless(MemoryPool):
        def wait(self, seconds):
            if there.chief.study.cut is None:
                age(there.chief.study, 600)
            there.chief.look()
            return []

    connection, notes = there.connection(), Notes()
    study = RemoteStudy(connection, there.settings, "w0")
    pool = Endless(peak_at_adam)
    with study.beating(lease_seconds=0.1):
        assert Supervisor(study, LeasedPool(pool, study), notes).run(lambda: False)
    assert [(t.state, t.reason) for t in notes.ended] == [
        ("STOPPED", "tune.max_minutes = 30 are over")
    ]
    assert set(pool.killed) == set(there.chief.study.trials)
    connection.close()


def test_a_worker_waits_for_the_next_chief_and_goes_on(rehearsal, tmp_path):
    (tmp_path / "alone").mkdir()
    alone, _, _ = Rehearsal(tmp_path / "alone").run(config())
    there, away, back = Post(rehearsal), threading.Event(), threading.Event()

    def result(given):
        if given.trial == "05" and not away.is_set():
            away.set()
            back.wait(60)
        return peak_at_adam(given)

    with ThreadPoolExecutor(1) as threads:
        with there.manned():
            worker = threads.submit(there.work, result=result)
            assert away.wait(60)
        back.set()
        with there.manned():
            worker.result()
            assert rows(there.chief.study) == rows(alone)
    created = [e for e in there.chief.study.journal.events if e["event"] == "create"]
    assert len(created) == len(alone.trials)
    assert not [e for e in there.chief.study.journal.events if e["event"] == "retry"]


def test_a_chief_that_stays_away_is_not_waited_for_forever(rehearsal):
    there = Post(rehearsal)
    with there.manned():
        pass
    with pytest.raises(ChiefLost, match=r"has not answered for 0\.001 minutes"):
        there.connection(minutes=0.001).join()


def test_a_worker_that_waits_can_be_stopped(rehearsal):
    there = Post(rehearsal)
    with there.manned():
        pass
    with pytest.raises(ChiefLost, match="asked to stop"):
        there.connection(pause=lambda seconds: True).join()


def test_a_chief_that_comes_back_with_another_search_is_refused(rehearsal, tmp_path):
    there = Post(rehearsal)
    with there.manned():
        connection = there.connection()
        connection.join()
        study = RemoteStudy(connection, there.settings, "w0")
        given = drawn(study)
    (tmp_path / "other").mkdir()
    there.rehearsal = Rehearsal(tmp_path / "other")
    with there.manned(run="tiny-tune/2"):
        with pytest.raises(ChiefRefused, match="holds the search tiny-tune/2, and .*tiny-tune/1"):
            study.finish(given.trial, peak_at_adam(given))
        assert there.chief.study.trials == {}
        assert there.chief.study.running == {}
    connection.close()


def test_what_is_no_chief_of_ours_is_refused_with_the_command_to_start_one():
    server = grpc.server(ThreadPoolExecutor(1))
    rpc.add_OracleServicer_to_server(rpc.OracleServicer(), server)
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    with pytest.raises(ChiefRefused, match="UNIMPLEMENTED.*convoy tune CONFIG --chief"):
        Connection(f"{HOST}:{port}", 1, threading.Event().wait).join()
    server.stop(None).wait()


def test_wrong_requests_are_refused_and_harm_nobody(post):
    there = post()
    oracle = there.connection().oracle
    given = oracle.CreateTrial(service.CreateTrialRequest(tuner_id="tuner7")).trial
    with pytest.raises(grpc.RpcError) as unknown:
        oracle.GetTrial(service.GetTrialRequest(trial_id="99"))
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    wrong = service.UpdateTrialRequest(trial_id=given.trial_id, metrics={"loss": 1.0})
    with pytest.raises(grpc.RpcError, match="objective val_accuracy is missing .*: loss"):
        oracle.UpdateTrial(wrong)
    ended = types.Trial(trial_id="99", status=Status.to_proto(Status.COMPLETED))
    oracle.EndTrial(service.EndTrialRequest(trial=ended))
    assert set(there.chief.study.running) == {given.trial_id}


def test_a_score_that_is_no_number_fails_the_trial(post):
    there = post()
    oracle = there.connection().oracle
    given = oracle.CreateTrial(service.CreateTrialRequest(tuner_id="tuner7")).trial
    nan = {"val_accuracy": float("nan")}
    oracle.UpdateTrial(service.UpdateTrialRequest(trial_id=given.trial_id, metrics=nan))
    ended = types.Trial(trial_id=given.trial_id, status=Status.to_proto(Status.COMPLETED))
    oracle.EndTrial(service.EndTrialRequest(trial=ended))
    assert there.chief.study.trials[given.trial_id].reason == "val_accuracy became nan"


def test_an_address_in_use_is_said_so(post):
    there = post()
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        there.port = taken.getsockname()[1]
        with (
            pytest.raises(AddressRefused, match="cannot listen at .*: it is in use"),
            there.manned(),
        ):
            pass
