"""Who holds which trial, by a clock that the test moves."""

import pytest

from tests.support.search import Clock
from tuning.lease import ASLEEP, Lease, Leases


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(clock):
    return Leases(clock)


def look_for(leases, clock, seconds):
    """Let time go by, with a look every second as a chief takes it."""
    found: dict[str, Lease] = {}
    for _ in range(seconds):
        clock.now += 1
        found |= leases.expired()
    return sorted(found)


def test_a_silent_worker_loses_its_trial(leases, clock):
    leases.grant("00", "quick", 10)
    leases.grant("01", "slow", 20)
    assert look_for(leases, clock, 10) == []
    assert look_for(leases, clock, 1) == ["00"]
    assert look_for(leases, clock, 10) == ["00", "01"]


def test_a_sign_of_life_starts_the_time_anew(leases, clock):
    leases.grant("00", "worker", 10)
    for _ in range(5):
        assert look_for(leases, clock, 9) == []
        assert leases.renew("00", "worker")
    assert look_for(leases, clock, 11) == ["00"]


def test_only_the_holder_can_renew(leases):
    leases.grant("00", "worker", 10)
    assert not leases.renew("00", "other")
    assert not leases.renew("01", "worker")
    leases.end("00")
    assert not leases.renew("00", "worker")
    assert leases.holder("00") is None


def test_the_newest_lease_of_a_trial_counts(leases):
    leases.grant("00", "first", 10)
    leases.grant("00", "second", 10)
    assert not leases.renew("00", "first")
    assert leases.holder("00") == "second"
    assert leases.holdings() == {"second": "00"}


def test_a_trial_that_has_ended_never_expires(leases, clock):
    leases.grant("00", "worker", 10)
    leases.end("00")
    assert look_for(leases, clock, 30) == []


def test_time_in_which_the_chief_was_suspended_counts_for_no_worker(leases, clock):
    leases.grant("00", "worker", 10)
    assert look_for(leases, clock, 8) == []
    clock.now += 3600
    assert leases.expired() == {}
    assert look_for(leases, clock, 2) == []
    assert look_for(leases, clock, 1) == ["00"]


def test_a_look_a_little_late_is_no_suspension(leases, clock):
    leases.grant("00", "worker", 2)
    clock.now += ASLEEP
    assert list(leases.expired()) == ["00"]
