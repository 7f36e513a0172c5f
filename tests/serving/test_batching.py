"""Batches form while one executes; nobody's request suffers from a neighbour's."""

import struct
import threading
from typing import Any

import numpy as np
import pytest

from serving.batching import Batcher
from serving.settings import Batching
from serving.wire import predict_pb2
from tests.support.doubler import Caller, Doubler, Echo, busy, queued
from tests.support.waiting import until

FLOAT = predict_pb2.DT_FLOAT


def test_an_idle_model_runs_a_request_at_once_and_alone():
    model = Doubler()
    batcher = Batcher(model, Batching())
    for value in (1.0, 2.0):
        assert batcher.predict("double", {"x": np.array([[value]], np.float32)})["y"] == 2 * value
    assert model.batches == [1, 1]


def test_what_arrives_during_a_batch_is_the_next_one():
    model = Doubler()
    sizes: list[int] = []
    batcher = Batcher(model, Batching(threads=1), sizes.append)
    first = busy(model, batcher)
    others = [queued(batcher, [[float(n)], [n + 0.5]]) for n in range(5)]
    model.gate.set()
    assert [other.result().tolist() for other in others] == [
        [[2 * n], [2 * n + 1]] for n in range(5)
    ]
    assert first.result().tolist() == [[0]]
    assert model.batches == [1, 10]
    assert sizes == [1, 10]


def test_rows_of_a_model_that_gives_more_than_it_says_are_never_mixed_up():
    model = Doubler(repeats=2)
    batcher = Batcher(model, Batching(threads=1))
    first = busy(model, batcher)
    others = [queued(batcher, [[float(n)]]) for n in range(3)]
    model.gate.set()
    assert first.result().tolist() == [[0], [0]]
    assert [other.result().tolist() for other in others] == [[[2 * n]] * 2 for n in range(3)]
    assert model.batches == [1, 3, 1, 1, 1]  # together first, then each alone


def test_batches_end_at_their_limit():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1, max_batch_size=3))
    busy(model, batcher)
    others = [queued(batcher, [[1.0]]) for _ in range(7)]
    model.gate.set()
    assert [other.result().tolist() for other in others] == [[[2]]] * 7
    assert model.batches == [1, 3, 3, 1]


def test_a_request_above_the_limit_runs_alone():
    model = Doubler()
    batcher = Batcher(model, Batching(max_batch_size=2))
    x = np.ones((5, 1), np.float32)
    assert batcher.predict("double", {"x": x})["y"].shape == (5, 1)
    assert model.batches == [5]


def test_a_signature_without_a_batch_axis_is_not_joined():
    model = Doubler(batched=False)
    batcher = Batcher(model, Batching())
    model.gate.clear()
    callers = [Caller(batcher, [[1.0]]) for _ in range(3)]
    until(lambda: model.batches == [1, 1, 1])
    model.gate.set()
    assert [caller.result().tolist() for caller in callers] == [[[2]]] * 3


def test_shapes_are_not_mixed():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1))
    busy(model, batcher)
    narrow = [queued(batcher, [[1.0]]), queued(batcher, [[2.0]])]
    wide = [queued(batcher, [[1.0, 2.0]]), queued(batcher, [[3.0, 4.0]])]
    model.gate.set()
    assert [caller.result().tolist() for caller in narrow] == [[[2]], [[4]]]
    assert [caller.result().tolist() for caller in wide] == [[[2, 4]], [[6, 8]]]
    assert model.batches == [1, 2, 2]


def test_a_bad_row_fails_its_own_request_only():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1))
    busy(model, batcher)
    callers = [queued(batcher, [[value]]) for value in (1.0, -1.0, 3.0)]
    model.gate.set()
    assert callers[0].result().tolist() == [[2]]
    assert callers[1].result() is None
    assert callers[1].error is not None
    assert callers[1].error.message == "negative"
    assert callers[2].result().tolist() == [[6]]


def test_a_full_queue_turns_requests_away():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1, max_queue=2))
    busy(model, batcher)
    waiting = [queued(batcher, [[1.0]]) for _ in range(2)]
    refused = Caller(batcher, [[1.0]])
    refused.join(10)
    model.gate.set()
    assert refused.error is not None
    assert refused.error.code == "UNAVAILABLE"
    assert "queue to which this task was submitted is full: 2" in refused.error.message
    assert all(caller.result().tolist() == [[2]] for caller in waiting)


def test_a_deadline_that_passes_in_the_queue_ends_the_request_unserved():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1))
    busy(model, batcher)
    late = queued(batcher, [[1.0]], seconds=0.05)
    late.join(10)
    patient = queued(batcher, [[2.0]])
    model.gate.set()
    assert late.error is not None
    assert late.error.code == "DEADLINE_EXCEEDED"
    assert patient.result().tolist() == [[4]]
    assert model.batches == [1, 1]
    assert batcher.queued == 0


def test_requests_that_gave_up_leave_their_places():
    """Else a queue full of them would stay full for ever."""
    model = Doubler()
    batcher = Batcher(model, Batching(threads=1, max_queue=3))
    first = busy(model, batcher)
    late = [queued(batcher, [[1.0]], seconds=0.2) for _ in range(3)]
    for caller in late:
        caller.join(10)
    assert batcher.queued == 0
    model.gate.set()
    first.join(10)
    assert Caller(batcher, [[2.0]]).result().tolist() == [[4]]


def test_batches_are_padded_to_the_allowed_sizes():
    model = Doubler()
    batcher = Batcher(model, Batching(max_batch_size=8, sizes=(4, 8)))
    x = np.array([[1.0], [2.0], [3.0]], np.float32)
    assert batcher.predict("double", {"x": x})["y"].tolist() == [[2], [4], [6]]
    assert model.batches == [4]


def test_several_batches_run_side_by_side_when_allowed():
    model = Doubler()
    batcher = Batcher(model, Batching(threads=2))
    first = busy(model, batcher)
    second = Caller(batcher, [[1.0]])
    until(lambda: len(model.batches) == 2)
    model.gate.set()
    assert (first.result().tolist(), second.result().tolist()) == ([[0]], [[2]])


@pytest.mark.parametrize("threads", [1, 2])
def test_many_callers_all_get_their_own_answers(threads):
    model = Doubler()
    batcher = Batcher(model, Batching(threads=threads, max_batch_size=16))
    wrong: list[float] = []

    def call(start: int) -> None:
        for n in range(start, start + 200):
            answer = batcher.predict("double", {"x": np.array([[n]], np.float32)})["y"]
            if answer.tolist() != [[2 * n]]:
                wrong.append(n)

    threads = [threading.Thread(target=call, args=(1000 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(model.batches) == 16 * 200


def test_images_that_take_long_leave_a_thread_to_the_others():
    model = Echo()
    batcher = Batcher(model, Batching(threads=2))
    large = np.array([b"GIF89a" + struct.pack("<HH", 5000, 5000) + bytes(9)], object)
    model.gate.clear()
    first = Caller(batcher, large)
    until(lambda: len(model.batches) == 1)
    others = [queued(batcher, large) for _ in range(2)]
    small = Caller(batcher, np.array([b"small"], object))  # not queued: a thread is free for it
    until(lambda: len(model.batches) == 2)
    model.gate.set()
    assert [c.result().tolist() for c in (first, *others)] == [large.tolist()] * 3
    assert small.result().tolist() == [b"small"]
    assert model.batches == [1, 1, 2]  # the other large ones come together, and after the first


def test_closing_closes_the_model():
    model = Doubler()
    Batcher(model, Batching()).close()
    assert model.closed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
        ({"max_queue": 0}, "max_queue must be"),
        ({"threads": 0}, "threads must be"),
        ({"sizes": (4, 2)}, "must rise from at least 1"),
        ({"sizes": (2, 4)}, "must be max_batch_size, got 4 and 64"),
    ],
)
def test_wrong_limits_are_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Batching(**wrong)
