"""Batches form while one executes; nobody's request suffers from a neighbour's."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from serving.batching import Batcher
from serving.errors import RequestError
from serving.servable import Answer
from serving.settings import Batching
from serving.signature import Signature, Spec
from serving.tensors import Array
from serving.wire import predict_pb2

FLOAT = predict_pb2.DT_FLOAT


class Doubler:
    """A Servable in memory: doubles its input, one batch at a time when its gate is closed.

    A negative value is an error, as a damaged image among good ones would be.
    """

    def __init__(self, batched: bool = True) -> None:
        size = -1 if batched else 1
        spec = Spec("x:0", FLOAT, (size, -1))
        self.signatures: Mapping[str, Signature] = {
            "double": Signature("tensorflow/serving/predict", {"x": spec}, {"y": spec})
        }
        self.definitions: Mapping[str, Any] = {}
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def predict(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None = None
    ) -> dict[str, Array]:
        self.batches.append(len(inputs["x"]))
        self.gate.wait(10)
        if (inputs["x"] < 0).any():
            raise RequestError("INVALID_ARGUMENT", "negative")
        return {"y": inputs["x"] * 2}

    def submit(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None, answer: Answer
    ) -> None:
        answer(self.predict(name, inputs, deadline))

    def close(self) -> None:
        self.closed = True


class Caller(threading.Thread):
    """One request in a thread of its own."""

    def __init__(self, batcher: Batcher, x: Any, seconds: float = 10.0) -> None:
        super().__init__()
        self._batcher = batcher
        self._x = np.asarray(x, np.float32)
        self._deadline = time.monotonic() + seconds
        self.answer: Any = None
        self.error: RequestError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._batcher.predict("double", {"x": self._x}, self._deadline)["y"]
        except RequestError as error:
            self.error = error

    def result(self) -> Any:
        self.join(10)
        return self.answer


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 10 s"
        time.sleep(0.001)


def busy(model: Doubler, batcher: Batcher) -> Caller:
    """A caller whose request is held inside the model."""
    model.gate.clear()
    first = Caller(batcher, [[0.0]])
    until(lambda: len(model.batches) == 1)
    return first


def queued(batcher: Batcher, x: Any, seconds: float = 10.0) -> Caller:
    before = batcher.queued
    caller = Caller(batcher, x, seconds)
    until(lambda: batcher.queued == before + 1)
    return caller


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
