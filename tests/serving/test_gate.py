"""A closed gate lets those inside finish and tells everybody else."""

import threading
import time

import pytest

from serving.errors import RequestError
from serving.gate import Gate


def test_a_closed_gate_turns_requests_away():
    gate = Gate()
    gate.enter()
    gate.close()
    gate.leave()
    with pytest.raises(RequestError, match="the server is shutting down") as caught:
        gate.enter()
    assert caught.value.code == "UNAVAILABLE"


def test_those_inside_are_waited_for():
    gate = Gate()
    leave = threading.Event()
    inside = threading.Event()

    def request() -> None:
        gate.enter()
        inside.set()
        leave.wait(10)
        gate.leave()

    thread = threading.Thread(target=request)
    thread.start()
    inside.wait(10)
    gate.close()
    assert not gate.wait_until_quiet(quiet=0, timeout=0.05)
    leave.set()
    assert gate.wait_until_quiet(quiet=0, timeout=10)
    thread.join()


def test_a_knock_prolongs_the_wait():
    gate = Gate()
    gate.close()
    started = time.monotonic()
    with pytest.raises(RequestError):
        gate.enter()
    assert gate.wait_until_quiet(quiet=0.1, timeout=10)
    assert time.monotonic() - started >= 0.1
