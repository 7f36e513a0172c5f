import pytest

from tests.support.search import MemoryPool, Notes, config, peak_at_adam
from tuning.supervisor import NoRoom, Supervisor
from tuning.trial import Outcome, Report


def after(count, first, then=peak_at_adam):
    """Give a result that the first `count` attempts of trial 01 replace by another."""
    left = [count]

    def result(assignment):
        if assignment.trial == "01" and left[0]:
            left[0] -= 1
            return first
        return then(assignment)

    return result


KILLED = Outcome("killed", reason="its process ended by signal SIGKILL")


def test_a_killed_trial_is_tried_again_and_completes(rehearsal):
    study, pool, notes = rehearsal.run(config(), after(2, KILLED))
    assert all(trial.state == "COMPLETED" for trial in study.trials.values())
    assert notes.retried == [("01", KILLED.reason)] * 2
    assert sum(given.trial == "01" for given in pool.started) == 3


def test_after_its_retries_a_killed_trial_counts_as_failed(rehearsal):
    study, pool, _ = rehearsal.run(config(retries=1), after(9, KILLED))
    assert study.trials["01"].state == "FAILED"
    assert study.trials["01"].reason == KILLED.reason
    assert sum(given.trial == "01" for given in pool.started) == 2
    assert len(study.trials) == 12


def test_retries_are_counted_across_restarts(rehearsal):
    settings = config(retries=1)
    study = rehearsal.study(settings)
    study.next()
    second = study.next()
    assert study.finish(second.trial, KILLED) is None
    again = rehearsal.study(settings)
    assert again.finish(second.trial, KILLED).state == "FAILED"


def test_out_of_memory_halves_the_batch_without_using_up_retries(rehearsal):
    full = Outcome("memory", reason="out of memory: 1 TB")
    study, pool, _ = rehearsal.run(config(retries=0), after(3, full))
    tried = [given.halvings for given in pool.started if given.trial == "01"]
    assert tried == [0, 1, 2, 3]
    assert study.trials["01"].state == "COMPLETED"


def test_what_never_fits_is_failed_as_out_of_memory(rehearsal):
    study, _, _ = rehearsal.run(config(), after(99, Outcome("memory", reason="out of memory")))
    assert (study.trials["01"].state, study.trials["01"].reason) == ("FAILED", "out of memory")


def test_a_full_disk_ends_the_search_and_fails_no_trial(rehearsal):
    full = Outcome("no_room", reason="a/b: No space left on device")
    with pytest.raises(NoRoom, match="a/b: No space left on device"):
        rehearsal.run(config(retries=0), after(1, full))
    study, _, _ = rehearsal.run(config(retries=0), peak_at_adam)
    assert {trial.state for trial in study.trials.values()} == {"COMPLETED"}


class Silent(MemoryPool):
    """Ends a trial only when it is killed, as one that hangs."""

    def wait(self, seconds):
        if not self.killed:
            return []
        trial = self.killed.pop()
        return [Report(trial, outcome=KILLED)]


@pytest.mark.parametrize(
    ("settings", "megabytes", "reason"),
    [
        ({"hang_minutes": 1e-6}, 0.0, "hung: no training step in 1e-06 minutes"),
        ({"memory_limit_mb": 500}, 501.0, "out of memory: its process held over 500 MB"),
    ],
)
def test_what_hangs_or_swells_is_killed_and_the_reason_told(rehearsal, settings, megabytes, reason):
    study = rehearsal.study(config(max_trials=1, retries=0, **settings))
    pool = Silent(peak_at_adam, megabytes=megabytes)
    Supervisor(study, pool, Notes()).run(lambda: False)
    [trial] = study.trials.values()
    assert (trial.state, trial.reason) == ("FAILED", reason)


def test_the_time_limit_stops_running_trials_and_accounts_for_them(rehearsal):
    study = rehearsal.study(config(workers=2, max_minutes=0.002))
    pool = Silent(peak_at_adam)
    Supervisor(study, pool, Notes()).run(lambda: False)
    assert study.is_over
    assert {trial.state for trial in study.trials.values()} == {"STOPPED"}
    assert {trial.reason for trial in study.trials.values()} == {
        "tune.max_minutes = 0.002 are over"
    }
    assert set(pool.killed) == set(study.trials)


def test_a_request_to_stop_leaves_the_search_to_be_taken_up(rehearsal):
    study, pool, _ = rehearsal.run(config(), until=4)
    assert not study.is_over
    assert len(study.trials) == 4
    assert len(pool.started) <= 5
