"""Requests that are submitted to be answered later, and hold no thread."""

import queue
import threading
import time
from typing import Any

import numpy as np
import pytest

from serving.batching import Batcher
from serving.errors import RequestError
from serving.settings import Batching
from tests.support.doubler import Caller, Doubler, busy, queued
from tests.support.waiting import until


def submitted(batcher: Batcher, x: Any, seconds: float = 10.0) -> "queue.Queue[Any]":
    """Where the answer to a request will be that no thread waits for."""
    answers: queue.Queue[Any] = queue.Queue()
    inputs = {"x": np.asarray(x, np.float32)}
    batcher.submit("double", inputs, time.monotonic() + seconds, answers.put)
    return answers


def test_submitted_requests_are_batched_with_the_others_and_hold_no_thread():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1))
    first = busy(model, batcher)
    answers = [submitted(batcher, [[float(n)]]) for n in range(20)]
    waiting = queued(batcher, [[100.0]])
    model.gate.set()
    assert [answer.get(timeout=10)["y"].tolist() for answer in answers] == [
        [[2 * n]] for n in range(20)
    ]
    assert (first.result().tolist(), waiting.result().tolist()) == ([[0]], [[200]])
    assert model.batches == [1, 21]


def test_a_submitted_request_computes_what_came_meanwhile():
    model = Doubler()
    model.gate.clear()
    batcher = Batcher(model, Batching(threads=1))
    answers: list[queue.Queue[Any]] = []
    thread = threading.Thread(target=lambda: answers.append(submitted(batcher, [[1.0]])))
    thread.start()
    until(lambda: len(model.batches) == 1)
    behind = queued(batcher, [[2.0]])
    model.gate.set()
    assert behind.result().tolist() == [[4]]
    thread.join(10)
    assert answers[0].get(timeout=10)["y"].tolist() == [[2]]


def test_submitted_errors_are_answers_too():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1))
    first = busy(model, batcher)
    good, bad = submitted(batcher, [[1.0]]), submitted(batcher, [[-1.0]])
    late = submitted(batcher, [[1.0]], seconds=-1)
    model.gate.set()
    assert good.get(timeout=10)["y"].tolist() == [[2]]
    assert bad.get(timeout=10).message == "negative"
    assert late.get(timeout=10).code == "DEADLINE_EXCEEDED"
    assert first.result().tolist() == [[0]]


def test_submitted_requests_that_are_late_leave_their_places_in_a_full_queue():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1, max_queue=2))
    first = busy(model, batcher)
    late = [submitted(batcher, [[1.0]], seconds=-1) for _ in range(2)]
    patient = submitted(batcher, [[2.0]])
    assert [answer.get(timeout=10).code for answer in late] == ["DEADLINE_EXCEEDED"] * 2
    submitted(batcher, [[3.0]])
    with pytest.raises(RequestError, match="is full: 2"):
        submitted(batcher, [[4.0]])
    model.gate.set()
    assert patient.get(timeout=10)["y"].tolist() == [[4]]
    first.join(10)


def test_a_caller_that_fails_to_take_its_answer_stops_nobody():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1))
    first = busy(model, batcher)

    def fail(outcome: Any) -> None:
        raise OSError("the line is dead")

    batcher.submit("double", {"x": np.ones((1, 1), np.float32)}, None, fail)
    behind = submitted(batcher, [[2.0]])
    model.gate.set()
    assert behind.get(timeout=10)["y"].tolist() == [[4]]
    first.join(10)
    assert Caller(batcher, [[3.0]]).result().tolist() == [[6]]
