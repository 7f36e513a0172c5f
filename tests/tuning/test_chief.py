import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.search import Clock, Notes, Rehearsal, age, config, peak_at_adam
from tuning.chief import BrokenStudy, Chief
from tuning.lease import Leases
from tuning.trial import Outcome

LEASE = 30  # seconds, as tune.lease_seconds is unless set
A, B = "a~1", "b~1"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(rehearsal, clock):
    """Start a chief of one search, or start it again."""

    def begin(**settings):
        return Chief(rehearsal.study(config(**settings)), Notes(), Leases(clock))

    return begin


def pass_time(chief, clock, seconds):
    for _ in range(seconds):
        clock.now += 1
        chief.look()


def score(chief, worker, given):
    chief.finish(given.trial, worker, peak_at_adam(given))


def finish_all(chief, worker):
    while (given := chief.take(worker)) is not None:
        score(chief, worker, given)


def rows(study):
    return [(t.id, t.state, t.values, t.score) for t in study.ranked()]


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_workers_share_the_trials_that_one_process_would_run(start, algorithm, tmp_path):
    (tmp_path / "alone").mkdir()
    alone, _, _ = Rehearsal(tmp_path / "alone").run(config(algorithm=algorithm))
    chief = start(algorithm=algorithm)
    finish_all(chief, A)
    assert chief.study.is_over
    assert rows(chief.study) == rows(alone)


def test_who_asks_twice_has_one_trial(start):
    """The first answer may have been lost on its way."""
    chief = start()
    given = chief.take(A)
    assert chief.take(A) == given
    assert chief.take(B).trial != given.trial


def test_the_trial_of_a_silent_worker_is_given_out_again(start, clock):
    chief = start()
    lost = chief.take(A)
    pass_time(chief, clock, LEASE + 1)
    assert chief.take(B) == lost
    assert chief.watcher.retried == [(lost.trial, f"its worker a was silent for {LEASE} s")]
    assert not chief.hear(lost.trial, A)
    score(chief, A, lost)
    assert lost.trial in chief.study.running  # what comes too late changes nothing
    score(chief, B, lost)
    assert chief.study.trials[lost.trial].state == "COMPLETED"


def test_a_worker_that_tells_that_it_lives_keeps_its_trial(start, clock):
    chief = start()
    given = chief.take(A)
    for _ in range(4):
        pass_time(chief, clock, LEASE - 1)
        assert chief.hear(given.trial, A)
    assert chief.leases.holder(given.trial) == A
    assert chief.watcher.retried == []


def test_a_trial_that_silences_every_worker_is_failed_in_the_end(start, clock):
    chief = start(retries=1)
    lost = chief.take(A)
    pass_time(chief, clock, LEASE + 1)
    chief.take(B)
    pass_time(chief, clock, LEASE + 1)
    assert chief.study.trials[lost.trial].state == "FAILED"
    assert chief.take(A).trial != lost.trial


def test_a_worker_that_was_started_again_is_known_at_once(start):
    chief = start(retries=1)
    lost = chief.take("a~1")
    assert chief.take("a~2") == lost
    assert chief.watcher.retried == [(lost.trial, "its worker a died and was started again")]
    chief.take("a~3")
    assert chief.study.trials[lost.trial].state == "FAILED"


def test_a_worker_that_stops_on_request_uses_up_no_retry(start):
    chief = start(retries=0)
    given = chief.take(A)
    chief.leave(A)
    assert chief.take(B) == given
    again = start(retries=0)
    assert again.leases.holder(given.trial) == B


def test_a_chief_started_again_knows_who_runs_what(start, clock):
    first = start()
    finished, running = first.take(A), first.take(B)
    score(first, A, finished)
    chief = start()
    assert chief.hear(running.trial, B)
    third = chief.take(A)
    assert third.trial not in (finished.trial, running.trial)
    score(chief, B, running)
    score(chief, B, running)  # told again, as the first answer was lost with the chief
    assert set(chief.study.trials) == {finished.trial, running.trial}
    created = [e for e in chief.study.journal.events if e["event"] == "create"]
    assert len({e["trial"] for e in created}) == len(created) == 3


@pytest.mark.parametrize("ended", [1, 6])
@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_chief_killed_and_started_again_ends_like_an_undisturbed_one(
    start, tmp_path, algorithm, ended
):
    (tmp_path / "alone").mkdir()
    alone, _, _ = Rehearsal(tmp_path / "alone").run(config(algorithm=algorithm))
    chief = start(algorithm=algorithm)
    for _ in range(ended):
        score(chief, A, chief.take(A))
    chief.take(A)
    again = start(algorithm=algorithm)
    finish_all(again, A)
    assert rows(again.study) == rows(alone)
    events = [e for e in again.study.journal.events if e["event"] == "end"]
    assert len(events) == len(alone.trials)


def test_who_finds_nothing_to_do_is_served_as_soon_as_there_is(start):
    chief = start(max_trials=1)
    given = chief.take(A)
    assert chief.take(B) is None
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(chief.take, B)
        chief.leave(A)
        assert waiting.result() == given


def test_the_chief_ends_when_the_work_does_and_its_workers_know(start):
    chief = start(max_trials=2)
    finish_all(chief, A)
    assert chief.take(B) is None
    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(chief.run, lambda: False)
        chief.dismiss(A)
        chief.dismiss(B)
        assert ending.result()


def test_a_worker_that_never_comes_back_is_not_waited_for_longer_than_a_lease(start):
    chief = start(max_trials=2, lease_seconds=1)
    finish_all(chief, A)
    assert chief.run(lambda: False)


def test_a_chief_asked_to_stop_leaves_the_search_to_the_next(start):
    chief = start()
    given = chief.take(A)
    assert not chief.run(lambda: True)
    assert start().leases.holder(given.trial) == A


def test_the_time_limit_takes_all_trials_from_their_workers(start):
    chief = start(max_minutes=10)
    given = chief.take(A)
    chief.look()
    assert chief.study.running
    age(chief.study, 601)
    assert chief.run(lambda: not chief.study.running)
    assert chief.study.trials[given.trial].state == "STOPPED"
    assert not chief.hear(given.trial, A)
    assert chief.take(A) is None


def test_failures_end_the_search_and_nobody_hangs(start):
    chief = start(max_failed=2)
    for worker in (A, B):
        chief.finish(chief.take(worker).trial, worker, Outcome("raised", reason="no disk"))
    assert chief.take(A) is None
    assert chief.study.cut == "2 trials failed, as many as tune.max_failed allows"
    assert chief.study.is_over


def test_what_breaks_the_study_in_a_call_ends_the_chief_and_blocks_no_other_call(start):
    chief = start()
    chief.take(A)
    shutil.rmtree(chief.study.journal.path.parent)
    with pytest.raises(BrokenStudy, match="FileNotFoundError"):
        chief.take(B)
    with pytest.raises(BrokenStudy, match="it ends after an error"):
        chief.take(B)
    with pytest.raises(BrokenStudy, match="it ends after an error") as caught:
        chief.run(lambda: False)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
